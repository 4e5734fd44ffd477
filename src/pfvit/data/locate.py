"""What `--data` names: Parquet files and folders of them, folders of class folders, CSV lists; by part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pfvit.data import columns, list_files, lists, parquet
from pfvit.data.formats import is_address
from pfvit.data.lists import LISTS, Listing, folders_in, is_foreign, part_of, pictures_below
from pfvit.emotions import named
from pfvit.errors import InputError, UsageError
from pfvit.utils.text import parsed

MANIFEST = "manifest.json"
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
#: Parts that each use takes, first choice first; "" is data that do not say which part they are.
TRAIN, UNLABELLED, HELD_OUT = ("train", "", "faces"), ("train", "faces", ""), ("val", "test", "")
TESTED = ("test", "val", "")
PARTS_IN_ORDER = ("train", "val", "test", "faces")


class Found(NamedTuple):
    """One file, or one folder of class folders."""

    path: Path
    part: str
    """train, val, test or faces; "" if nothing says it."""
    kind: Literal["parquet", "folders", "pictures", "list"]
    listing: Listing | None = None
    """What a list says, with the rows of `part` alone."""
    rows: tuple[int, ...] | None = None
    """The rows of a Parquet file that are in `part`, if a column says it; None: all."""


class Chosen(NamedTuple):
    """What is taken of some paths."""

    found: list[Found]
    notes: list[str]
    """What a person should know: parts that are left out, say."""


def choose(paths: Sequence[Path], wanted: Sequence[str], what: str = "--data") -> Chosen:
    """Return what is taken of paths for a use that wants these parts, the first that is there.

    A folder or a list that has parts gives one of them; a file that is named itself is taken. InputError for what is
    not there or holds no such part, UsageError if training files are named together with test files.
    """
    taken: list[Found] = []
    notes: list[str] = []
    for path in map(Path, paths):
        found = locate(path)
        if any(one.kind == "folders" for one in found) and (unread := _lists(path)):
            names = ", ".join(one.name for one in unread)
            notes.append(f"{path}: labels are the names of its folders; not read: {names}")
        alone = len(found) == 1 and found[0].kind == "parquet" and path.is_file()  # whatever its column of parts says
        if alone or {one.part for one in found} in ({""}, {part_of(path.name)}):  # it has no parts, or is one itself
            taken += found
            continue
        part = next((part for part in wanted if any(one.part == part for one in found)), None)
        parts = ", ".join(dict.fromkeys(one.part or "(none)" for one in found))
        if part is None:
            raise InputError(f"{path} holds the parts {parts}, and none of {_either(wanted)}: name the files to take")
        taken += [one for one in found if one.part == part]
        left = [other for other in PARTS_IN_ORDER if other != part and any(one.part == other for one in found)]
        left += dict.fromkeys(one.part for one in found if one.part not in (part, "", *PARTS_IN_ORDER))
        without = [one for one in found if part and not one.part]
        rows = [one.rows if one.listing is None else one.listing.rows for one in without]
        left += [f"rows of no part ({len(some):,})" for some in rows if some is not None]
        if others := [one.path.name for one, some in zip(without, rows, strict=True) if some is None]:
            left.append(others[0] if len(others) == 1 else f"{others[0]} and {len(others) - 1} more files of no part")
        if left:
            notes.append(f"{path}: {what} takes its part {part or 'without a name'}; left out: {', '.join(left)}")
    notes += filter(None, (lists.passed_over(one.path) for one in taken if one.kind == "folders"))
    headings = {one.path: one.listing.heading for one in taken if one.listing is not None}
    notes += filter(None, (list_files.unread_box(path, heading) for path, heading in headings.items()))
    notes += _together(taken, wanted, what)
    return Chosen(taken, notes)


def _together(taken: Sequence[Found], wanted: Sequence[str], what: str) -> list[str]:
    """Refuse test files beside training files, as a pattern like `folder/*.parquet` names both; tell of val files."""
    if "train" not in wanted or not any(one.part == "train" for one in taken):
        return []
    tested, validated = ([str(one.path) for one in taken if one.part == part] for part in ("test", "val"))
    if tested:
        raise UsageError(
            f"{what} names training files and, beside them, {', '.join(tested)}: what is to be tested on must not be "
            "trained on. Name the folder, which gives its training part, or the training files alone; a file that is "
            "to be trained on after all needs a name without test in it"
        )
    return [f"{what} takes validation files together with training files: {', '.join(validated)}"] if validated else []


def _either(parts: Sequence[str]) -> str:
    return " or ".join(part for part in parts if part)


def locate(path: Path) -> list[Found]:
    """Return all that a path holds, with its parts; InputError that says what was expected if that is nothing."""
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        what = "is an address: download it first" if is_address(str(path)) else "is not there"
        raise InputError(f"{path} {what}; {ACCEPTED}")
    if path.suffix.lower() in ARCHIVES:
        raise InputError(f"{path} is an archive: unpack it first, and name the folder")
    if path.suffix.lower() in LISTS:
        return _in_list(path)
    if not parquet.is_table(path):
        raise InputError(f"{path} is neither Parquet nor a list that ends in .csv or .jsonl; {ACCEPTED}")
    return _in_table(path, part_of(path.name))


ACCEPTED = (
    "give Parquet files with an image column, a folder of them, a folder with one folder of pictures for each class, "
    "or a CSV list of files and labels"
)


def _in_folder(folder: Path) -> list[Found]:
    if (manifest := _manifest(folder)) is not None:
        return manifest
    if found := _tables(folder) or _lists_of_parts(folder) or _class_folders(folder):
        return found
    if listed := _lists(folder):
        return [found for path in listed for found in _in_list(path)]
    if _holds_pictures(folder):
        return [Found(folder, part_of(folder.name), "pictures")]
    if archives := [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in ARCHIVES]:
        raise InputError(f"{folder} holds an archive, {archives[0]}: unpack it first")
    raise InputError(f"{folder} holds neither Parquet files nor pictures; {ACCEPTED}")


def _lists(folder: Path) -> list[Path]:
    """Return the lists in a folder; JSON lines only where there is no other, as they may say the same."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in LISTS and not is_foreign(path.name)]
    return [path for path in found if path.suffix.lower() != ".jsonl"] or found


def _lists_of_parts(folder: Path) -> list[Found]:
    """Return the lists that lie beside the pictures of each part, as Hugging Face's train/metadata.csv."""
    parts = [path for path in folders_in(folder) if part_of(path.name) and not _holds_classes(path)]
    return [
        found._replace(part=found.part or part_of(path.name))
        for path in parts
        for listed in _lists(path)
        for found in _in_list(listed)
    ]


def _manifest(folder: Path) -> list[Found] | None:
    """Return the files of a folder that `pfvit prepare` made, or None."""
    try:
        splits = parsed((folder / MANIFEST).read_text(encoding="utf-8"))["splits"]
        files = [(folder / file["name"], split) for split, about in splits.items() for file in about["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    absent = [path.name for path, _ in files if not path.is_file()]
    if absent:
        raise InputError(f"{folder} lacks {', '.join(absent)}, which its {MANIFEST} lists: prepare it again")
    return [Found(path, split, "parquet") for path, split in files]


def _tables(folder: Path) -> list[Found]:
    """Return the Parquet files in a folder, or else those of the folders in it, as a data set's download has them."""
    direct = [path for path in sorted(folder.glob("*.parquet")) if _is_visible(path, folder)]
    below = direct or [path for path in sorted(folder.rglob("*.parquet")) if _is_visible(path, folder)]
    kinds: dict[tuple[str, ...], list[Found]] = {}
    for path in below:
        inner = path.relative_to(folder).parts[:-1]
        part = next((part for name in (path.name, *reversed(inner), folder.name) if (part := part_of(name))), "")
        kind = tuple(name for name in inner if not part_of(name))
        kinds.setdefault(kind, []).extend(_in_table(path, part))
    if len(kinds) > 1:
        where = ", ".join(sorted(str(Path(folder, *inner)) for inner in kinds))
        raise InputError(f"{folder} holds Parquet files in several folders: name one of {where}")
    return next(iter(kinds.values()), [])


def _in_table(path: Path, part: str) -> list[Found]:
    """Return a Parquet file once for each part that a column of it names; `part` is what its name tells."""
    try:
        column = columns.first(columns.PARTS, parquet.column_names(path))
        said = [] if column is None else [str(row[column] or "").strip() for row in parquet.rows(path, [column])]
    except InputError:  # it is damaged, which is said when it is read
        said = []
    parts = [lists.PARTS.get(one.casefold(), "") for one in said]
    if not any(parts):  # the column means something else
        return [Found(path, part, "parquet")]
    return [
        Found(path, one, "parquet", rows=tuple(row for row, its in enumerate(parts) if its == one))
        for one in dict.fromkeys(parts)
    ]


def _is_visible(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(map(is_foreign, path.relative_to(folder).parts))


def _class_folders(folder: Path) -> list[Found]:
    """Return the folders that hold class folders: `folder` itself, or those of its parts."""
    inner = [path for path in folders_in(folder) if _holds_pictures(path)]
    parts = [path for path in inner if part_of(path.name)]
    if any(_holds_classes(path) for path in parts) or (len(parts) > 1 and len(parts) == len(inner)):
        others = [path for path in inner if path not in parts and _holds_classes(path)]
        return [Found(path, part_of(path.name) or path.name, _kind(path)) for path in (*parts, *others)]
    if len(inner) == 1 and not _holds_classes(folder):  # a folder that an archive was unpacked to
        return _class_folders(inner[0])
    if len(inner) < 2:
        return []
    within = [path for path in inner for path in folders_in(path) if _holds_pictures(path)]
    if any(part_of(path.name) for path in within):
        return _parts_within(folder)
    emotions = {name for path in within if (name := named(path.name))}
    if len(emotions) > 1 and not any(named(path.name) for path in inner):
        raise InputError(
            f"{folder} holds {inner[0].name}, {inner[1].name}, ... and these the folders of classes "
            f"({within[0].name}, ...): name one of them as {folder / inner[0].name}; call them train, val and test; or "
            "give a CSV list of file,label,person"
        )
    return [Found(folder, part_of(folder.name), "folders")]


def _parts_within(folder: Path) -> list[Found]:
    """Return class folders whose pictures lie in folders of their parts, once for each part."""
    rows = []
    for row in lists.listing_of(folder, "folders", "").rows:
        beside = Path(row.name).parts[2:-1]  # below the folder and the class
        rows.append(row._replace(part=part_of(beside[0]) if beside else ""))
    return [
        Found(folder, part, "folders", Listing([row for row in rows if row.part == part]))
        for part in dict.fromkeys(row.part for row in rows)
    ]


def _kind(folder: Path) -> Literal["folders", "pictures"]:
    return "folders" if any(_holds_pictures(path) for path in folders_in(folder)) else "pictures"


def _holds_pictures(folder: Path) -> bool:
    return next(pictures_below(folder), None) is not None


def _holds_classes(folder: Path) -> bool:
    """Return whether there are pictures in two or more folders of a folder."""
    return sum(map(_holds_pictures, folders_in(folder))) > 1


def _in_list(path: Path) -> list[Found]:
    """Return a list once for each part that it names."""
    listing = list_files.read_list(path)
    if not listing.rows:
        raise InputError(f"{path} names no pictures: give lines of file,label[,person[,part]] below its heading")
    parts = list(dict.fromkeys(row.part for row in listing.rows))
    return [
        Found(path, part, "list", listing._replace(rows=[row for row in listing.rows if row.part == part]))
        for part in parts
    ]

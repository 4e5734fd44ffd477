"""What `--data` names: Parquet files and folders of them, folders of class folders, CSV lists; by part."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pfvit.data import columns, list_files, lists, parquet
from pfvit.data.folders import Found, by_paths, class_folders, holds_classes, holds_pictures
from pfvit.data.formats import is_address
from pfvit.data.lists import LISTS, folders_in, is_foreign
from pfvit.data.parts import all_named, are_parts, flag_of, part_of, part_said, parts_flagged
from pfvit.data.text_lists import RAFDB_LIST
from pfvit.emotions import named
from pfvit.errors import InputError, UsageError
from pfvit.utils.files import is_file
from pfvit.utils.text import parsed, shortened

MANIFEST = "manifest.json"
TEXTS, MOST_TEXTS = {".txt", ".lst"}, 10  # of which more are notes to the pictures, one each
SHOWN = 3  # folders that are named
LOOKED_AT = 64  # rows that tell whether a column may hold parts
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
#: Parts that each use takes, first choice first; "" is data that do not say which part they are.
TRAIN, UNLABELLED, HELD_OUT = ("train", "", "faces"), ("train", "faces", ""), ("val", "test", "")
TESTED = ("test", "val", "")
PARTS_IN_ORDER = ("train", "val", "test", "faces")


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
            if wanted != UNLABELLED:
                _check_lists_beside(path, found, unread)
            names = ", ".join(one.name for one in unread)
            notes.append(f"{path}: labels are the names of its folders; not read: {names}")
        notes += filter(None, [_beside_tables(path, found)])
        alone = len(found) == 1 and found[0].kind == "parquet" and path.is_file()  # whatever its column of parts says
        if alone or {one.part for one in found} in ({""}, {part_of(path.name)}):  # it has no parts, or is one itself
            taken += found
            continue
        part = next((part for part in wanted if any(one.part == part for one in found)), None)
        parts = shortened(dict.fromkeys(one.part or "(none)" for one in found))
        if part is None:
            advice = "name the files to take" if path.is_dir() else "call them so"
            raise InputError(f"{path} holds the parts {parts}, and none of {_either(wanted)}: {advice}")
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
        notes += filter(None, [_in_other_parts(path, part, found)])
    notes += filter(None, (lists.passed_over(one.path) for one in taken if one.kind == "folders"))
    headings = {one.path: one.listing.heading for one in taken if one.listing is not None}
    notes += filter(None, (list_files.unread_box(path, heading) for path, heading in headings.items()))
    notes += dict.fromkeys(filter(None, (one.note for one in taken)))
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


def _in_other_parts(path: Path, part: str, found: Sequence[Found]) -> str:
    """Return what to say of pictures that lists name for a part and for another one too, as lists of folds do."""
    listed: dict[str, set[Path | tuple[int, int]]] = {}
    for one in found:
        listed.setdefault(one.part, set()).update(row.picture for row in (one.listing.rows if one.listing else ()))
    own = listed.pop(part, set()) - {(0, 0)}  # of rows that name none
    shared = {its or "(none)": len(own & pictures) for its, pictures in listed.items() if own & pictures}
    told = ", ".join(f"{count:,} in {its}" for its, count in shared.items())
    return f"{path}: of the {len(own):,} pictures of its part {part} some are in others too: {told}" if told else ""


def _check_lists_beside(path: Path, found: Sequence[Found], unread: Sequence[Path]) -> None:
    """Refuse class folders of no emotion beside lists with labels: either may be meant."""
    folders = [inner.name for one in found if one.kind == "folders" for inner in folders_in(one.path)]
    if not any(map(named, folders)) and (labelled := [one.name for one in unread if list_files.labels_pictures(one)]):
        raise UsageError(
            f"{path} holds folders of pictures ({shortened(folders[:SHOWN])}, ...) and, with labels, "
            f"{', '.join(labelled)}: name the list to read, or move it away if the folders are the classes"
        )


def _beside_tables(path: Path, found: Sequence[Found]) -> str:
    """Return what to say of pictures and lists beside the Parquet files of a folder; "" if there are none."""
    if not path.is_dir() or (path / MANIFEST).is_file() or any(one.kind != "parquet" for one in found):
        return ""
    others = [one.name for one in (*filter(holds_pictures, folders_in(path)), *_lists(path))]
    return f"{path}: its Parquet files are read; not read: {shortened(others)}" if others else ""


def _either(parts: Sequence[str]) -> str:
    return " or ".join(part for part in parts if part)


def locate(path: Path) -> list[Found]:
    """Return all that a path holds, with its parts; InputError that says what was expected if that is nothing."""
    try:
        return [one for found in _locate(path) for one in by_paths(found)]
    except RecursionError:  # Python looks through folders so
        raise InputError(
            f"{path} has folders that lie too deep in each other: name the one with the pictures"
        ) from None


def _locate(path: Path) -> list[Found]:
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        what = "is an address: download it first" if is_address(str(path)) else "is not there"
        raise InputError(f"{path} {what}; {ACCEPTED}")
    if path.suffix.lower() in ARCHIVES:
        raise InputError(f"{path} is an archive: unpack it first, and name the folder")
    if path.suffix.lower() in {*LISTS, *TEXTS}:
        return _in_list(path)
    if not parquet.is_table(path):
        raise InputError(f"{path} is neither Parquet nor a list that ends in .csv, .txt or .jsonl; {ACCEPTED}")
    return _in_table(path, part_of(path.name))


ACCEPTED = (
    "give Parquet files with an image column, a folder of them, a folder with one folder of pictures for each class, "
    "or a CSV list of files and labels"
)


def _in_folder(folder: Path) -> list[Found]:
    if (manifest := _manifest(folder)) is not None:
        return manifest
    if found := _tables(folder) or _lists_of_parts(folder):
        return found
    listed = _lists(folder)
    # The folders of these two downloads are no classes.
    for rafdb in (folder, folder / "basic", *([folder.parent] if folder.name == "Image" else ())):
        if (rafdb / "EmoLabel" / RAFDB_LIST).is_file():
            return _in_list(rafdb / "EmoLabel" / RAFDB_LIST)
    found = [] if any(map(list_files.is_affectnet, listed)) else class_folders(folder)
    if found and not (listed and all(one.kind == "pictures" for one in found)):  # which the lists may label
        return found
    if listed:
        return _in_lists(listed)
    if holds_pictures(folder):
        return [Found(folder, part_of(folder.name), "pictures")]
    if archives := [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() in ARCHIVES]:
        raise InputError(f"{folder} holds an archive, {archives[0]}: unpack it first")
    raise InputError(f"{folder} holds neither Parquet files nor pictures; {ACCEPTED}")


def _lists(folder: Path) -> list[Path]:
    """Return the lists in a folder; JSON lines and text that labels pictures only where there is no other, as they may
    say the same."""
    visible = [path for path in sorted(folder.iterdir()) if not is_foreign(path.name) and path.is_file()]  # no pipes
    found = [path for path in visible if path.suffix.lower() in LISTS]
    texts = [] if found else [path for path in visible if path.suffix.lower() in TEXTS]
    found += filter(list_files.labels_pictures, texts if len(texts) <= MOST_TEXTS else ())
    return [path for path in found if path.suffix.lower() != ".jsonl"] or found


def _lists_of_parts(folder: Path) -> list[Found]:
    """Return the lists that lie beside the pictures of each part, as Hugging Face's train/metadata.csv."""
    parts = [path for path in folders_in(folder) if part_of(path.name) and not holds_classes(path)]
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if any(path.parent != folder for path, _ in files):
        raise InputError(f"{folder / MANIFEST} lists files outside of the folder: prepare it again")
    absent = [path.name for path, _ in files if not is_file(path)]
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
    names: list[str] = []
    cells: dict[str, list[object]] = {}
    with suppress(InputError):  # of a damaged one, which is said when it is read
        names = parquet.column_names(path)
        cells = _maybe_parts(path, names) if len(names) <= columns.MOST_COLUMNS else {}
    if len(names) > columns.MOST_COLUMNS:
        raise InputError(f"{path} has {len(names):,} columns: pictures need a few")
    said = [name for name in cells if are_parts(cells[name])]
    called = columns.first(columns.PARTS, names)
    flags = {name: its for name, its in cells.items() if flag_of(name)}
    ways = [(list(map(part_said, cells[name])), columns.unread_parts(name, names, str(path), said))
            for name in filter(None, (called, *said))]  # fmt: skip
    if (flagged := parts_flagged(flags)) is not None:
        ways.append((flagged, columns.flags_read([*flags], str(path))))
    for parts, note in ways:
        if any(parts):
            return [
                Found(path, one, "parquet", None, tuple(row for row, its in enumerate(parts) if its == one), note)
                for one in dict.fromkeys(parts)
            ]
    return [Found(path, part, "parquet", note=columns.unread_parts(None, names, str(path)))]


def _maybe_parts(path: Path, names: Sequence[str]) -> dict[str, list[object]]:
    """Return the columns of a Parquet file that may hold parts, by their names or their first cells."""
    called = columns.first(columns.PARTS, names)
    known = {columns.first(wanted, names) for wanted in (columns.PICTURES, columns.LABELS)}
    others = [name for name in names if name not in known and not columns.tells_copies(name)]
    begin = list(parquet.rows(path, others, LOOKED_AT)) if others else []
    classes = columns.class_names_of(parquet.metadata_of(path))

    def said(row: Mapping[str, object], name: str) -> object:
        cell, meant = row[name], classes.get(name, ())
        return meant[cell] if isinstance(cell, int) and 0 <= cell < len(meant) else cell

    maybe = [
        name
        for name in others
        if name == called or flag_of(name) or all_named(said(row, name) for row in begin) is not None
    ]
    rows = list(parquet.rows(path, maybe)) if maybe else []
    return {name: [said(row, name) for row in rows] for name in maybe}


def _is_visible(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(map(is_foreign, path.relative_to(folder).parts))


def _in_lists(paths: Sequence[Path]) -> list[Found]:
    """Return the lists of a folder."""
    try:
        return [found for path in paths for found in _in_list(path)]
    except InputError as problem:
        if len(paths) == 1:
            raise
        raise InputError(f"{problem}; or name the list to read, in place of the folder") from problem


def _in_list(path: Path) -> list[Found]:
    """Return a list once for each part that it names."""
    listing = list_files.read_list(path)
    if not listing.rows:
        raise InputError(f"{path} names no pictures: give lines of file,label[,person[,part]] below its heading")
    parts = list(dict.fromkeys(row.part for row in listing.rows))
    return [
        Found(
            path,
            part,
            "list",
            listing._replace(rows=[row for row in listing.rows if row.part == part]),
            None,
            listing.note,
        )
        for part in parts
    ]

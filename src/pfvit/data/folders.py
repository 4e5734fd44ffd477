"""Folders of class folders, as people lay them out: with parts outside or inside, unpacked twice, of people."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pfvit.data.lists import Listing, folders_in, listing_of, pictures_below
from pfvit.data.parts import PARTS, part_in_path, part_of
from pfvit.emotions import named
from pfvit.errors import InputError


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
    note: str = ""
    """What a person should know of it."""


def class_folders(folder: Path) -> list[Found]:
    """Return the folders that hold class folders: `folder` itself, or those of its parts."""
    inner = [path for path in folders_in(folder) if holds_pictures(path)]
    if len(inner) == 1 and _holds_parts_alone(inner[0]):
        return class_folders(inner[0])
    parts = [path for path in inner if part_of(path.name)]
    if any(holds_classes(path) for path in parts) or (len(parts) > 1 and len(parts) == len(inner)):
        others = [path for path in inner if path not in parts and holds_classes(path)]
        passed = [path.name for path in inner if path not in parts and path not in others]
        note = f"{folder}: left out, beside its parts: {', '.join(passed)}" if passed else ""
        named_so = [(_unpacked(path), part_of(path.name) or path.name) for path in (*parts, *others)]
        for path, _ in named_so:
            _check_inner(path, [one for one in folders_in(path) if holds_pictures(one)])
        return [Found(path, part, _kind(path), note=note) for path, part in named_so]
    if len(inner) == 1 and not holds_classes(folder):  # a folder that an archive was unpacked to
        return class_folders(inner[0])
    if len(inner) < 2:
        return []
    if any(part_of(path.name) for path in _within(inner)):
        _check_inner(folder, inner, parts_between=True)
        return _parts_within(folder)
    _check_inner(folder, inner)
    bare = {path.name: PARTS[path.name.casefold()] for path in parts if path.name.casefold() in PARTS}
    if {"train", "test"} & {*bare.values()} or (bare and any(named(path.name) for path in inner)):
        raise InputError(
            f"{folder} holds the folders of classes and, beside them, {', '.join(bare)}, called like a part: move that "
            "away, or put the classes into folders called train, val and test"
        )
    return [Found(folder, part_of(folder.name), "folders")]


def by_paths(found: Found) -> list[Found]:
    """Return pictures that say no part once for each part that their paths tell, as in test/a.png and train_1.jpg.

    They do if each tells one, and one of several is for training.
    """
    if found.part or found.kind == "parquet":
        return [found]
    listing = listing_of(found.path, found.kind, "") if found.listing is None else found.listing
    outer = {"folders": 2, "pictures": 0, "list": 0}[found.kind]  # the folder, and that of the class
    rows = [row._replace(part=part_in_path(re.split(r"[/\\]", row.name)[outer:])) for row in listing.rows]
    parts = Counter(row.part for row in rows)
    if "train" not in parts or len({*parts} - {""}) < 2:
        return [found]
    if "" in parts:
        counted = ", ".join(f"{part} {count:,}" for part, count in parts.items() if part)
        note = f"{found.path}: paths of pictures tell parts ({counted}), but {parts['']:,} tell none: all are taken"
        return [found._replace(note="; ".join(filter(None, (found.note, note))))]
    note = f"{found.path}: parts are taken from the paths of its pictures"
    return [
        found._replace(part=part, listing=listing._replace(rows=[row for row in rows if row.part == part]), note=note)
        for part in parts
    ]


def _within(folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in folders_in(folder) if holds_pictures(path)]


def _check_inner(folder: Path, inner: Sequence[Path], parts_between: bool = False) -> None:
    """Refuse folders that would be classes, where those in them may be the classes; parts may lie between."""
    if any(named(path.name) for path in inner):
        return
    within = [_within([path]) for path in inner]
    if parts_between:
        within = [_within([path for path in below if part_of(path.name)]) for below in within]
    emotions = {name for below in within for path in below if (name := named(path.name))}
    if len(emotions) > 1 or _may_be_classes(within):
        shown, first = ", ".join(path.name for path in inner[:2]), next(path for below in within for path in below)
        raise InputError(
            f"{folder} holds {shown}, ... and these the folders of classes ({first.name}, ...): name one "
            f"of them as {inner[0]}; call them train, val and test; or give a CSV list of file,label,person"
        )


def _may_be_classes(within: Sequence[Sequence[Path]]) -> bool:
    """Return whether the folders in several folders have the same names, two or more, that differ by more than a
    number, as those of people do, or are nothing but numbers."""
    counts = Counter(path.name for below in within for path in below)
    again = [name for name, count in counts.items() if count == len(within) > 1]
    if len(again) < 2:
        again = [*counts] if all(count > 1 for count in counts.values()) else []
    bare = {re.sub(r"\d+", "", name) for name in again}
    return len(again) > 1 and (len(bare) > 1 or bare == {""})


def _holds_parts_alone(folder: Path) -> bool:
    """Return whether the folders with pictures in a folder are two parts or more."""
    names = [part_of(path.name) for path in folders_in(folder) if holds_pictures(path)]
    return len({*names}) > 1 and all(names)


def _unpacked(part: Path) -> Path:
    """Return a part's folder; where its classes lie one folder further in, as in train/train or train/images, that."""
    inner = [path for path in folders_in(part) if holds_pictures(path)]
    again = len(inner) == 1 and not named(inner[0].name) and holds_classes(inner[0])
    return inner[0] if again else part


def _parts_within(folder: Path) -> list[Found]:
    """Return class folders whose pictures lie in folders of their parts, once for each part."""
    rows = []
    for row in listing_of(folder, "folders", "").rows:
        beside = Path(row.name).parts[2:-1]  # below the folder and the class
        rows.append(row._replace(part=part_of(beside[0]) if beside else ""))
    return [
        Found(folder, part, "folders", Listing([row for row in rows if row.part == part]))
        for part in dict.fromkeys(row.part for row in rows)
    ]


def _kind(folder: Path) -> Literal["folders", "pictures"]:
    return "folders" if any(holds_pictures(path) for path in folders_in(folder)) else "pictures"


def holds_pictures(folder: Path) -> bool:
    """Return whether there is a picture in a folder, or below it."""
    return next(pictures_below(folder), None) is not None


def holds_classes(folder: Path) -> bool:
    """Return whether there are pictures in two or more folders of a folder."""
    return sum(map(holds_pictures, folders_in(folder))) > 1

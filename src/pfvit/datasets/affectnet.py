"""AffectNet: the first release (tables with boxes, whole photos) and the later one (crops and `.npy` labels).

Its test part was never published, so the field tests on the validation part, and so do we: its split is `test`.
"""

import csv
import io
import math
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from pfvit.config import Prepare
from pfvit.datasets.base import Bad, Item, Layout, Listed, Listing, leaves, need
from pfvit.datasets.manifest import Counts
from pfvit.emotions import ORDERS, label_set
from pfvit.utils.files import read_file

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
NO_EMOTION = ("8", "9", "10")  # none, uncertain, no face
HINT = (
    "SOURCE is the folder with training.csv, validation.csv and Manually_Annotated_Images/ (first release), or with "
    "train_set/ and val_set/ (later release)"
)
LISTS = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/Manually_Annotated_file_lists/")
PHOTOS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated")


def listing(source: Path, config: Prepare, classes: int) -> Listing:
    """List the faces of whichever release is there."""
    names = ORDERS[f"affectnet{classes}"]
    if (source / "train_set").is_dir() or (source / "val_set").is_dir():
        for split, folder in (("train", "train_set"), ("test", "val_set")):
            yield from _crops(need(source, (folder,), HINT), split, names)
        return
    photos = need(source, PHOTOS, HINT)
    for split, name in (("train", "training.csv"), ("test", "validation.csv")):
        yield from _table(need(source, tuple(f"{folder}{name}" for folder in LISTS), HINT), photos, split, names)


def _emotion(label: str, names: tuple[str, ...]) -> str | None:
    """Return the emotion; "" for what is none of `names`; None if there is no such label."""
    if label in NO_EMOTION:
        return ""
    eight = ORDERS["affectnet8"]
    if not label.isdecimal() or int(label) >= len(eight):
        return None
    return eight[int(label)] if eight[int(label)] in names else ""


def _table(file: Path, photos: Path, split: str, names: tuple[str, ...]) -> Listing:
    listed = Listed()
    for number, row in _rows(file):
        name, label = row.get("subDirectory_filePath") or "", (row.get("expression") or "").strip()
        emotion = _emotion(label, names)
        if emotion is None:
            yield Bad(file.name, number, f"expressions are 0 to 10, not {label!r}; take the row from the original file")
            continue
        if not emotion:
            continue
        if outside := leaves(name):
            yield Bad(file.name, number, outside)
            continue
        try:
            x, y, wide, high = (float(row.get(column) or "") for column in COLUMNS[1:5])
        except ValueError:
            yield Bad(file.name, number, f"{name} has no box (face_x ... face_height); --crop align finds the face")
            continue
        if not 0 < min(wide, high) < math.inf or not math.isfinite(x + y + wide + high):
            yield Bad(file.name, number, f"the box of {name} is {wide:.0f} x {high:.0f}; correct it")
            continue
        if twice := listed.again(name, emotion, file.name, number):
            yield twice
            continue
        place = f"{file.name}, row {number}"
        yield Item(split, number, name, place, photos / name, emotion, label, "box", (x, y, wide, high))


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with file.open(encoding="utf-8", errors="backslashreplace", newline="") as opened:
        columns, reader = COLUMNS, csv.reader(opened)
        for number in count(1):
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error:  # a row that is none, which the next one may still be
                values = [""]
            if number == 1 and values and values[0].lstrip("\ufeff") == COLUMNS[0]:
                columns = tuple(value.lstrip("\ufeff") for value in values)
            elif values:
                yield number, dict(zip(columns, values, strict=False))


def _crops(folder: Path, split: str, names: tuple[str, ...]) -> Listing:
    images = need(folder, ("images",), HINT)
    annotations = need(folder, ("annotations",), HINT)
    there = {path.stem: path.name for path in sorted(images.iterdir()) if not path.name.startswith(".")}
    labelled = {path.name.removesuffix("_exp.npy") for path in annotations.glob("*_exp.npy")}
    order = sorted(there.keys() | labelled, key=lambda stem: (len(stem), stem))
    for row, stem in enumerate(order):
        file = f"{folder.name}/annotations/{stem}_exp.npy"
        if stem not in labelled:
            yield Bad(file, None, f"images/{there[stem]} has no label file; unpack the annotations again")
        elif stem not in there:
            yield Bad(file, None, f"the picture images/{stem}.jpg is absent; unpack the images again")
        else:
            try:
                content = io.BytesIO(read_file(annotations / f"{stem}_exp.npy"))
                label = str(np.load(content, allow_pickle=False)).strip()
            except Exception as problem:  # numpy's reader raises nearly every built-in kind on damaged files
                yield Bad(file, None, f"it is no label ({str(problem)[:80]!r}); unpack the annotations again")
                continue
            emotion = _emotion(label, names)
            if emotion is None:
                yield Bad(file, None, f"expressions are 0 to 7, not {label!r}")
            elif emotion:
                yield Item(split, row, f"{split}/{there[stem]}", file, images / there[stem], emotion, label)


#: Mollahosseini et al., IEEE TAC 2019, table 3, less the 500 of each in the validation part.
_TRAIN = (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750)


def _published(classes: int) -> Counts:
    names = ORDERS["affectnet8"][:classes]
    return {"train": dict(zip(names, _TRAIN, strict=False)), "test": dict.fromkeys(names, 500)}


def _set(classes: int) -> Layout:
    return Layout(
        f"affectnet{classes}",
        f"AffectNet, {classes} emotions",
        "Mollahosseini, Hasani, Mahoor, IEEE TAC 2019 (arXiv 1708.03985); http://mohammadmahoor.com/affectnet, on "
        "application",
        "Non-commercial research only, by those named in a signed agreement; the pictures must not be passed on.",
        label_set(classes),
        partial(listing, classes=classes),
        _published(classes),
        "the official validation part is the test part here, as in the field; the later release has 499 test faces of "
        "contempt, not 500",
        {str(number): name for number, name in enumerate(ORDERS["affectnet8"][:classes])},
    )


SEVEN_CLASSES, EIGHT_CLASSES = _set(7), _set(8)

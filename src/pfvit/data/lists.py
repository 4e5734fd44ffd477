"""Pictures in files of their own, as folders named after classes hold them, or lists name them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.data import columns, images
from pfvit.data.class_columns import class_cells, class_columns
from pfvit.data.formats import OTHERS, PICTURES, is_address
from pfvit.data.images import Pixels
from pfvit.data.labels import NEVER, Cells
from pfvit.data.votes import votes_of
from pfvit.errors import PictureError, UsageError
from pfvit.utils.files import read_file
from pfvit.utils.text import counted, shortened

LISTS = {".csv", ".tsv", ".jsonl"}


class Row(NamedTuple):
    """A listed picture; nothing of it has been read yet."""

    name: str
    picture: Path | tuple[int, int]
    """The file, or where in a list like FER2013's the pixels stand: first byte and length. Of no length: none."""
    label: Any = None
    """The label, or the ten votes of FER+."""
    part: str = ""
    person: str | None = None
    box: tuple[float, float, float, float] | None = None
    """Left, top, width and height of the face in the picture."""
    cells: Sequence[Any] = ()
    """What a list says of it, under `Listing.heading`."""


class Listing(NamedTuple):
    """What a list holds, and what it says that its labels mean."""

    rows: list[Row]
    names: tuple[str, ...] = ()
    labelled: bool = True
    heading: tuple[str, ...] = ()
    """The names of a list's columns."""
    like: str = ""
    """The data set by whose columns `names` were known."""
    votes: bool = False
    """Whether labels are votes."""
    note: str = ""
    """What a person should know of its columns."""


def pictures_below(folder: Path) -> Iterator[Path]:
    """Yield the pictures below a folder in order, hidden files and links to folders left out."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_foreign(name))
        for name in sorted(names):
            if _is_picture(name):
                yield Path(here, name)


def is_foreign(name: str) -> bool:
    """Return whether a file or folder is hidden, or what macOS or a disk station lays beside the files proper."""
    return name.startswith(".") or name.casefold() in ("__macosx", "@eadir")


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in order; numbers by their size."""
    found = [path for path in folder.iterdir() if path.is_dir() and not is_foreign(path.name)]
    return sorted(found, key=lambda path: (int(path.name) if path.name.isdecimal() else -1, path.name))


def listing_of(folder: Path, kind: str, part: str) -> Listing:
    """List the pictures below a folder: of class `folders` under the name of each, of `pictures` without labels."""
    if kind == "pictures":
        return Listing([Row(str(path.relative_to(folder)), path, part=part) for path in pictures_below(folder)],
                       labelled=False)  # fmt: skip
    return Listing(
        [
            Row(str(path.relative_to(folder.parent)), path, inner.name, part)
            for inner in folders_in(folder)
            for path in pictures_below(inner)
        ]
    )


def passed_over(folder: Path) -> str:
    """Return what lies beside the pictures in a folder of class folders, and is no class and no picture; "" if nothing.

    Files that nobody takes for pictures (`formats.OTHERS`) are not counted.
    """
    told = []
    if loose := sum(_is_picture(path.name) for path in folder.iterdir() if path.is_file()):
        told.append(f"{counted(loose, 'picture')} beside the class folders")
    if empty := [inner.name for inner in folders_in(folder) if next(pictures_below(inner), None) is None]:
        told.append(f"folders without pictures ({', '.join(empty)})")
    endings: Counter[str] = Counter()
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_foreign(name)]
        unknown = {Path(name).suffix.lower() for name in names} - PICTURES - OTHERS
        endings.update(
            one for name in names if not name.startswith(".") and (one := Path(name).suffix.lower()) in unknown
        )
    if endings:
        kinds = ", ".join(ending[1:].upper() or "without ending" for ending in sorted(endings))
        told.append(f"{counted(endings.total(), 'file')} of a kind that is not read ({kinds})")
    return f"{folder}: left out: {', '.join(told)}" if told else ""


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in PICTURES


def labels_of(listing: Listing, path: Path, order: Sequence[str] = ()) -> Cells | NDArray[np.float64] | None:
    """Return the labels of a listing's rows, or the votes [rows, 10]; None if it has none.

    `order` are the names of classes that may have a column each (`class_columns`). UsageError for AffectNet's download
    of crops, whose folders are no classes.
    """
    cells, called = [row.label for row in listing.rows], [row.name for row in listing.rows]
    if listing.votes:
        return votes_of(cells, path.name, called)
    if path.is_dir() and next(path.glob("annotations/*_exp.npy"), None):
        raise UsageError(
            f"{path} is laid out as AffectNet's download, with labels in annotations/*_exp.npy: make Parquet files of "
            "it first, with pfvit prepare affectnet8 (or affectnet7) FOLDER OUT, FOLDER being the one that holds "
            "train_set and val_set"
        )
    if not listing.labelled:
        classes = class_columns(listing.heading, order)
        shares = list(zip(*(column_of(listing, name) for name in classes), strict=True))
        further = {name: column_of(listing, name) for name in listing.heading if name not in classes}
        return class_cells(classes, shares, str(path), lambda: further, order, called) if classes else None
    label = columns.first(columns.LABELS, listing.heading)
    note = columns.other_labels(label, listing.heading, path.name)
    return Cells(cells, str(path), listing.names, bare_from=NEVER, like=listing.like, note=note, rows=called)


def column_of(listing: Listing, name: str) -> list[Any]:
    """Return a column of a list, one cell for each row; None for those that are empty or lack."""
    place = listing.heading.index(name)
    cells = [row.cells[place] if place < len(row.cells) else None for row in listing.rows]
    return [(cell.strip() or None) if isinstance(cell, str) else cell for cell in cells]


def elsewhere(listing: Listing) -> list[bool] | None:
    """Return which rows a column `also_in` says to be in another part too; None if there is none."""
    name = columns.first((columns.ALSO_IN,), listing.heading)
    return None if name is None else [columns.is_elsewhere(cell) for cell in column_of(listing, name)]


def without_labels(path: Path, listing: Listing) -> str:
    """Return what to say of pictures whose labels are asked for, and are not there."""
    if listing.heading:
        return (
            f"{path} has the columns {shortened(listing.heading)}, and none with the labels: call that one label, with "
            f"a class in each line, {columns.OR_CLASS_COLUMNS}"
        )
    inner = {Path(row.name).parts[0] if len(Path(row.name).parts) > 1 else "" for row in listing.rows}
    if len(inner) == 1 and (name := inner.pop()):
        return f"{path} holds pictures in one folder alone, {name}: give each class a folder, two classes or more"
    return (
        f"{path} holds pictures without labels: put them in one folder for each class, or name a CSV list of files and "
        "labels"
    )


def picture_of(row: Row, path: Path, name: str) -> bytes | Pixels:
    """Return a listed picture: a file's bytes, or pixels [height, width, 3]; PictureError if it is not there."""
    if isinstance(row.picture, tuple):
        if not row.picture[1]:
            raise PictureError(f"{name} names no picture")
        with path.open("rb") as file:
            file.seek(row.picture[0])
            words = file.read(row.picture[1]).strip(b'" ').split()
        if not all(word.isdigit() and len(word) <= columns.LONGEST_PIXEL for word in words):
            raise PictureError(f"{name}: its pixels are no numbers; download the table again")
        return columns.pixels_of([int(word) for word in words], name)
    try:
        content = read_file(row.picture)
    except FileNotFoundError:
        if is_address(row.name):
            raise PictureError(f"{name} is an address: download it first") from None
        where = " (looked for beside the list, in folders beside it and above)" if row.cells else ""
        raise PictureError(f"{name} is listed but absent: {row.picture}{where}") from None
    except OSError as problem:
        raise PictureError(f"{name}: {row.picture} cannot be opened: {problem.strerror}") from problem
    return content if row.box is None else _cropped(images.decode(content, name), row.box, name)


def _cropped(pixels: NDArray[np.uint8], box: tuple[float, float, float, float], name: str) -> Pixels:
    """Cut a box out, as far as it lies in the picture."""
    left, top, width, height = (round(side) for side in box)
    out = pixels[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    if min(out.shape[:2]) < images.SMALLEST_SIDE:
        raise PictureError(f"{name}: its box {box} holds no face")
    return np.ascontiguousarray(out)

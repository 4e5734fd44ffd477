"""Pictures in files of their own: folders named after classes, and lists (FER2013's, AffectNet's, one's own)."""

import codecs
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.data import columns, images
from pfvit.data.formats import OTHERS, PICTURES, is_address
from pfvit.data.images import Pixels
from pfvit.data.labels import NEVER, Cells, votes_of
from pfvit.emotions import FERPLUS_VOTES, NONE, ORDERS
from pfvit.errors import InputError, PictureError

#: What the parts of data sets are called, in file names, folders and columns.
PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "publictest": "val", "test": "test", "testing": "test", "privatetest": "test", "heldout": "test",
    "holdout": "test", "trainset": "train", "valset": "val", "testset": "test", "faces": "faces",
}  # fmt: skip
LISTS = {".csv", ".tsv", ".jsonl"}
#: AffectNet's numbers, of which 8 to 10 are no emotion, uncertain and no face.
AFFECTNET = (*ORDERS["affectnet8"], NONE, NONE, NONE)
BOX = ("face_x", "face_y", "face_width", "face_height")
AFFECTNET_COLUMNS = ("subDirectory_filePath", *BOX, "facial_landmarks", "expression", "valence", "arousal")
PIXELS = "pixels"


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


def part_of(name: str) -> str:
    """Return the part of a data set that a name tells ("test-00000.parquet", "ferplus_val", "PrivateTest"), or ""."""
    stem = name.casefold().removesuffix(".parquet").removesuffix(".csv")
    stem = re.sub(r"(?<![^\W_])(held|hold)[-_ ]out", "heldout", stem)
    found = {PARTS[word] for word in re.findall(r"[^\W\d_]+", stem) if word in PARTS}
    found = {*found} - {"faces"} or found
    return found.pop() if len(found) == 1 else ""


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
        told.append(
            "1 picture beside the class folders" if loose == 1 else f"{loose} pictures beside the class folders"
        )
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
        files = "1 file" if endings.total() == 1 else f"{endings.total()} files"
        told.append(f"{files} of a kind that is not read ({kinds})")
    return f"{folder}: left out: {', '.join(told)}" if told else ""


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in PICTURES


def read_list(path: Path) -> Listing:
    """Return the rows of a list; InputError if its columns do not say which file has which label."""
    try:
        if path.suffix.lower() == ".jsonl":
            return _own(path, *_json_lines(path))
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            heading = [word.strip(' "') for word in file.readline().strip().split(",")]
        if PIXELS in heading:
            return _with_pixels(path, heading)
        text = _text(path.read_bytes())
        head = text.lstrip().partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=head.count))
        lines = [line for line in reader if any(cell.strip() for cell in line)]
    except (OSError, csv.Error) as problem:
        raise InputError(f"{path} cannot be read as a list: {problem}") from problem
    if not lines:
        raise InputError(f"{path} is empty: give lines of file,label[,person[,part]], best with a heading")
    heading = lines[0]
    if len(heading) == len(AFFECTNET_COLUMNS) and re.match(r"\d+/\S+\.\w+$", heading[0]):
        heading, lines = [*AFFECTNET_COLUMNS], [[], *lines]  # AffectNet's validation.csv has no heading
    elif columns.first(columns.PICTURES, heading) is None and _file(heading[0], path.parent) is not None:
        heading, lines = ["file", "label", "person", "part"][: len(heading)], [[], *lines]
    return _own(path, heading, lines[1:])


def _json_lines(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Return the keys of JSON lines, and the values of each line under them; None where a line lacks a key."""
    rows = []
    for number, line in enumerate(_text(path.read_bytes()).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as problem:
                raise InputError(f"{path}, line {number}, is no JSON: {problem}") from problem
            if not isinstance(row, dict):
                raise InputError(f'{path}, line {number}, is no object like {{"file": "a.png", "label": "happy"}}')
            rows.append(row)
    if not rows:
        raise InputError(f'{path} has no lines: give some like {{"file": "a.png", "label": "happy"}}')
    heading = list(dict.fromkeys(key for row in rows for key in row))
    return heading, [[row.get(key) for key in heading] for row in rows]


def _text(content: bytes) -> str:
    """Return what a list says: in UTF-8, in the UTF-16 of spreadsheets, or else in Western Europe's older encoding."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "backslashreplace")


def _vote_columns(heading: Sequence[str]) -> list[int]:
    """Return where FER+'s ten columns stand; nothing if some lack."""
    there = {name.strip().casefold(): place for place, name in enumerate(heading)}
    places = [there.get(name.casefold()) for name in FERPLUS_VOTES]
    return [place for place in places if place is not None] if None not in places else []


def _own(path: Path, heading: Sequence[str], lines: Sequence[Sequence[Any]]) -> Listing:
    picture, label = columns.first(columns.PICTURES, heading), columns.first(columns.LABELS, heading)
    if picture is None:
        raise InputError(
            f"{path} has the columns {', '.join(heading)}: give the pictures' files in one called file, and their "
            "labels in one called label; person and part may be there too"
        )
    if picture.strip().casefold() == PIXELS:
        raise InputError(f"{path} has its pictures as pixels: write it in UTF-8, as CSV with commas between columns")
    place = {name: heading.index(name) for name in heading}
    person, part = columns.first(columns.PEOPLE, heading), columns.first(columns.PARTS, heading)
    box = tuple(columns.first((name,), heading) for name in BOX)
    affectnet = picture.strip() == AFFECTNET_COLUMNS[0]
    votes = _vote_columns(heading)

    def value(line: Sequence[Any], place: int) -> Any:
        cell = line[place] if place < len(line) else None
        return cell.strip() if isinstance(cell, str) else cell

    def text(line: Sequence[Any], name: str | None) -> str | None:
        cell = None if name is None else value(line, place[name])
        return None if cell is None else str(cell)

    rows = []
    for number, line in enumerate(lines, 1):
        named = text(line, picture)
        own_part = PARTS.get((text(line, part) or "").casefold(), text(line, part) or "")
        rows.append(
            Row(
                named or f"row {number}",
                (_file(named, path.parent) or path.parent / named) if named else (0, 0),
                [value(line, one) or None for one in votes] or (None if label is None else value(line, place[label])),
                own_part or part_of(path.name),
                text(line, person),
                _box([text(line, name) for name in box]),
            )
        )
    return Listing(
        rows, AFFECTNET if affectnet else (), label is not None or bool(votes), tuple(heading),
        "AffectNet" if affectnet else "", bool(votes),
    )  # fmt: skip


def _file(name: str, folder: Path) -> Path | None:
    """Return the file that a list names: beside the list, or above it, or where AffectNet keeps its pictures."""
    name = name.replace("\\", "/")
    for start in (folder, folder.parent, folder / "Manually_Annotated_Images", folder / "Manually_Annotated",
                  folder.parent / "Manually_Annotated_Images", folder / "images"):  # fmt: skip
        try:
            if (start / name).is_file():
                return start / name
        except (OSError, ValueError):
            return None
    return None


def _box(sides: Sequence[str | None]) -> tuple[float, float, float, float] | None:
    try:
        left, top, width, height = (float(side or "") for side in sides)
    except ValueError:
        return None
    return (left, top, width, height) if min(width, height) > 0 else None


def _with_pixels(path: Path, heading: Sequence[str]) -> Listing:
    """List a table like FER2013's, with the pixels as text: the label or the votes of FER+, and the part."""
    label, part = columns.first(columns.LABELS, heading), columns.first(columns.PARTS, heading)
    person, votes = columns.first(columns.PEOPLE, heading), _vote_columns(heading)
    pixels, place = heading.index(PIXELS), {name: heading.index(name) for name in heading}
    rows = []
    with path.open("rb") as file:
        start = len(file.readline())
        for number, line in enumerate(file, 2):
            words = line.rstrip(b"\r\n").split(b",")
            if len(words) == len(heading):
                cells = [word.decode("utf-8", "replace").strip(' "') for word in words]
                span = (start + sum(len(word) + 1 for word in words[:pixels]), len(words[pixels]))
                said = "" if part is None else cells[place[part]]
                rows.append(
                    Row(
                        f"row {number}",
                        span,
                        [cells[one] or None for one in votes] or (None if label is None else cells[place[label]]),
                        PARTS.get(said.casefold(), said) or part_of(path.name),
                        None if person is None else cells[place[person]],
                    )
                )
            elif line.strip():
                raise InputError(
                    f"{path}, line {number}, has {len(words)} columns, and its heading {len(heading)}: it is cut "
                    "short, or commas stand in its cells; write it again without"
                )
            start += len(line)
    fer2013 = label == "emotion"
    return Listing(rows, ORDERS["fer2013"] if fer2013 else (), label is not None or bool(votes), tuple(heading),
                   "FER2013" if fer2013 else "", bool(votes))  # fmt: skip


def labels_of(listing: Listing, path: Path) -> Cells | NDArray[np.float64]:
    """Return the labels of a listing's rows, or the votes [rows, 10]."""
    cells = [row.label for row in listing.rows]
    if listing.votes:
        return votes_of(cells, path.name)
    return Cells(cells, str(path), listing.names, bare_from=NEVER, like=listing.like)


def without_labels(path: Path, listing: Listing) -> str:
    """Return what to say of pictures whose labels are asked for, and are not there."""
    if listing.heading:
        return (
            f"{path} has the columns {', '.join(listing.heading)}, and none with the labels: call that one label, with "
            "a class in each line"
        )
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
        if not all(word.isdigit() for word in words):
            raise PictureError(f"{name}: its pixels are no numbers; download the table again")
        return columns.pixels_of([int(word) for word in words], name)
    try:
        content = row.picture.read_bytes()
    except FileNotFoundError:
        if is_address(row.name):
            raise PictureError(f"{name} is an address: download it first") from None
        raise PictureError(f"{name} is listed but absent: {row.picture}") from None
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

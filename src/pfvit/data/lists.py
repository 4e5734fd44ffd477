"""Pictures in files of their own: folders named after classes, and CSV lists (FER2013's, AffectNet's, one's own)."""

import codecs
import csv
import io
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
from pfvit.emotions import NONE, ORDERS
from pfvit.errors import InputError, PictureError

#: What the parts of data sets are called, in file names, folders and columns.
PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "publictest": "val", "test": "test", "testing": "test", "privatetest": "test", "heldout": "test",
    "holdout": "test", "trainset": "train", "valset": "val", "testset": "test", "faces": "faces",
}  # fmt: skip
LISTS = {".csv", ".tsv"}
#: AffectNet's numbers, of which 8 to 10 are no emotion, uncertain and no face.
AFFECTNET = (*ORDERS["affectnet8"], NONE, NONE, NONE)
BOX = ("face_x", "face_y", "face_width", "face_height")
AFFECTNET_COLUMNS = ("subDirectory_filePath", *BOX, "facial_landmarks", "expression", "valence", "arousal")
FER2013 = {"emotion", "pixels"}


class Row(NamedTuple):
    """A listed picture; nothing of it has been read yet."""

    name: str
    picture: Path | tuple[int, int]
    """The file, or where in FER2013's list the pixels stand: first byte and length."""
    label: Any = None
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
    """Return the rows of a CSV list; InputError if its columns do not say which file has which label."""
    try:
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            head = file.readline()
        if {word.strip().strip('"') for word in head.strip().split(",")} >= FER2013:
            return _fer2013(path)
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


def _text(content: bytes) -> str:
    """Return what a list says: in UTF-8, in the UTF-16 of spreadsheets, or else in Western Europe's older encoding."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "backslashreplace")


def _own(path: Path, heading: Sequence[str], lines: Sequence[Sequence[str]]) -> Listing:
    picture, label = columns.first(columns.PICTURES, heading), columns.first(columns.LABELS, heading)
    if picture is None:
        raise InputError(
            f"{path} has the columns {', '.join(heading)}: give the pictures' files in one called file, and their "
            "labels in one called label; person and part may be there too"
        )
    place = {name: heading.index(name) for name in heading}
    person, part = columns.first(columns.PEOPLE, heading), columns.first(columns.PARTS, heading)
    box = tuple(columns.first((name,), heading) for name in BOX)
    affectnet = picture.strip() == AFFECTNET_COLUMNS[0]

    def cell(line: Sequence[str], name: str | None) -> str | None:
        return line[place[name]].strip() if name is not None and place[name] < len(line) else None

    rows = []
    for line in lines:
        named = cell(line, picture)
        if not named:
            continue
        own_part = PARTS.get((cell(line, part) or "").casefold(), cell(line, part) or "")
        rows.append(
            Row(
                named,
                _file(named, path.parent) or path.parent / named,
                cell(line, label),
                own_part or part_of(path.name),
                cell(line, person),
                _box([cell(line, name) for name in box]),
            )
        )
    return Listing(rows, AFFECTNET if affectnet else (), label is not None, tuple(heading))


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


def _fer2013(path: Path) -> Listing:
    """List FER2013's own table: the emotion, the pixels as text, and the part."""
    rows = []
    with path.open("rb") as file:
        first = file.readline()
        heading = [word.strip().strip('"') for word in first.decode("utf-8-sig", "replace").split(",")]
        emotion, pixels = heading.index("emotion"), heading.index("pixels")
        usage = heading.index("Usage") if "Usage" in heading else None
        start = len(first)
        for number, line in enumerate(file, 2):
            words = line.rstrip(b"\r\n").split(b",")  # no field holds a comma
            if len(words) == len(heading):
                span = (start + sum(len(word) + 1 for word in words[:pixels]), len(words[pixels]))
                said = "" if usage is None else words[usage].decode("utf-8", "replace").strip(' "')
                part = PARTS.get(said.casefold(), said) or part_of(path.name)
                rows.append(Row(f"row {number}", span, words[emotion].decode("utf-8", "replace").strip(' "'), part))
            start += len(line)
    return Listing(rows, ORDERS["fer2013"])


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

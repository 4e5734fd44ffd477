"""Lists of pictures in files: CSV (FER2013's, AffectNet's, one's own) and JSON lines."""

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pfvit.data import columns, text_lists
from pfvit.data.class_columns import class_columns
from pfvit.data.label_cells import NULLS, point
from pfvit.data.lists import Listing, Row
from pfvit.data.parts import PARTS, are_parts, flag_of, part_of, part_said, parts_flagged
from pfvit.data.picture_places import Places
from pfvit.emotions import FERPLUS_VOTES, NONE, ORDERS
from pfvit.errors import InputError
from pfvit.utils.files import is_file
from pfvit.utils.text import parsed, shortened

#: AffectNet's numbers, of which 8 to 10 are no emotion, uncertain and no face.
AFFECTNET = (*ORDERS["affectnet8"], NONE, NONE, NONE)
BOX = ("face_x", "face_y", "face_width", "face_height")
AFFECTNET_COLUMNS = ("subDirectory_filePath", *BOX, "facial_landmarks", "expression", "valence", "arousal")
FERPLUS_COLUMNS = ("file", "frame", *FERPLUS_VOTES)
PIXELS = "pixels"
LOOKED_AT = 50  # lines that tell which of several columns names pictures
#: Characters of a list's line, which is read whole, and bytes in which the encoding is looked for at a time.
LONGEST_LINE, PART = 4_000_000, 1_000_000
#: Cells that a list may have beside those that its bytes can hold: lines that lack most columns.
MISSING_CELLS = 10_000_000
#: What others call the sides of a face's box, without `_`, and all of them in one column.
WHOLE_BOXES = {"bbox", "box", "face_box", "facebox", "bounding_box"}
BOXES = {
    *("x", "y", "w", "h", "x1", "y1", "x2", "y2", "xmin", "ymin", "xmax", "ymax", "left", "top", "right", "bottom"),
    *("width", "height", *(name.replace("_", "") for name in WHOLE_BOXES)),
}


def read_list(path: Path) -> Listing:
    """Return the rows of a list; InputError if its columns do not say which file has which label."""
    try:
        if path.suffix.lower() == ".jsonl":
            return _own(path, *_json_lines(path))
        with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            heading = [word.strip(' "') for word in file.readline(LONGEST_LINE).strip().split(",")]
        _check_columns(path, heading, ())
        if PIXELS in heading:
            return _with_pixels(path, heading)
        lines = _rows_of(path)
    except OSError as problem:
        raise InputError(f"{path} cannot be read as a list: {problem}") from problem
    if not lines:
        raise InputError(f"{path} is empty: give lines of file,label[,person[,part]], best with a heading")
    _check_columns(path, max((line for _, line in lines), key=len), lines)
    heading = lines[0][1]
    if path.name == text_lists.RAFDB_LIST:
        listed, names = text_lists.rafdb(path, [line for _, line in lines])
        return _own(path, ["file", "label", "part"], listed)._replace(names=names)
    if len(heading) == len(AFFECTNET_COLUMNS) and re.match(r"\d+/\S+\.\w+$", heading[0]):
        heading = [*AFFECTNET_COLUMNS]  # AffectNet's validation.csv has no heading
    elif len(heading) == len(FERPLUS_COLUMNS) and re.fullmatch(r"\(\d+, \d+, \d+, \d+\)", heading[1]):
        heading = [*FERPLUS_COLUMNS]  # nor has FER+'s FER2013Train/label.csv
    elif columns.first(columns.PICTURES, heading) is None and Places.of(path.parent).file(heading[0]) is not None:
        heading = _heading_of(path, [line for _, line in lines])
    else:
        del lines[0]
    for number, line in lines:
        if any(cell.strip() for cell in line[len(heading) :]):
            raise InputError(
                f"{path}, line {number}, has {len(line)} columns, and its first line {len(heading)}: begin with the "
                "heading, and put quotation marks around cells with a separator in them"
            )
    return _own(path, heading, [line for _, line in lines])


def _heading_of(path: Path, lines: Sequence[Sequence[str]]) -> list[str]:
    """Return what the columns of a list without a heading are: file, label, person, part, or file, label, part.

    InputError if they may be anything else.
    """
    count = max(place for line in lines for place, cell in enumerate(line, 1) if cell.strip())
    held = [{line[place].strip().casefold() for line in lines if place < len(line)} - {""} for place in range(count)]
    parts = [place for place in range(1, count) if held[place] and held[place] <= {*PARTS}]
    heading = ["file", "label", "part"] if count == 3 and parts == [2] else ["file", "label", "person", "part"][:count]
    flags = count > 2 and all(words <= {"0", "1", "0.0", "1.0"} for words in held[1:])
    if count > len(heading) or flags or {*parts} - {place for place, name in enumerate(heading) if name == "part"}:
        raise InputError(
            f"{path} has no heading, and its {count} columns may mean several things: write one above them, as in "
            "file,label,person,part"
        )
    return heading


def is_affectnet(path: Path) -> bool:
    """Return whether a list has AffectNet's columns."""
    with path.open("rb") as file:
        return AFFECTNET_COLUMNS[0].encode() in file.readline(LONGEST_LINE)


def labels_pictures(path: Path) -> bool:
    """Return whether a list gives labels to pictures that are there."""
    try:
        listing = read_list(path)
    except InputError:
        return False
    there = listing.labelled or class_columns(listing.heading)
    return bool(there) and any(isinstance(row.picture, tuple) or is_file(row.picture) for row in listing.rows)


def _rows_of(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV, but for empty ones, each with the number of its last line.

    InputError for what is no CSV, with the line.
    """
    first = next((line for line in _lines(path, "") if line.strip()), "")
    if not any(map(first.count, ",;\t|")) and (words := text_lists.spaced(path, list(_lines(path, "")))):
        return words
    separator = "\t" if path.suffix.lower() == ".tsv" and "\t" in first else max(",;\t|", key=first.count)
    rows: list[tuple[int, list[str]]] = []
    taken: list[str] = []  # the lines of the row that is read: a cell in quotes may have several
    begin, unclosed = 1, 0
    try:
        for row in csv.reader(_noted(_lines(path, ""), taken), delimiter=separator):
            unclosed = begin if len(taken) > 1 and "".join(taken).count('"') % 2 else 0
            begin += len(taken)
            taken.clear()
            if any(cell.strip() for cell in row):
                rows.append((begin - 1, row))
    except csv.Error as problem:
        raise InputError(f"{path}, line {begin}, cannot be read: {problem}; is a quote not closed?") from problem
    if unclosed:  # in the last row, as it goes on to the end of the file
        raise InputError(f"{path}, line {unclosed}, has a quote that is not closed: close it, or take it out")
    return rows


def _noted(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _lines(path: Path, ends: str) -> Iterator[str]:
    """Yield the lines of a list; InputError for one that is far too long, and for what is no text."""
    encoding, errors = _encoding(path)
    with path.open(encoding=encoding, errors=errors, newline=ends) as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE)
            if len(line) == LONGEST_LINE:
                raise InputError(f"{path}, line {number}, has more than {LONGEST_LINE:,} characters: this is no list")
            if number == 1 and "\0" in line:
                raise InputError(f"{path} holds bytes that are no text: save it again as CSV in UTF-8")
            if not line:
                return
            yield line


def _json_lines(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Return the keys of JSON lines, and the values of each line under them; None where a line lacks a key."""
    rows = []
    for number, line in enumerate(_lines(path, "\n"), 1):
        if line.strip():
            try:
                row = parsed(line)
            except ValueError as problem:
                raise InputError(f"{path}, line {number}, is no JSON: {problem}") from problem
            if not isinstance(row, dict):
                raise InputError(f'{path}, line {number}, is no object like {{"file": "a.png", "label": "happy"}}')
            rows.append(row)
    if not rows:
        raise InputError(f'{path} has no lines: give some like {{"file": "a.png", "label": "happy"}}')
    heading = list(dict.fromkeys(key for row in rows for key in row))
    _check_columns(path, heading, rows)
    return heading, [[row.get(key) for key in heading] for row in rows]


def _encoding(path: Path) -> tuple[str, str]:
    """Return how a list is written, and what is done where it is not: UTF-8, the UTF-16 of spreadsheets, or else
    Western Europe's older encoding."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        part = file.read(PART)
        if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", "replace"
        try:
            while part:
                decoder.decode(part)
                part = file.read(PART)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252", "backslashreplace"
    return "utf-8-sig", "strict"


def _vote_columns(heading: Sequence[str]) -> list[int]:
    """Return where FER+'s ten columns stand; nothing if some lack."""
    there = {name.strip().casefold(): place for place, name in enumerate(heading)}
    places = [there.get(name.casefold()) for name in FERPLUS_VOTES]
    return [place for place in places if place is not None] if None not in places else []


def _check_columns(path: Path, heading: Sequence[str], lines: Sequence[object]) -> None:
    """Refuse a list that would be far larger in memory than it is as a file."""
    if len(heading) > columns.MOST_COLUMNS or len(heading) * len(lines) > path.stat().st_size + MISSING_CELLS:
        raise InputError(
            f"{path} has {len(heading):,} columns in {len(lines):,} lines: pictures need a few, which all lines have"
        )


def _own(path: Path, heading: Sequence[str], lines: Sequence[Sequence[Any]]) -> Listing:
    picture, label = _picture_column(path, heading, lines), columns.first(columns.LABELS, heading)
    if picture is None:
        separated = "" if len(heading) > 1 else "; commas, semicolons, tabs or | stand between columns"
        raise InputError(
            f"{path} has the columns {shortened(heading)}: give the pictures' files in one called file, and their "
            f"labels in one called label; person and part may be there too{separated}"
        )
    if picture.strip().casefold() == PIXELS:
        raise InputError(f"{path} has its pictures as pixels: write it in UTF-8, as CSV with commas between columns")
    place = {name: heading.index(name) for name in heading}
    others = [name for name in place if name not in (picture, label) and not columns.tells_copies(name)]
    said = [name for name in others if are_parts(line[place[name]] for line in lines if place[name] < len(line))]
    part = columns.first(columns.PARTS, heading) or next(iter(said), None)
    flags = [name for name in others if flag_of(name)] if part is None else []
    flagged = parts_flagged(
        {name: [line[place[name]] if place[name] < len(line) else "" for line in lines] for name in flags}
    )
    note = columns.unread_parts(part, heading, str(path), said)
    if flagged is not None:
        note = columns.flags_read(flags, str(path))
    person = columns.first(columns.PEOPLE, [name for name in heading if name not in (part, *said)])
    for name in filter(None, (picture, label, person, part)):
        if [one.strip().casefold() for one in heading].count(name.strip().casefold()) > 1:
            raise InputError(f"{path} has two columns called {name}: call them differently")
    box = tuple(columns.first((name,), heading) for name in BOX)
    affectnet = picture.strip() == AFFECTNET_COLUMNS[0]
    votes = _vote_columns(heading)
    places = Places.of(path.parent)

    def value(line: Sequence[Any], place: int) -> Any:
        cell = line[place] if place < len(line) else None
        return cell.strip() if isinstance(cell, str) else cell

    def text(line: Sequence[Any], name: str | None) -> str | None:
        cell = None if name is None else value(line, place[name])
        return None if cell is None else str(cell)

    rows = []
    for number, line in enumerate(lines, 1):
        named = text(line, picture)
        its = (text(line, part) or "") if flagged is None else flagged[number - 1]
        its = part_said(its) or its or part_of(path.name)
        rows.append(
            Row(
                named or f"row {number}",
                (places.file(named, its) or path.parent / named.replace("\\", "/")) if named else (0, 0),
                [value(line, one) or None for one in votes] or (None if label is None else value(line, place[label])),
                its,
                _person(text(line, person)),
                _box([text(line, name) for name in box]),
                line,
            )
        )
    return Listing(
        rows, AFFECTNET if affectnet else (), label is not None or bool(votes), tuple(heading),
        "AffectNet" if affectnet else "", bool(votes), note,
    )  # fmt: skip


def _picture_column(path: Path, heading: Sequence[str], lines: Sequence[Sequence[Any]]) -> str | None:
    """Return the column that names the pictures: the first of those called so whose files are there, or the first."""
    places = Places.of(path.parent)
    called = [name for one in columns.PICTURES if (name := columns.first((one,), heading)) is not None]
    for name in called if len(called) > 1 else ():
        at = heading.index(name)
        if any(places.file(str(line[at]).strip()) for line in lines[:LOOKED_AT] if at < len(line)):
            return name
    return called[0] if called else None


def unread_box(path: Path, heading: Sequence[str]) -> str:
    """Return what to say of columns that look like a face's box and are not those that are read; "" if none does."""
    there = [name for name in heading if name.strip().casefold().replace("_", "") in BOXES]
    if len(there) < 3 and not {name.strip().casefold() for name in there} & WHOLE_BOXES:
        return ""
    return (
        f"{path}: its columns {', '.join(there)} are not read, and pictures are taken whole: columns called "
        f"{', '.join(BOX)}, in pixels, cut the faces out"
    )


def _person(name: str | None) -> str | None:
    return None if name is None or name.strip().casefold() in NULLS else name


def _box(sides: Sequence[str | None]) -> tuple[float, float, float, float] | None:
    try:
        left, top, width, height = (float(point(side or "")) for side in sides)
    except ValueError:
        return None
    return (
        (left, top, width, height) if np.isfinite([left, top, width, height]).all() and min(width, height) > 0 else None
    )


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
                cells[pixels] = ""
                span = (start + sum(len(word) + 1 for word in words[:pixels]), len(words[pixels]))
                said = "" if part is None else cells[place[part]]
                rows.append(
                    Row(
                        f"row {number}",
                        span,
                        [cells[one] or None for one in votes] or (None if label is None else cells[place[label]]),
                        part_said(said) or said or part_of(path.name),
                        None if person is None else _person(cells[place[person]]),
                        cells=cells,
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

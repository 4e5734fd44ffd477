"""Lists whose cells have spaces between them, as `a.jpg 5` in many .txt files, RAF-DB's own among them."""

import re
from collections.abc import Sequence
from pathlib import Path

from pfvit.data import formats
from pfvit.data.parts import part_of
from pfvit.emotions import NONE, ORDERS
from pfvit.errors import InputError

RAFDB_LIST = "list_patition_label.txt"  # its own spelling
RAFDB = (NONE, *ORDERS["rafdb"])  # it counts from 1
_ENDINGS = "|".join(ending[1:] for ending in sorted(formats.PICTURES))
#: A picture, whose name may have spaces, and what is said of it.
LINE = re.compile(rf"\s*(\S.*?\.(?:{_ENDINGS}))\s+(\S.*)", re.IGNORECASE)


def spaced(path: Path, lines: Sequence[str]) -> list[tuple[int, list[str]]] | None:
    """Return the rows of a list whose lines begin with a picture, each with its number; None if they do not.

    The first line may be a heading, and lines that begin with # are remarks. InputError for lines of different lengths.
    """
    told = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    found = [LINE.fullmatch(line.rstrip()) for _, line in told]
    headed = bool(found) and found[0] is None
    if not any(found) or not all(found[headed:]):
        return None
    rows = [
        (number, line.split() if match is None else [match[1], *match[2].split()])
        for (number, line), match in zip(told, found, strict=True)
    ]
    for number, row in rows:
        if len(row) != len(rows[-1][1]):
            raise InputError(
                f"{path}, line {number}, has {len(row)} words, and its last line {len(rows[-1][1])}: put tabs or "
                "commas between the columns, if words with spaces are one cell"
            )
    return rows


def rafdb(path: Path, rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], tuple[str, ...]]:
    """Return the rows of RAF-DB's list as file, label and part, and what its numbers mean.

    Its names are those of the pictures before they were aligned. Without names if it is that of the compound emotions.
    InputError if the aligned pictures are not there.
    """
    root = path.parent.parent
    aligned = {Path(one.name).stem: one.name for one in (root / "Image" / "aligned").glob("*_aligned.*")}
    listed, labels = [], {row[1] for row in rows if len(row) > 1}
    for row in rows:
        stem = Path(row[0]).stem
        there = aligned.get(f"{stem}_aligned")
        listed.append([row[0] if there is None else f"Image/aligned/{there}", *row[1:2], part_of(stem)])
    if not aligned and not (path.parent / listed[0][0]).is_file():
        raise InputError(
            f"{path} is RAF-DB's, and its aligned pictures are not there: unpack Image/aligned.zip, so that "
            f"{root / 'Image' / 'aligned'} holds them"
        )
    return listed, RAFDB if labels <= {str(number) for number in range(1, len(RAFDB))} else ()

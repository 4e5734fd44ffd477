"""Which part of a data set a name or a cell tells: training, validation, test."""

import re
from collections.abc import Iterable

#: What the parts of data sets are called, in file names, folders and columns.
PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "publictest": "val", "test": "test", "testing": "test", "privatetest": "test", "heldout": "test",
    "holdout": "test", "trainset": "train", "valset": "val", "testset": "test", "faces": "faces",
}  # fmt: skip
#: Those of these words that mean little else: a column of any name that holds one of them alone tells a part.
PLAIN = {*PARTS} - {"faces", "valid", "dev", "eval"}


def part_of(name: str) -> str:
    """Return the part of a data set that a name tells ("test-00000.parquet", "ferplus_val", "PrivateTest"), or ""."""
    stem = re.sub(r"\.(parquet|csv|tsv|txt)$", "", name.casefold())
    stem = re.sub(r"(?<![^\W_])(held|hold)[-_ ]out", "heldout", stem)
    found = {PARTS[word] for word in re.findall(r"[^\W\d_]+", stem) if word in PARTS}
    found = {*found} - {"faces"} or found
    return found.pop() if len(found) == 1 else ""


def part_said(cell: object) -> str:
    """Return the part that a cell names ("Train", "test_set"), or ""."""
    text = _text(cell)
    return PARTS.get(text.casefold(), "") or part_of(text)


def all_named(cells: Iterable[object]) -> dict[str, str] | None:
    """Return the part that each text in some cells names; None if a cell is neither one nor empty."""
    said: dict[str, str] = {}
    for cell in cells:
        if not isinstance(cell, str | None):
            return None
        text = _text(cell)
        if text and not said.setdefault(text, said.get(text) or part_said(text)):
            return None
    return said


def are_parts(cells: Iterable[object]) -> bool:
    """Return whether the cells of a column of any name are parts; some may be empty.

    They are if one of several is for training, and if all are plain words for parts.
    """
    said = all_named(cells) or {}
    several = "train" in said.values() and len({*said.values()}) > 1
    return several or (bool(said) and all(text.casefold() in PLAIN for text in said))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()

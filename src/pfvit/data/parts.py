"""Which part of a data set a name or a cell tells: training, validation, test."""

import re
from collections.abc import Iterable, Mapping, Sequence

#: What the parts of data sets are called, in file names, folders and columns.
PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "evaluation": "val", "publictest": "val", "test": "test", "testing": "test", "privatetest": "test",
    "heldout": "test", "holdout": "test", "trainset": "train", "valset": "val", "testset": "test", "faces": "faces",
}  # fmt: skip
#: Those of these words that mean little else: a column of any name that holds one of them alone tells a part.
PLAIN = {*PARTS} - {"faces", "valid", "dev", "eval"}
FLAG = re.compile(r"(is|in|for)?[ _-]*(train|training|test|testing|val|validation)([ _-]*(set|split|data|flag))?")
TRUTH = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}


def part_of(name: str) -> str:
    """Return the part of a data set that a name tells ("test-00000.parquet", "ferplus_val", "PrivateTest"), or ""."""
    stem = re.sub(r"\.(parquet|csv|tsv|txt)$", "", name.casefold())
    stem = re.sub(r"(?<![^\W_])(held|hold)[-_ ]out", "heldout", stem)
    found = {PARTS[word] for word in re.findall(r"[^\W\d_]+", stem) if word in PARTS}
    found = {*found} - {"faces"} or found
    return found.pop() if len(found) == 1 else ""


def part_in_path(words: Sequence[str]) -> str:
    """Return the part that a path tells, as its words: by the innermost folder called like one, or else by how the
    file's name begins ("train_00001.jpg"); or ""."""
    said = [PARTS.get(word.casefold(), "") for word in words[:-1]]
    said = [part for part in said if part not in ("", "faces")]
    return said[-1] if said else PARTS.get(re.split(r"[\W\d_]", words[-1].casefold())[0], "")


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


def flag_of(name: str) -> str:
    """Return the part of which a column called `is_train`, `test_set` or `val` says whether a row is in it, or ""."""
    found = FLAG.fullmatch(name.strip().casefold())
    return PARTS[found[2]] if found else ""


def parts_flagged(flags: Mapping[str, Sequence[object]]) -> list[str] | None:
    """Return each row's part by columns of such names; None if their cells are not all yes or no, or contradict.

    A row in none of them is in the part that has no column: that for training, or else that for testing.
    """
    parts = [flag_of(name) for name in flags]
    bare = all(name.strip().casefold() in PARTS for name in flags)  # `test` and `val` alone may mean something else
    if not flags or len({*parts}) < len(parts) or (bare and "train" not in parts):
        return None
    other = next((part for part in ("train", "test") if part not in parts), "")
    rows = []
    for cells in zip(*flags.values(), strict=True):
        said = [TRUTH.get(_text(cell).casefold()) for cell in cells]
        if None in said or said.count(True) > 1:
            return None
        rows.append(next((part for part, its in zip(parts, said, strict=True) if its), other))
    return rows


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()

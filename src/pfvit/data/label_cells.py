"""The cells of a label column as plain values, all of one kind: whatever files and tables write for a label."""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.errors import UsageError
from pfvit.utils.text import parsed

#: What tables write where there is no value, and whole numbers as text.
NULLS = {"", "nan", "null", "n/a", "na", "#n/a", "<na>", "-", "--", "?", "."}
NUMERAL = re.compile(r"[+-]?\d+(\.0*)?")
#: Numbers with spaces, commas or semicolons between them: shares without brackets.
#: A separator is written so that long space takes no longer than it must: `\s*[\s,;]\s*` would take its square.
NUMERALS = re.compile(r"[+-]?\d+(\.\d*)?((\s+|\s*[,;]\s*)[+-]?\d+(\.\d*)?)+")
#: A number with a decimal comma, as spreadsheets write it in much of Europe, and one that is whole.
COMMA, WHOLE_COMMA = re.compile(r"[+-]?\d+,\d+"), re.compile(r"[+-]?\d+,0+")
ONE_HOT = {"1,0", "0,1"}
NUMERAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
TRUTH = {"true": True, "false": False}
#: In a table of a single value: keys that are no name of a class.
INNER = {"label", "labels", "name", "class", "emotion", "expression", "value", "id", "index", "target"}
MOST = 2**31 - 1
ACCEPTED = "labels are names, whole numbers, true or false, or lists with the share of each class"


@dataclass(frozen=True)
class Cells:
    """A label column as it is in a file."""

    values: Sequence[Any] | NDArray[Any]
    place: str
    """The file, for messages."""
    names: tuple[str, ...] = ()
    """What the file says that 0, 1, 2, ... mean; none if it does not say."""
    several: bool = False
    """Whether lists hold the numbers of several classes, not shares."""
    distinct: tuple[str, ...] | None = None
    """The classes that the file tells apart, if they are fewer than `names`."""
    bare_from: int = 0
    """Numbers that nothing explains are FER+'s if the highest is this or more, or some between them lack; else
    `--order` is asked for. `labels.NEVER`: they are never taken for FER+'s."""
    like: str = ""
    """The data set whose columns a file has. Its `names` explain the numbers; or, if it is one of `ORDERS`, its order
    does where there is no `--order`."""
    note: str = ""
    """What to say of the column, whatever is in it."""
    rows: Sequence[str] = ()
    """What each row is called in messages, if not by its number."""

    def at(self, row: int) -> str:
        """Return where a row stands, for messages."""
        return f"{self.place}, {self.rows[row]}" if self.rows else f"{self.place}#{row}"


def plain(cells: Cells) -> tuple[Sequence[Any], str]:
    """Return the cells as Python values, None where there is no label, and of which kind they all are.

    Kinds are `number`, `name`, `yes or no`, `list` (of numbers or names) and `table` (of shares by name). UsageError
    for what is no label, and for a column that mixes kinds.
    """
    if isinstance(cells.values, np.ndarray) and cells.values.dtype.kind in "iu":
        if cells.values.max(initial=0) > MOST:
            _refuse(cells, int(cells.values.argmax()), int(cells.values.max()))
        return cells.values.tolist(), "number"
    values, first = [], {}
    texts = all(isinstance(cell, str | None) for cell in cells.values)
    for row, cell in enumerate(_with_points(cells) if texts else cells.values):
        value, kind = _one(cell)
        values.append(value)
        if kind:
            first.setdefault(kind, (row, cell))
    if set(first) == {"name"} and {str(value).casefold() for value in values if value is not None} <= {*TRUTH}:
        return [None if value is None else TRUTH[value.casefold()] for value in values], "yes or no"
    for kind in ("other", "fraction"):
        if kind in first and set(first) <= {"number", "fraction", "other"}:
            _refuse(cells, *first[kind])
    if len(first) > 1:
        shown = " and ".join(
            f"{cell!r} ({cells.rows[row] if cells.rows else f'row {row}'})" for row, cell in first.values()
        )
        raise UsageError(f"{cells.place} mixes kinds of labels, {shown}: write them all alike")
    return values, next(iter(first), "number")


def point(text: str) -> str:
    """Return a number's text with a decimal point, if it has a decimal comma."""
    return text.replace(",", ".") if COMMA.fullmatch(text.strip()) else text


def _with_points(cells: Cells) -> Sequence[Any] | NDArray[Any]:
    """Return a column of text with decimal points if it is one of whole numbers with decimal commas: `0,0`, `3,0`.

    UsageError for numbers like `0,5`, which may be two shares too: 0 and 5. `1,0` and `0,1` are one-hot.
    """
    texts = [cell.strip() if isinstance(cell, str) else cell for cell in cells.values]
    said = {cell for cell in texts if _is_said(cell)}
    if not said or not all(isinstance(cell, str) and COMMA.fullmatch(cell) for cell in said) or said <= ONE_HOT:
        return cells.values
    if not all(map(WHOLE_COMMA.fullmatch, said)):
        row = next(row for row, cell in enumerate(texts) if cell in said and not WHOLE_COMMA.fullmatch(cell))
        raise UsageError(
            f"{cells.at(row)}: {texts[row]!r} may be a number with a decimal comma, or two shares: write a point in "
            "the number, or brackets around the shares"
        )
    return [point(cell) if isinstance(cell, str) else cell for cell in texts]


def _is_said(cell: object) -> bool:
    return cell is not None and not (isinstance(cell, str) and cell.strip().casefold() in NULLS)


def _refuse(cells: Cells, row: int, cell: object) -> None:
    raise UsageError(f"{cells.at(row)}: a label of {cell!r} is no class: {ACCEPTED}")


def _one(cell: object) -> tuple[Any, str]:
    """Return a cell's value and kind; None and "" for no label."""
    if isinstance(cell, np.ndarray | np.generic):
        cell = cell.tolist()
    if isinstance(cell, bytes):
        cell = cell.decode(errors="backslashreplace")
    if isinstance(cell, Mapping):
        cell = _unwrapped(cell)
    if isinstance(cell, str):
        return _of_text(cell.strip())
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None, ""
    if isinstance(cell, bool):
        return cell, "yes or no"
    if isinstance(cell, int):
        return (cell, "number") if abs(cell) <= MOST else (cell, "fraction")
    if isinstance(cell, float | Decimal):
        whole = math.isfinite(cell) and cell == int(cell) and abs(cell) <= MOST
        return (int(cell), "number") if whole else (cell, "fraction")
    if isinstance(cell, Mapping):
        return cell, "table" if all(map(_is_share, cell.values())) else "other"
    return _of_sequence(cell) if isinstance(cell, Sequence) else (cell, "other")


def _of_text(text: str) -> tuple[Any, str]:
    """Read text: a number, a name, or (in lists of files) numbers in brackets, a table in braces."""
    if text.casefold() in NULLS:
        return None, ""
    if NUMERAL.fullmatch(text):
        number = float(text)
        return (int(number), "number") if abs(number) <= MOST else (text, "fraction")
    words = re.split(r"[\s;]+", text)
    if len(words) > 1 and any(map(COMMA.fullmatch, words)) and all(map(NUMERAL_COMMA.fullmatch, words)):
        return _one([float(point(word)) for word in words])
    if NUMERALS.fullmatch(text):
        return _one([float(word) for word in re.split(r"[\s,;]+", text)])
    if text[0] + text[-1] in ("[]", "{}"):
        for read in (parsed, _python, _printed):
            with suppress(ValueError):
                return _one(read(text))
    return text, "name"


def _python(text: str) -> Any:
    """Read what Python prints of a list or a table: other quotation marks than JSON's."""
    return parsed(text.replace("'", '"'))


def _printed(text: str) -> list[float]:
    """Read what numpy prints of an array: [1. 0. 0.]."""
    return [float(word) for word in text[1:-1].split()]


def _unwrapped(cell: Mapping[str, Any]) -> Any:
    """Return the name or number that a table wraps, as in {"label": 3} or {"label": "happy", "score": 0.9}."""
    texts = [value for value in cell.values() if isinstance(value, str)]
    if len(texts) == 1:
        return texts[0]
    if len(cell) == 1 and next(iter(cell)).casefold() in INNER:
        return next(iter(cell.values()))
    return cell


def _of_sequence(cell: Sequence[Any]) -> tuple[Any, str]:
    """Return a list of numbers or of names; pairs of a name and its share, in whatever form, are a table."""
    pairs = [tuple(one.values()) if isinstance(one, Mapping) else one for one in cell]
    if cell and all(isinstance(one, tuple | list) and len(one) == 2 for one in pairs):
        found = {text: share for pair in pairs for text, share in (pair, pair[::-1]) if isinstance(text, str)}
        return (found, "table") if len(found) == len(pairs) and all(map(_is_share, found.values())) else (cell, "other")
    names = all(isinstance(one, str) for one in cell)
    return (list(cell), "list") if names or all(map(_is_share, cell)) else (cell, "other")


def _is_share(value: object) -> bool:
    return value is None or isinstance(value, float | Decimal) or (isinstance(value, int) and abs(value) <= MOST)

"""What labels mean: votes, class names, numbers, yes or no, lists of shares; as shares of named classes.

What a file says of its labels is believed: names in the metadata, text, the ten vote columns. Bare numbers are taken in
FER+'s order unless `--order` says otherwise, which is told; where they need not be emotions, `--order` is asked for.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from pfvit.data.label_cells import Cells, plain
from pfvit.emotions import EIGHT, NONE, ORDERS, in_our_order, label_set, named
from pfvit.errors import UsageError

#: For `Cells.bare_from`: bare numbers that end before those of the seven emotions may be anybody's; all of them are.
ALL_EMOTIONS, NEVER = 6, len(EIGHT)
YES_NO = ("no", "yes")
#: Shares of all classes in all rows: more take a GB, and then the column is not the one with the labels.
MOST_SHARES = 30_000_000
NO_LABEL = "without a label"
NO_EMOTION = "whose label is no emotion"
#: What `--order` must say where a file does not: for messages.
ORDER_HELP = f"say with --order what they mean: one of {', '.join(ORDERS)}; or all classes' names, that of 0 first"
Shares = NDArray[np.float32]
#: What data sets of emotions call faces without one.
NO_CLASS = {"none", "unknown", "nf", "uncertain", "no face", "noface", "none of the above"}


@dataclass
class Labels:
    """The labels of some rows."""

    names: tuple[str, ...]
    """The classes that the file tells apart, in the order of the codes."""
    codes: NDArray[np.int32]
    """int32 [rows]: the place in `names` of each row's class, of the likeliest where there are shares; -1: none."""
    shares: Shares | None = None
    """float32 [rows, names]: how likely each class is, if the file says; rows without a label are 0."""
    missing: Counter[str] = field(default_factory=Counter)
    """Rows without a class, by reason."""
    note: str = ""
    """What was taken for granted; "" if nothing was."""

    def called_as(self, classes: Sequence[str]) -> "Labels":
        """Return the same labels; a class whose name is that of one of `classes` in another case is called so too."""
        folded = {name.casefold(): name for name in classes}
        called = (name if name in classes else folded.get(name.casefold(), name) for name in self.names)
        return replace(self, names=tuple(called))

    def targets(self, classes: Sequence[str], hard: bool) -> Shares:
        """Return targets over classes, float32 [rows, classes]; 0 where the row's class is none of them."""
        _check_shares(len(self.codes), max(len(classes), len(self.names)))
        if self.shares is not None and not hard:
            return moved(self.shares, self.names, classes)
        column = np.array([classes.index(name) if name in classes else len(classes) for name in (*self.names, NONE)])
        return np.eye(len(classes) + 1, dtype=np.float32)[column[self.codes]][:, : len(classes)]


def moved(shares: Shares, names: Sequence[str], classes: Sequence[str]) -> Shares:
    """Return shares of `names` as shares of `classes`; 0 where the likeliest of `names` is none of `classes`."""
    out = np.zeros((len(shares), len(classes)), dtype=np.float32)
    for column, name in enumerate(names):
        if name in classes:
            out[:, classes.index(name)] += shares[:, column]
    known = np.array([name in classes for name in names])
    out[~known[shares.argmax(axis=1)]] = 0
    return out / np.maximum(out.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)


def meaning(order: Sequence[str]) -> tuple[str, ...]:
    """Return the names that `--order` gives to 0, 1, 2, ...; none if it says nothing."""
    if len(order) == 1:
        return ORDERS[order[0]]
    canon = _all_canonical(order)
    return tuple(canon[name] for name in order)


def canonical(name: str) -> str:
    """Return our name of a class: that of the emotion which it names, or else its own, with composed characters."""
    return named(name) or " ".join(normalize("NFC", name).split())  # macOS writes folder names decomposed


def _all_canonical(names: Iterable[str]) -> dict[str, str]:
    """Return our name of each class; among emotions, "none", "unknown" and the like are no class."""
    canon = {name: canonical(name) for name in dict.fromkeys(names)}
    if len({*canon.values()} & {*EIGHT}) > 1:
        canon = {name: NONE if is_no_class(name) else ours for name, ours in canon.items()}
    return canon


def _names_in(cells: Cells) -> tuple[str, ...]:
    canon = _all_canonical(cells.names)
    return tuple(canon[name] for name in cells.names)


def classes_of(found: Sequence[Sequence[str]], wanted: int | None, place: str = "the data") -> tuple[str, ...]:
    """Return the classes to tell apart, given those that each file tells apart and how many are wanted, if it is said.

    7 and 8 are the classic seven emotions and these with contempt, as long as the data have no others. UsageError if
    the numbers do not fit.
    """
    every: list[str] = []
    for names in found:  # names of two files that differ in case alone are one
        there = {name.casefold() for name in every}
        every += [name for name in names if name != NONE and name.casefold() not in there]
    ours = in_our_order(every)
    if wanted in (7, 8) and set(ours) <= set(EIGHT):
        return label_set(wanted)
    if len(ours) < 2:
        raise too_few(ours, place)
    if wanted is not None and len(ours) != wanted:
        raise UsageError(
            f"--model.classes {wanted}: {place} tell {len(ours)} classes apart ({', '.join(ours)}); leave it out"
        )
    return ours


def too_few(classes: Sequence[str], place: str) -> UsageError:
    """Return the error for data with fewer than two classes."""
    what = f"show one class alone ({classes[0]})" if classes else "show no class"
    return UsageError(f"{place} {what}: two or more can be learned, so give faces of others too")


def read(cells: Cells, order: Sequence[str] = ()) -> Labels:
    """Return what the cells of a label column mean; UsageError that asks for what cannot be known."""
    try:
        labels = _read(cells, order)
    except UsageError as problem:
        if cells.note:
            raise UsageError(f"{problem} ({cells.note})") from problem
        raise
    labels.note = "; ".join(filter(None, (cells.note, labels.note)))
    return labels


def _read(cells: Cells, order: Sequence[str]) -> Labels:
    values, kind = plain(cells)
    if kind == "name":
        return _of_names(values)
    if kind == "list":
        return _of_lists(cells, values, order)
    if kind == "table":
        return _of_tables(cells, values)
    if kind == "number" and {*values} - {None} == {-1, 1} and not cells.names:
        raise UsageError(
            f"{cells.place}: the labels are 1 and -1: write 0, or the classes' names, in place of -1 if that is a "
            "class, and nothing if it means no label"
        )
    numbers = np.array([-1 if value is None else value for value in values], dtype=np.int64)
    if kind == "yes or no":
        names = meaning(order) if len(meaning(order)) == 2 else YES_NO
        return _of_codes(names, numbers)
    return _of_numbers(cells, numbers, order)


def _of_codes(names: tuple[str, ...], codes: NDArray[np.integer], note: str = "") -> Labels:
    """Return labels of codes, where those of NONE and those below 0 are no classes."""
    none = np.array([name == NONE for name in names])
    labelled = codes >= 0
    without = np.zeros(len(codes), dtype=bool)
    without[labelled] = none[codes[labelled]]
    missing = Counter({NO_LABEL: int((~labelled).sum()), NO_EMOTION: int(without.sum())})
    return Labels(names, np.where(labelled & ~without, codes, -1).astype(np.int32), missing=+missing, note=note)


def _check_shares(rows: int, classes: int) -> None:
    if max(rows, classes) * classes > MOST_SHARES:
        raise UsageError(
            f"the label column tells {classes:,} classes apart in {rows:,} rows: is it the one with the labels?"
        )


def _of_names(values: Sequence[str | None]) -> Labels:
    canon = _all_canonical(value for value in values if value is not None)
    kept = {name.casefold(): name for name in reversed(canon.values())}  # names that differ in case alone are one
    names = in_our_order(kept[folded] for folded in sorted(kept))
    places = {name: number for number, name in enumerate(names)}
    place = {value: places[kept[name.casefold()]] for value, name in canon.items()}
    return _of_codes(names, np.array([-1 if value is None else place[value] for value in values], dtype=np.int64))


def _of_numbers(cells: Cells, numbers: NDArray[np.int64], order: Sequence[str]) -> Labels:
    if cells.names and all(name.isdecimal() for name in cells.names) and numbers.max(initial=0) < len(cells.names):
        # Of folders named 1 to 7, say: the numbers are places among names that are numbers, and these are meant.
        numbers = np.array([-1, *map(int, cells.names)], dtype=np.int64)[np.maximum(numbers, -1) + 1]
    given = numbers[numbers >= 0]
    if not len(given):
        return _of_codes(meaning(order) or _names_in(cells) or EIGHT, numbers)
    low, high, note = int(given.min()), int(given.max()), ""
    if cells.like in ORDERS and not order:
        names, what = ORDERS[cells.like], cells.like
        note = f"{cells.place} has the columns of {cells.like}: its labels are taken as its ({_counted(names, 0)})"
    elif cells.names and not all(name.isdecimal() for name in cells.names):
        names, what = _names_in(cells), cells.like or "the names in the file"
        said = meaning(order)
        if cells.like and (said != names[: len(said)] or {*range(len({*names} - {NONE}))} - {*given.tolist()}):
            other = ", not as --order says" if order else ""
            counted = _counted([name for name in names if name], 0)
            note = f"{cells.place} has the columns of {cells.like}: its labels are taken as its{other} ({counted})"
    elif order:
        names, what = meaning(order), " ".join(order)
        if order == ("rafdb",) and high == len(names) and low >= 1:  # as RAF-DB's own list counts
            names = (NONE, *names)
        elif order == ("rafdb",) and low >= 1:
            note = (
                f"{cells.place}: its labels {low} to {high} are taken as those of copies of RAF-DB that count from 0 "
                f"({_counted(names, 0)}); if they count from 1, as its own do: --order none {' '.join(names)}"
            )
        elif order[0].startswith("affectnet"):  # none, uncertain, no face
            names = (*names, *(NONE,) * (11 - len(names)))
    else:
        names, what = EIGHT, "ferplus"
        if (low, high) == (1, len(EIGHT) - 1):
            raise UsageError(
                f"{cells.place}: the labels are numbers from 1 to 7. RAF-DB counts so (--order rafdb: "
                f"{_counted(ORDERS['rafdb'], 1)}); in FER+'s order no face would be neutral (--order ferplus: "
                f"{_counted(EIGHT, 0)})"
            )
        counted_on = low <= 1 and len(np.unique(given)) == high - low + 1  # as classes of one's own are
        if cells.bare_from == NEVER or (high < cells.bare_from and counted_on):
            raise UsageError(f"{cells.place}: the labels are numbers from {low} to {high}; {ORDER_HELP}")
        if high < len(EIGHT):
            used = _counted(EIGHT[: high + 1], 0)
            note = f"{cells.place}: what its labels {low} to {high} mean is not said; taken as FER+'s ({used})"
    if high == len([name for name in names if name]) and low == 1 and order and not cells.names and names[0]:
        raise UsageError(
            f"{cells.place}: the labels are numbers from 1 to {high}, and {what} counts from 0: subtract 1 from the "
            "labels, or write the classes' names in their place"
        )
    if high >= len(names):
        row = int(np.flatnonzero(numbers == high)[0])
        hint = "" if cells.names or order else f": {ORDER_HELP}"
        if order == ("rafdb",):
            hint = f" (its own list counts from 1 to {len(names)}); here they are from {low} to {high}"
        if cells.like:
            hint = f". If they mean something else, call their column label, and {ORDER_HELP}"
        raise UsageError(f"{cells.at(row)}: labels of {what} are 0 to {len(names) - 1}, not {high}{hint}")
    return _of_codes(names, numbers, note)


def _of_lists(cells: Cells, rows: Sequence[Sequence[Any] | None], order: Sequence[str]) -> Labels:
    if any(isinstance(one, str) for row in rows if row for one in row):
        return _of_tables(cells, [None if row is None else dict.fromkeys(map(str, row), 1.0) for row in rows])
    lengths = {len(row) for row in rows if row}
    names = _names_in(cells) or meaning(order)
    if cells.several and not _are_shares(rows, len(names)):
        return _of_several(cells, rows, names)
    note = ""
    if len(lengths) > 1:
        raise UsageError(f"{cells.place}: the lists in its label column differ in length, from {min(lengths)} to "
                         f"{max(lengths)}: shares of all classes are as many in each row")  # fmt: skip
    count = lengths.pop() if lengths else len(names)
    if not names and count in (7, 8):
        names = label_set(count)
        note = f"{cells.place}: whose shares its lists hold is not said; taken as FER+'s ({_counted(names, 0)})"
    if len(names) != count:
        what = f"the names are {len(names)}" if names else "their names are not said"
        raise UsageError(f"{cells.place}: the labels are lists of {count} shares, and {what}; {ORDER_HELP}")
    full = np.array([row or [0.0] * count for row in rows], dtype=np.float64).reshape(len(rows), count)
    return _of_shares(cells, names, full, note)


def _are_shares(rows: Sequence[Sequence[Any] | None], classes: int) -> bool:
    """Return whether lists that should hold numbers of classes hold 0 or 1 for each class instead (one-hot)."""
    return classes > 1 and all(len(row) == classes and {*row} <= {0, 1} for row in rows if row)


def _of_several(cells: Cells, rows: Sequence[Sequence[Any] | None], names: tuple[str, ...]) -> Labels:
    """Return labels of lists with the numbers of classes, which share the row; -1 stands for none."""
    if not names:
        raise UsageError(f"{cells.place}: the labels are lists of classes; {ORDER_HELP}")
    for place, row in enumerate(rows):
        for one in row or ():
            if one is None or not -1 <= one < len(names):
                said = f"labels of the names in the file are 0 to {len(names) - 1}, not {one}"
                raise UsageError(f"{cells.at(place)}: {said}")
    return _of_tables(cells, [{names[int(one)]: 1.0 for one in row or () if one >= 0} for row in rows], names)


def _of_tables(cells: Cells, rows: Sequence[Mapping[str, Any] | None], names: Sequence[str] = ()) -> Labels:
    """Return labels of rows that map names to shares."""
    canon = _all_canonical([*names, *(name for row in rows if row for name in row)])
    every = in_our_order([*names, *sorted(canon.values())])
    _check_shares(len(rows), len(every))
    full = np.zeros((len(rows), len(every)))
    for place, row in enumerate(rows):
        for name, share in (row or {}).items():
            full[place, every.index(canon[name])] += 0 if share is None else float(share)
    return _of_shares(cells, every, full)


def _of_shares(cells: Cells, names: tuple[str, ...], full: NDArray[np.float64], note: str = "") -> Labels:
    if not names:
        raise UsageError(f"{cells.place}: the lists or tables in its label column name no class")
    full = np.where(np.isnan(full), 0.0, full)
    if (wrong := (full < 0) | np.isinf(full)).any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        raise UsageError(f"{cells.at(row)}: shares are 0 or more, not {full[row][wrong[row]][0]:g}")
    total = full.sum(axis=1, keepdims=True)
    shares = (full / np.where(total > 0, total, 1)).astype(np.float32)
    codes = np.where(total[:, 0] > 0, full.argmax(axis=1), -1)
    labels = _of_codes(names, codes, note)
    labels.shares = shares * (labels.codes >= 0)[:, None].astype(np.float32)
    return labels


def is_no_class(name: str) -> bool:
    """Return whether a name among emotions stands for none of them."""
    return _words(name) in NO_CLASS


def _words(name: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", name.casefold()))


def _counted(names: Sequence[str], first: int) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names, first))

"""Labels in one column for each class: one-hot, or shares that add up to 1."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from pfvit.data.label_cells import NULLS, TRUTH, Cells, point
from pfvit.data.labels import canonical, is_no_class
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError

#: What a row's shares may add up to, and how far rounding may take each of them from what it was.
WHOLES, ROUNDING = (1.0, 100.0), 0.005
GIVEN = "write 1 or 0, or shares that add up to 1, or the name of each row's class into a column called label"


def class_columns(names: Sequence[str], order: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of a table that stand for a class each; none if they are fewer than two.

    They are those that name emotions, and those that `--order` names if all of them are there. Columns like `unknown`
    beside them hold the share of no emotion.
    """
    ours = {name: canonical(name).casefold() for name in names}
    wanted = {canonical(name).casefold() for name in order} if len(order) > 1 else set()
    if not wanted <= {*ours.values()}:
        wanted = set()
    classes = {name for name in names if ours[name] in wanted or ours[name] in EIGHT}
    if len({ours[name] for name in classes}) < 2:
        return ()
    return tuple(name for name in names if name in classes or is_no_class(name))


def class_cells(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    place: str,
    further: Callable[[], Mapping[str, Sequence[Any]]],
    order: Sequence[str] = (),
    called: Sequence[str] = (),
) -> Cells:
    """Return the cells of class columns, [rows][columns], as one column of shares; rows of zeros have no label.

    UsageError if a row does not add up to 1 (or, all of them, to 100), and if one of the `further` columns may hold the
    class of the rows that have none here, unless `--order` names the classes. `called` are the rows' names, for
    messages.
    """
    cells = Cells((), place, tuple(columns), rows=called)
    known: dict[str, str] = {}
    for name in columns:
        if (ours := canonical(name).casefold()) in known:
            raise UsageError(f"{place}: its columns {known[ours]} and {name} mean one class: leave one of them out")
        known[ours] = name
    shares = np.zeros((len(rows), len(columns)))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if (share := share_in(cell)) is None:
                raise UsageError(f"{cells.at(number)}: its column {columns[column]} holds {cell!r}: {GIVEN}")
            shares[number, column] = share
    total = shares.sum(axis=1)
    labelled = total > 0
    within = [np.abs(total - whole) <= ROUNDING * whole * len(columns) for whole in WHOLES]
    if not any(fits[labelled].all() for fits in within):
        number = int(np.flatnonzero(labelled & ~within[0])[0])
        shown = ", ".join(columns)
        raise UsageError(f"{cells.at(number)}: its columns {shown} add up to {total[number]:g}, not 1: {GIVEN}")
    chosen = len(order) > 1 and {canonical(name).casefold() for name in order} <= {*known}
    if not labelled.all() and not chosen and (other := _class_besides(labelled, further())):
        raise UsageError(
            f"{place}: rows with 0 in all of its columns {', '.join(columns)} have 1 in {other}: if that is a class "
            "too, name the classes' columns with --order; else leave it out, or empty the cells of rows without a label"
        )
    note = f"{place}: labels are the shares in its columns {', '.join(columns)}"
    values = [row if any(row) else None for row in shares.tolist()]
    return Cells(values, place, tuple(columns), note=note, rows=called)


def share_in(cell: Any) -> float | None:
    """Return the share that a cell holds, 0 if it is empty; None if it holds none."""
    if isinstance(cell, str):
        text = cell.strip().casefold()
        if text in NULLS:
            return 0.0
        try:
            cell = TRUTH[text] if text in TRUTH else float(point(text))
        except ValueError:
            return None
    if cell is None or cell != cell:  # NaN differs from itself
        return 0.0
    if isinstance(cell, bool | int | float | Decimal) and 0 <= cell < math.inf:
        return float(cell)
    return None


def _class_besides(labelled: np.ndarray, further: Mapping[str, Sequence[Any]]) -> str:
    """Return a column that is 0 in each labelled row and 1 or a share in some others; "" if there is none."""
    for name, cells in further.items():
        shares = [share_in(cell) for cell in cells]
        if any(share is None or share > 1 for share in shares):
            continue
        held = np.array(shares, dtype=float) > 0
        if held.any() and not (held & labelled).any():
            return name
    return ""

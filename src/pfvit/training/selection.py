"""Which checkpoint of a run is the best by a figure of its validations, and whether it is time to stop early."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pfvit.errors import UsageError

PREFIX = "validation_"
#: Figures that are better the lower they are.
LOWER = ("loss", "reconstruction")


class Selection:
    """The best value of a figure so far; the same after a resumed run as after one that never stopped."""

    def __init__(self, figure: str = "", patience: int | None = None):
        """`figure` is its name in the log, with or without `validation_`; "" chooses nothing."""
        self.figure, self.patience = figure.removeprefix(PREFIX), patience
        self.value: float | None = None
        self.step = 0
        """Steps that were done when it was reached; 0 before there is one."""
        self.since = 0
        """Validations since then."""

    def note(self, step: int, figures: Mapping[str, float]) -> bool:
        """Take the figures of a validation after `step` steps, and return whether they are the best so far.

        UsageError if the figure is not among them, as the recall of a class that no face shows.
        """
        if not self.figure:
            return False
        if f"{PREFIX}{self.figure}" not in figures:
            check(self.figure, [name.removeprefix(PREFIX) for name in figures])
        value = figures[f"{PREFIX}{self.figure}"]
        sign = -1 if self.figure in LOWER else 1
        if not math.isfinite(value) or (self.value is not None and sign * value <= sign * self.value):
            self.since += 1
            return False
        self.value, self.step, self.since = value, step, 0
        return True

    @property
    def exhausted(self) -> bool:
        """Whether so many validations as `patience` have passed without a better figure."""
        return self.patience is not None and self.since >= self.patience

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return {"figure": self.figure, "value": self.value, "step": self.step, "since": self.since}

    def restore(self, record: Mapping[str, Any] | None) -> None:
        """Go on from what a checkpoint kept; one that chose by another figure, or by none, says nothing."""
        if record and record["figure"] == self.figure:
            self.value, self.step, self.since = record["value"], record["step"], record["since"]


def check(figure: str, names: Sequence[str]) -> None:
    """Raise UsageError for a figure that validation does not give."""
    if figure.removeprefix(PREFIX) not in names:
        raise UsageError(f"--best {figure}: validation gives {', '.join(names)}")

"""Labelled faces from Parquet files for measuring: decoded as any picture is, one truth each, without torch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pfvit.data import images, parquet
from pfvit.data.images import Pixels
from pfvit.data.labels import agreed
from pfvit.emotions import EIGHT, FERPLUS_VOTES, ORDERS
from pfvit.errors import InputError, UsageError
from pfvit.utils.console import say


@dataclass(frozen=True)
class Sample:
    """A labelled face."""

    image: Pixels
    truth: str
    votes: np.ndarray | None
    """float64 [8]: the annotators' distribution over EIGHT, or None."""
    agreed: bool = True
    """Whether the papers' protocol, `majority`, keeps the face (`labels.agreed`)."""


@dataclass
class Labelled:
    """Labelled faces of Parquet files, and why rows were left out.

    With `clean`, rows that are also in another split are; with `majority`, those on which annotators do not agree.
    """

    paths: Sequence[Path]
    names: Sequence[str]
    order: str
    clean: bool
    majority: bool = False
    leaked: int = 0
    unlabelled: int = 0
    unreadable: int = 0
    disputed: int = 0
    """Left out by `majority`."""
    classes: set[str] = field(default_factory=set)
    """The emotions that the data distinguish."""

    def __iter__(self) -> Iterator[Sample]:
        for path in self.paths:
            try:
                yield from self._rows(path)
            except UsageError:
                raise
            except InputError as problem:
                self._fail(problem)

    def _rows(self, path: Path) -> Iterator[Sample]:
        there = parquet.column_names(path)
        if "image" not in there:
            raise UsageError(f"{path} has no image column, only {', '.join(there)}")
        voted = set(FERPLUS_VOTES) <= set(there)
        if not voted and "label" not in there:
            raise UsageError(f"{path} has neither the ten FER+ vote columns nor a label column")
        if self.majority and not voted:
            raise UsageError(f"{path} has one label for each face: --protocol majority needs the ten FER+ vote columns")
        own = parquet.emotions_of(path)
        if own is not None and self.order != "ferplus":
            raise UsageError(f"{path} has its labels in our order already: leave --order {self.order} out")
        self.classes |= set(own or (EIGHT if voted else ORDERS[self.order]))
        wanted = ["image", *(FERPLUS_VOTES if voted else ("label",)), *(c for c in ("also_in",) if c in there)]
        for number, row in enumerate(parquet.rows(path, wanted)):
            if self.clean and row.get("also_in"):
                self.leaked += 1
                continue
            truth = self._majority(row) if voted else self._label(row["label"], f"{path}#{number}")
            if truth not in self.names:
                self.unlabelled += 1
                continue
            kept = not voted or bool(agreed(np.array([[row[name] or 0 for name in FERPLUS_VOTES]]))[0])
            if self.majority and not kept:
                self.disputed += 1
                continue
            try:
                image = images.decode_cell(row["image"], f"{path}#{number}")
            except InputError as problem:
                self._fail(problem)
                continue
            votes = np.array([row[name] for name in EIGHT], dtype=float) if voted else None
            yield Sample(image, truth, votes, kept)

    def _majority(self, row: dict[str, Any]) -> str:
        """Return the emotion with the most votes; with ties, the first column."""
        return max(FERPLUS_VOTES, key=lambda name: row[name] or 0)

    def _label(self, label: Any, place: str) -> str:
        order = ORDERS[self.order]
        if not isinstance(label, int) or not 0 <= label < len(order):
            raise UsageError(f"{place}: labels of {self.order} are 0 to {len(order) - 1}, not {label!r}")
        return order[label]

    def _fail(self, problem: InputError) -> None:
        self.unreadable += 1
        say(str(problem))


def batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Yield the samples so many at a time."""
    some: list[Sample] = []
    for sample in samples:
        some.append(sample)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some

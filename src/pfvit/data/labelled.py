"""Labelled faces for measuring: decoded as any picture is, one truth each, without torch."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfvit.data import images, labels, lists, locate, parquet
from pfvit.data.class_columns import class_cells, class_columns
from pfvit.data.columns import columns_of, first, is_elsewhere, picture_in, unlabelled
from pfvit.data.images import Pixels
from pfvit.data.labels import ALL_EMOTIONS, NEVER, Cells, Labels
from pfvit.data.locate import Found
from pfvit.data.votes import agreed, votes_of
from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.errors import InputError, UsageError
from pfvit.utils.console import say

Votes = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """A labelled face."""

    image: Pixels
    truth: str
    votes: np.ndarray | None
    """float64 [8]: the annotators' distribution over EIGHT, or None."""
    agreed: bool = True
    """Whether the papers' protocol, `majority`, keeps the face (`votes.agreed`)."""
    place: str = ""
    """Where it stands: file#row."""
    others: Mapping[str, str] = field(default_factory=dict)
    """What the other columns that were asked for say of it; empty text for nothing."""


@dataclass
class Labelled:
    """Labelled faces of some files, and why rows were left out.

    `paths` are Parquet files, class folders or lists, as `pfvit.data.locate` finds them; `names` are the classes that
    the reader of the faces knows (None: any), and `order` says what numbers mean where a file does not. With `clean`,
    rows that are also in another split are left out; with `majority`, those on which annotators do not agree.
    `columns` are further columns of tables to read.
    """

    paths: Sequence[Path | Found]
    names: Sequence[str] | None
    order: Sequence[str]
    clean: bool
    majority: bool = False
    columns: Sequence[str] = ()
    leaked: int = 0
    unlabelled: int = 0
    """Rows whose label is none of `names`: most annotators saw no emotion, say."""
    unknown: Counter[str] = field(default_factory=Counter)
    """The labels of these rows."""
    no_label: int = 0
    """Rows without any label."""
    unreadable: int = 0
    disputed: int = 0
    """Left out by `majority`."""
    classes: set[str] = field(default_factory=set)
    """The classes that the data distinguish."""

    def __post_init__(self) -> None:
        self.order = (self.order,) if isinstance(self.order, str) else self.order

    def __iter__(self) -> Iterator[Sample]:
        for path in self.paths:
            try:
                for found in [path] if isinstance(path, Found) else locate.locate(path):
                    yield from self._in_table(found) if found.kind == "parquet" else self._in_list(found)
            except UsageError:
                raise
            except InputError as problem:
                self._fail(problem)

    def _in_table(self, found: Found) -> Iterator[Sample]:
        path, mine = found.path, None if found.rows is None else set(found.rows)
        columns = columns_of(parquet.column_names(path), parquet.metadata_of(path), path)
        if columns.votes:
            rows = parquet.rows(path, columns.votes)
            votes = votes_of([[row[name] for name in FERPLUS_VOTES] for row in rows], path.name)
            read = self._voted(votes, columns.distinct or EIGHT)
        elif columns.label is None:
            read = self._read(self._class_cells(columns.others, path), path)
        else:
            values = [row[columns.label] for row in parquet.rows(path, [columns.label])]
            read = self._read(columns.cells(values, path.name), path)
        wanted = [columns.image, *([columns.also_in] if columns.also_in else [])]
        wanted += [name for name in self.columns if name not in wanted]
        for number, row in enumerate(parquet.rows(path, wanted)):
            if mine is not None and number not in mine:
                continue
            if self.clean and columns.also_in and is_elsewhere(row[columns.also_in]):
                self.leaked += 1
                continue
            if (truth := self._truth(read, number)) is None:
                continue
            try:
                place = f"{path}#{number}"
                image = _pixels(picture_in(row[columns.image], path.parent, place), place)
            except InputError as problem:
                self._fail(problem)
                continue
            others = {name: _text(row[name]) for name in self.columns}
            yield Sample(image, *truth, f"{path.name}#{number}", others)

    def _in_list(self, found: Found) -> Iterator[Sample]:
        listing = lists.listing_of(found.path, found.kind, found.part) if found.listing is None else found.listing
        column = lists.labels_of(listing, found.path, self.order)
        if column is None:
            raise UsageError(lists.without_labels(found.path, listing))
        read = self._read(column, found.path) if isinstance(column, Cells) else self._voted(column, EIGHT)
        leaked = lists.elsewhere(listing) if self.clean else None
        there = {name: first((name.casefold(),), listing.heading) for name in self.columns}
        others = {name: lists.column_of(listing, at) for name, at in there.items() if at is not None}
        for number, row in enumerate(listing.rows):
            if leaked is not None and leaked[number]:
                self.leaked += 1
                continue
            if (truth := self._truth(read, number)) is None:
                continue
            try:
                image = _pixels(lists.picture_of(row, found.path, row.name), row.name)
            except InputError as problem:
                self._fail(problem)
                continue
            said = {name: others[name][number] if name in others else None for name in self.columns}
            yield Sample(image, *truth, row.name, {name: _text(cell) for name, cell in said.items()})

    def _class_cells(self, names: Sequence[str], path: Path) -> Cells:
        """Return the columns of classes of a table without a label column; UsageError if there are none."""
        classes = class_columns(names, self.order)
        if not classes:
            raise UsageError(unlabelled(path, parquet.column_names(path)))

        def lists_of(wanted: Sequence[str]) -> dict[str, list[object]]:
            rows = list(parquet.rows(path, wanted)) if wanted else []
            return {name: [row[name] for row in rows] for name in wanted}

        shares = list(zip(*lists_of(classes).values(), strict=True))
        further = [name for name in names if name not in classes]
        return class_cells(classes, shares, path.name, lambda: lists_of(further), self.order)

    def _voted(self, votes: Votes, distinct: Sequence[str]) -> Votes:
        self.classes |= set(distinct)
        return votes

    def _read(self, cells: Cells, path: Path) -> Labels:
        if self.majority:
            raise UsageError(f"{path} has one label for each face: --protocol majority needs the ten FER+ vote columns")
        if self.names is None or not {*self.names} <= {*EIGHT}:  # classes of one's own: numbers may mean anything
            cells = replace(cells, bare_from=max(cells.bare_from, ALL_EMOTIONS if self.names is None else NEVER))
        read = labels.read(cells, self.order).called_as(self.names or ())
        if read.note:
            say(read.note)
        self.classes |= set(cells.distinct or read.names) - {""}
        return read

    def _truth(self, read: Labels | Votes, number: int) -> tuple[str, np.ndarray | None, bool] | None:
        """Return a row's class, shares, and whether annotators agree; None, counted, if it does not take part."""
        if isinstance(read, Labels):
            name = self._class(read, number)
            return None if name is None else (name, _shares(read, number), True)
        if (name := self._majority(read[number])) is None:
            return None
        kept = bool(agreed(read[number : number + 1])[0])
        if self.majority and not kept:
            self.disputed += 1
            return None
        return name, read[number, : len(EIGHT)], kept

    def _majority(self, votes: np.ndarray) -> str | None:
        """Return the emotion with the most votes, with ties the first column; None, counted, if it is none we know."""
        if not votes.any():
            self.no_label += 1
            return None
        return self._known(FERPLUS_VOTES[votes.argmax()], EIGHT)

    def _class(self, read: Labels, number: int) -> str | None:
        """Return a row's class; None, counted, if it has none that we know."""
        code = read.codes[number]
        if code < 0:
            self.no_label += 1
            return None
        return self._known(read.names[code])

    def _known(self, name: str, every: Sequence[str] | None = None) -> str | None:
        names = every if self.names is None else self.names
        if names is None or name in names:
            return name
        self.unlabelled += 1
        self.unknown[name] += 1
        return None

    def left_out(self) -> dict[str, int]:
        """Return how many rows are left out, by reason; `no_label` only where there are such rows."""
        left = {"leaked": self.leaked, "no_emotion": self.unlabelled, "unreadable": self.unreadable}
        return left | ({"no_label": self.no_label} if self.no_label else {})

    def notes(self) -> list[str]:
        """Return which classes only the data, or only the reader of the faces, tell apart, as the figures hide it."""
        never = [name for name in self.names or () if name not in self.classes]
        others = [f"{count:,} of {name}" for name, count in self.unknown.most_common() if name not in FERPLUS_VOTES[8:]]
        return [
            *([f"never counted as an answer, as the data do not distinguish it: {', '.join(never)}"] if never else []),
            *([f"left out, as the weights do not know it: {', '.join(others)}"] if others else []),
        ]

    def _fail(self, problem: InputError) -> None:
        self.unreadable += 1
        say(str(problem))


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _pixels(picture: bytes | Pixels, name: str) -> Pixels:
    return images.decode(picture, name) if isinstance(picture, bytes) else picture


def _shares(read: Labels, number: int) -> np.ndarray | None:
    """Return a row's shares of the eight emotions, if the file says them and knows no other classes."""
    if read.shares is None or not set(read.names) <= set(EIGHT):
        return None
    return labels.moved(read.shares[number : number + 1], read.names, EIGHT)[0].astype(float)


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

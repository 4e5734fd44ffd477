"""Which rows of the data take part, with their targets; every row that is left out is counted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfvit.data import images, labels, locate
from pfvit.data.columns import is_elsewhere
from pfvit.data.decode import JPEG, PNG
from pfvit.data.images import Pixels
from pfvit.data.label_schemes import scheme_targets
from pfvit.data.labels import NO_EMOTION, NO_LABEL, Cells, Labels, Shares
from pfvit.data.tables import GROUPS_MIXED, Table, open_table
from pfvit.data.votes import vote_targets
from pfvit.emotions import EIGHT
from pfvit.errors import InputError, PictureError, UsageError

ALSO_IN, NO_PICTURE, DAMAGED = "that are in another part too", "without a picture", "whose picture is damaged"
OUTSIDE, UNDECIDED = "of other classes", "whose votes the label scheme discards"
#: Pictures are looked at before the first step, for damage and repetition, if all of them are no more bytes than this.
LOOKED_AT = 1 << 30
ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82"}
SHOWN = 3  # damaged pictures that are named
#: PNG files of up to so many bytes are compared by their pixels, since sets of small faces (FER2013) are passed on as
#: numbers and as PNG files of several writers. Decoding larger ones would take too long before the first step.
COMPARED_BY_PIXELS = 1 << 14


@dataclass(frozen=True)
class RowGroup:
    """The rows of one group of a table that take part, without a Python object for each."""

    table: Table
    index: int
    rows: range | NDArray[np.uint32]
    targets: Shares
    """float32 [rows of the group, classes], for all rows of the group; [rows of the group, 0] without labels."""

    @property
    def path(self) -> Path:
        """The file or folder that holds them."""
        return self.table.path


class FaceIndex:
    """The rows of some paths that take part, in groups.

    `wanted` are the parts to take of folders (`pfvit.data.locate`), `classes` the names to learn, or how many, or what
    the data tell apart. `clean` leaves out rows whose pixels are also in another part. Targets are the shares of the
    votes, with `hard` the majority, with `scheme` one of `label_schemes.SCHEMES`; `order` says what numbers mean.
    InputError for files that cannot be read or hold nothing to learn from.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        classes: Sequence[str] | int | None,
        labelled: bool,
        hard: bool,
        order: Sequence[str],
        clean: bool,
        scheme: str | None,
        wanted: Sequence[str],
        what: str,
    ):
        chosen = locate.choose(paths, wanted, what)
        self.notes, self.left_out, self.what = chosen.notes, Counter[str](), what
        self.tables = [open_table(found) for found in chosen.found]
        read = [self._labels(table, order, _bare_from(classes)) for table in self.tables] if labelled else []
        if not labelled:
            self.classes: tuple[str, ...] = ()
        elif isinstance(classes, int | None):
            self.classes = labels.classes_of([names for _, names in read], classes, what)
        else:
            self.classes = tuple(classes)
        self.groups: list[RowGroup] = []
        self.damaged: list[str] = []
        self.digests: dict[bytes, int] | None = None
        self.first_labels: dict[bytes, int] = {}
        self.contradicted = 0
        if sum(table.size_in_bytes() for table in self.tables) <= LOOKED_AT:
            self.digests = {}
        for place, table in enumerate(self.tables):
            targets = self._targets(read[place][0], hard, scheme) if labelled else None
            self._add(table, targets, clean)
        if not self.groups:
            raise InputError(f"no usable rows in {', '.join(map(str, paths))}{self._why()}")
        if len(self.damaged) > SHOWN:
            self.damaged[SHOWN:] = [f"and {len(self.damaged) - SHOWN} more"]
        self.notes += self.damaged

    def _labels(
        self, table: Table, order: Sequence[str], bare_from: int
    ) -> tuple[Labels | NDArray[np.number], Sequence[str]]:
        """Return a table's labels or votes, and the classes that it tells apart."""
        column = table.labels(order)
        if not isinstance(column, Cells):
            return column, EIGHT
        read = labels.read(replace(column, bare_from=max(bare_from, column.bare_from)), order)
        self.notes += [read.note] if read.note else []
        return read, column.distinct or read.names

    def _targets(self, read: Labels | NDArray[np.number], hard: bool, scheme: str | None) -> Shares:
        """Return the target of each row; 0 for those that are left out, which are counted."""
        if isinstance(read, Labels):
            if scheme and read.shares is not None:
                raise UsageError(f"--labels {scheme} needs FER+'s ten vote columns, and {self.what} has shares")
            targets = read.called_as(self.classes).targets(self.classes, hard)
            self.left_out += read.missing
            known = read.codes >= 0
        else:
            targets = self._vote_targets(read, hard, scheme)
            voted = read.sum(axis=1) > 0
            emotion = read.argmax(axis=1) < len(EIGHT)
            self.left_out += Counter({NO_LABEL: int((~voted).sum()), NO_EMOTION: int((voted & ~emotion).sum())})
            known = voted & emotion
        self.left_out[UNDECIDED if scheme else OUTSIDE] += int((known & (targets.sum(axis=1) == 0)).sum())
        return targets

    def _vote_targets(self, votes: NDArray[np.number], hard: bool, scheme: str | None) -> Shares:
        """Return targets from votes: over the classic seven or eight directly, over others by way of the eight."""
        ours = self.classes == EIGHT[: len(self.classes)] and len(self.classes) in (7, 8)
        count = len(self.classes) if ours else len(EIGHT)
        targets = vote_targets(votes, count, hard) if scheme is None else scheme_targets(votes, count, scheme)
        return targets if ours else labels.moved(targets, EIGHT, self.classes)

    def _add(self, table: Table, targets: Shares | None, clean: bool) -> None:
        """Add the rows of a table that take part."""
        count = sum(table.sizes)
        keep = table.of_part()
        if targets is not None:
            keep &= targets.sum(axis=1) > 0
        also_in = table.column("also_in") if clean else None
        if also_in is not None:
            self._leave_out(keep, np.array([is_elsewhere(other) for other in also_in], dtype=bool), ALSO_IN)
        self._leave_out(keep, table.without_picture(), NO_PICTURE)
        if count and NO_PICTURE in self.left_out and not keep.any():
            try:
                table.picture(0, 0)
            except PictureError as problem:
                raise InputError(f"no picture of {table.path} is there: {problem}") from problem
        if self.digests is not None:
            self._leave_out(keep, self._look(table, keep, self.digests, targets), DAMAGED)
        empty = np.zeros((count, 0), np.float32)
        first = 0
        for index, size in enumerate(table.sizes):
            kept = keep[first : first + size]
            rows = range(size) if kept.all() else np.flatnonzero(kept).astype(np.uint32)
            if len(rows):
                own = (empty if targets is None else targets)[first : first + size]
                self.groups.append(RowGroup(table, index, rows, own))
            first += size

    def _leave_out(self, keep: NDArray[np.bool_], rows: NDArray[np.bool_], why: str) -> None:
        self.left_out[why] += int((keep & rows).sum())
        keep &= ~rows
        self.left_out = +self.left_out

    def _look(
        self, table: Table, keep: NDArray[np.bool_], digests: dict[bytes, int], targets: Shares | None
    ) -> NDArray[np.bool_]:
        """Return which pictures are damaged; count those that are whole by digest, and those with several labels."""
        damaged = np.zeros(len(keep), dtype=bool)
        likeliest = damaged if targets is None else targets.argmax(axis=1)
        for place, (group, row) in enumerate(_places(table)):
            if not keep[place]:
                continue
            try:
                picture = table.picture(group, row)
                if isinstance(picture, bytes) and (_is_small_png(picture) or not _is_whole(picture)):
                    pixels = images.decode(picture, table.name(group, row))
                    picture = pixels if _is_small_png(picture) else picture
                digest = digest_of(picture)
                digests[digest] = digests.get(digest, 0) + 1
                label = int(likeliest[place])
                self.contradicted += self.first_labels.setdefault(digest, label) != label
            except PictureError as problem:
                damaged[place] = True
                self.damaged.append(str(problem))
        return damaged

    def _why(self) -> str:
        told = [text for text in (self.left_out_text(), *self.damaged[:1]) if text]
        return f": {'; '.join(told)}" if told else ""

    def left_out_text(self) -> str:
        """Return how many rows are left out, and why; "" if none is."""
        every = [f"{count:,} {why}" for why, count in self.left_out.items() if count]
        return f"left out: {', '.join(every)}" if every else ""

    def counts(self) -> NDArray[np.int64]:
        """Return how many rows show each class."""
        likeliest = [group.targets[np.asarray(group.rows)].argmax(axis=1) for group in self.groups]
        return np.bincount(np.concatenate(likeliest), minlength=len(self.classes))

    def shown(self) -> list[str]:
        """Return the classes that any row shows, be it with a small share."""
        some = np.any([group.targets[np.asarray(group.rows)].any(axis=0) for group in self.groups], axis=0)
        return [name for name, any_row in zip(self.classes, some, strict=True) if any_row]

    def lines(self) -> Iterator[str]:
        """Yield what a person should know before the first step."""
        yield from self.notes
        rows = sum(len(group.rows) for group in self.groups)
        told = [f"{self.what}: {rows:,} faces"]
        if self.classes:
            counts = dict(zip(self.classes, self.counts().tolist(), strict=True))
            told.append(", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
            if lacking := [name for name, count in counts.items() if not count]:
                told.append(f"none shows {', '.join(lacking)}")
        told += [text] if (text := self.left_out_text()) else []
        if self.digests is not None and (again := sum(count - 1 for count in self.digests.values())):
            other = f", {self.contradicted:,} of them with another label" if self.contradicted else ""
            told.append(f"{again:,} are there more than once{other}")
        yield "; ".join(told)

    def is_sorted(self) -> bool:
        """Return whether the files are sorted by class: at least half of the faces are in row groups of one class.

        Those that chance alone would put there do not count, nor do files that are mixed as a whole all the same.
        """
        if not self.classes or len(self.groups) <= GROUPS_MIXED:
            return False
        counts, alone = self.counts(), 0.0
        shares = counts / counts.sum()
        for group in self.groups:
            seen = group.targets[np.asarray(group.rows)].argmax(axis=1)
            alone += len(seen) * (float((seen == seen[0]).all()) - float((shares ** len(seen)).sum()))
        return alone >= counts.sum() / 2

    def shared_with(self, other: "FaceIndex") -> int:
        """Return how many pictures of another index are in this one too (`digest_of`); 0 if nobody looked."""
        if self.digests is None or other.digests is None:
            return 0
        return sum(count for digest, count in other.digests.items() if digest in self.digests)

    def content(self) -> str:
        """Return a digest of the rows and targets that take part, which is the same wherever the files lie."""
        digest = blake2b(repr(self.classes).encode(), digest_size=16)
        for table in self.tables:
            digest.update(table.content())
        for group in self.groups:
            rows = np.asarray(group.rows, dtype=np.uint32)
            digest.update(rows.tobytes() + group.targets[rows].tobytes())
        return digest.hexdigest()


def _bare_from(classes: Sequence[str] | int | None) -> int:
    """Return from where on numbers that nothing explains are taken as FER+'s, given the classes that are asked for."""
    if isinstance(classes, int | None):
        return 0 if classes in (7, 8) else labels.ALL_EMOTIONS
    return 0 if {*classes} <= {*EIGHT} else labels.NEVER


def digest_of(picture: bytes | Pixels) -> bytes:
    """Return a digest of a picture's file, or of its pixels and their size."""
    if isinstance(picture, bytes):
        return blake2b(picture, digest_size=8).digest()
    return blake2b(repr(picture.shape).encode() + picture.tobytes(), digest_size=8).digest()


def _is_small_png(picture: bytes) -> bool:
    return picture.startswith(PNG) and len(picture) <= COMPARED_BY_PIXELS


def _is_whole(picture: bytes) -> bool:
    """Return whether a JPEG or PNG file begins and ends as it should, which says nothing of what is between."""
    return any(picture.startswith(start) and end in picture[-16:] for start, end in ENDS.items())


def _places(table: Table) -> Iterator[tuple[int, int]]:
    for group, size in enumerate(table.sizes):
        for row in range(size):
            yield group, row

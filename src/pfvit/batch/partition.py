"""Many pictures cut into partitions, each small enough to be lost: what `pfvit batch` hands out and resumes by.

A partition is a run of rows of one Parquet file, or some picture files. Which there are depends on the inputs alone, so
one that is done stays done whoever goes on, and however many work.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pfvit.batch.row_groups import LONGEST, RowGroups, UnreadableError
from pfvit.data import formats
from pfvit.data.filesystem import Place, place
from pfvit.data.parquet import FEW_ROWS, cell_value
from pfvit.data.pictures import Item
from pfvit.data.sources import STANDARD_INPUT, Missing, find, row_item
from pfvit.errors import PictureError
from pfvit.utils.text import utf8

#: Most pictures of a partition, which is what a crash may lose; fewer, so that each process gets a few partitions, but
#: not so few that writing them takes longer than reading.
MOST_ROWS, LEAST_ROWS, PARTS_EACH = 2000, 25, 4


class Partition(NamedTuple):
    """Some pictures; it crosses to other processes and machines, so it holds names, not pictures."""

    number: int
    file: str
    """A Parquet file, or "" for picture files."""
    start: int
    stop: int
    """Its rows, from `start` up to but not including `stop`."""
    names: tuple[str, ...] = ()
    """The picture files."""
    problem: str = ""
    """Why an input cannot be read at all; then there is nothing else."""

    @property
    def rows(self) -> int:
        """How many pictures it has."""
        return self.stop - self.start


class Row(NamedTuple):
    """Where a picture of a partition stands."""

    file: str
    """A Parquet file, or the picture's own."""
    row: int


class Plan(NamedTuple):
    """What is to be read."""

    partitions: list[Partition]
    fingerprint: str
    """Of the inputs' names and sizes: equal for the same inputs."""
    rows: int
    """Most rows of a partition."""
    notes: list[str]
    """What a person should know of files that were left out and are no failure."""


class Run(NamedTuple):
    """Inputs that follow each other and are split alike: a Parquet file's rows, some picture files, or a problem."""

    file: str
    count: int
    names: tuple[str, ...] = ()
    problem: str = ""


def partition(paths: Sequence[str], rows: int | None, out: Place | None = None, processes: int = 1) -> Plan:
    """Return the partitions that paths and URLs stand for, of at most `rows` rows.

    If `rows` is None it is MOST_ROWS, or fewer where so many processes would not all have some partitions. Folders are
    searched for Parquet files and pictures, as `pfvit predict` does it, but not the folder `out` that this run writes
    to. Opens each Parquet file's footer.
    """
    leave_out = [Path(out.path)] if out is not None and out.local else []
    notes: list[str] = []
    runs: list[Run] = []
    seen, groups = hashlib.sha256(), RowGroups()
    for path in paths:
        loose: list[str] = []
        for name, size, problem in _files(path, leave_out, notes):
            seen.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            count = 0
            if not problem and name.lower().endswith(".parquet"):
                count, problem = _count(groups, name)
            elif not problem:
                loose.append(name)
                continue
            runs.append(Run("", len(loose), tuple(loose)))
            loose = []
            runs.append(Run(name, 1 if problem else count, problem=problem))
        runs.append(Run("", len(loose), tuple(loose)))
    groups.close()
    if rows is None:
        total = sum(run.count for run in runs)
        rows = min(MOST_ROWS, max(LEAST_ROWS, math.ceil(total / (processes * PARTS_EACH))))
    return Plan(_split(runs, rows), seen.hexdigest()[:16], rows, notes)


def _split(runs: Sequence[Run], rows: int) -> list[Partition]:
    parts: list[Partition] = []
    for file, count, names, problem in runs:
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            some = names[start:stop]
            where = (0, len(some)) if names else (start, stop)
            parts.append(Partition(len(parts), file, *where, some, problem))
    return parts


class Pictures:
    """Gives the pictures of one part after the other. It stays where it is in a file, so parts should come in order."""

    def __init__(self) -> None:
        self.groups = RowGroups()
        self.file, self.at = "", 0
        self.starts: list[int] = []  # first rows of its row groups
        self.rows: Iterator[list[list[Any]]] = iter(())
        self.left: list[list[Any]] = []  # the next one last

    def of(self, part: Partition) -> Iterator[Item]:
        """Yield every picture of a part, exactly once and in order."""
        if part.problem:
            yield Item(utf8(part.file), PictureError(part.problem), key=Row(part.file, 0))
        elif not part.file:
            for name in part.names:
                yield Item(utf8(name), _content(name), name, Row(name, 0))
        else:
            yield from self._rows(part)

    def _rows(self, part: Partition) -> Iterator[Item]:
        """Yield the rows of a part; where a row group is damaged, its other rows with the error."""
        row = part.start
        while row < part.stop:
            end, why = part.stop, f"{part.file} is shorter than it was"
            try:
                for image, name in self._table(part.file, row, part.stop):
                    item = row_item(part.file, row, cell_value(image, f"{part.file}#{row}"), name)
                    yield item._replace(key=Row(part.file, row))
                    row += 1
            except UnreadableError as problem:
                end = min([start for start in self.starts if start > row], default=end)
                why = f"{part.file} cannot be read as Parquet from row {row} on: {problem}"
                self.file = ""
            for lost in range(row, min(end, part.stop)):
                yield Item(f"{part.file}#{lost}", PictureError(why), key=Row(part.file, lost))
            row = max(row, min(end, part.stop))

    def _table(self, file: str, start: int, stop: int) -> Iterator[list[Any]]:
        """Yield some rows of a file; what is decoded beyond them is kept for the next part."""
        group = bisect_right(self.starts, start)
        if self.file != file or self.at > start or bisect_right(self.starts, self.at) < group:
            self._open(file, start)
        while self.at < stop:
            if not self.left:
                some = next(self.rows, None)
                if some is None:
                    return
                self.left = some[::-1]
            cells = self.left.pop()
            self.at += 1
            if self.at > start:
                yield cells

    def _open(self, name: str, row: int) -> None:
        """Begin to read at the row group that holds a row."""
        self.file, self.starts, self.left = "", [], []
        sizes = self.groups.footer(name).sizes
        self.starts = list(accumulate(sizes, initial=0))[:-1]
        group = bisect_right(self.starts, row) - 1
        # One group at a time, as the rows of a damaged one would take those of its neighbours with them.
        self.rows = chain.from_iterable(self.groups.rows(name, one) for one in range(group, len(sizes)))
        self.file, self.at = name, self.starts[group]


def _content(name: str) -> Path | bytes | PictureError:
    """Return a file of this machine by its path, and the content of one elsewhere."""
    if "://" not in name:
        return Path(name)
    try:
        there = place(name)
        with there.files.open_input_stream(there.path) as stream:
            return stream.read()
    except Exception as problem:  # whatever a file system raises
        said = str(problem).partition("\n")[0][:LONGEST] or type(problem).__name__
        return PictureError(f"{name} cannot be opened: {said}")


def _count(groups: RowGroups, name: str) -> tuple[int, str]:
    """Return how many rows a Parquet file has, and what is wrong with it."""
    try:
        footer = groups.footer(name)
    except UnreadableError as problem:
        return 0, f"{name} cannot be read as Parquet: {problem}"
    if "image" not in footer.columns:
        return 0, f"{name} has no image column, only {', '.join(footer.columns)}"
    rows = sum(footer.sizes)
    if rows > max(FEW_ROWS, footer.bytes) or min(footer.sizes, default=0) < 0:
        return 0, f"{name} cannot be read as Parquet: it claims {rows:,} rows, more than it has bytes"
    return rows, ""


def _files(url: str, leave_out: Sequence[Path], notes: list[str]) -> Iterator[tuple[str, int, str]]:
    """Yield (name, bytes, problem) of each file that a path or URL stands for, sorted."""
    if "://" not in url:
        yield from _local(url, leave_out, notes)
        return
    from pyarrow.fs import FileSelector, FileType

    there = place(url)
    try:
        info = there.files.get_file_info(there.path)
        if info.type == FileType.File:
            yield url, info.size, ""
        elif info.type == FileType.NotFound:
            yield url, 0, f"{url} is not there, or cannot be reached"
        else:
            found = there.files.get_file_info(FileSelector(there.path, recursive=True))
            below = [(one.path, one.size) for one in found if one.type == FileType.File and _wanted(one.path, there)]
            for path, size in sorted(below):
                yield f"{url.rstrip('/')}{path[len(there.path) :]}", size, ""
            if not below:
                yield url, 0, f"{url} is a folder without pictures"
    except OSError as problem:
        yield url, 0, f"{url} cannot be looked at: {problem}"


def _local(path: str, leave_out: Sequence[Path], notes: list[str]) -> Iterator[tuple[str, int, str]]:
    if path == str(STANDARD_INPUT):
        yield path, 0, "a picture on standard input is read by `pfvit predict -`; pfvit batch takes files"
        return
    found = find([path], leave_out)
    notes.extend(found.notes)
    for file in sorted((file for file in found.files if isinstance(file, Path)), key=str):
        try:
            yield _called(file, path), file.stat().st_size, ""
        except OSError as problem:
            yield _called(file, path), 0, f"{file} cannot be looked at: {problem.strerror}"
    for missing in found.files:
        if isinstance(missing, Missing):
            yield missing.source, 0, str(missing.problem)


def _called(file: Path, path: str) -> str:
    """Return a file's name as it follows from the path that a person gave."""
    folder = Path(path)
    if file == folder or not file.is_relative_to(folder):
        return path if file == folder else str(file)
    return f"{path.rstrip('/')}/{file.relative_to(folder).as_posix()}"


def _wanted(path: str, folder: Place) -> bool:
    inside = PurePosixPath(path[len(folder.path) :].lstrip("/"))
    hidden = any(name.startswith(".") for name in inside.parts)
    return not hidden and inside.suffix.lower() in formats.PICTURES | formats.TABLES

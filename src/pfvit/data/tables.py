"""Rows of pictures that training reads in any order: Parquet files by row groups, folders and lists by hundreds."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pfvit.data import lists
from pfvit.data.class_columns import class_cells, class_columns
from pfvit.data.columns import columns_of, first, holds_picture, picture_in, unlabelled
from pfvit.data.formats import HEAD, mistaken_for
from pfvit.data.images import Pixels
from pfvit.data.labels import Cells
from pfvit.data.locate import Found
from pfvit.data.parts import are_parts
from pfvit.data.votes import votes_of
from pfvit.errors import InputError

#: Row groups whose rows are mixed with one another; more mix better and take more memory.
GROUPS_MIXED = 8
ROWS_PER_GROUP = 512  # of folders and lists
SAMPLE_BYTES = 1 << 16


class Table(ABC):
    """Rows of pictures in groups, with labels if they have any."""

    path: Path
    part: str
    sizes: Sequence[int]
    """Rows of each group."""

    @abstractmethod
    def labels(self, order: Sequence[str] = ()) -> Cells | NDArray[Any]:
        """Return the label column, or the ten votes [rows, 10]; InputError if there are none.

        `order` are the names of classes that may have a column each (`class_columns`).
        """

    @abstractmethod
    def column(self, kind: str) -> Sequence[Any] | None:
        """Return `also_in`, `person` or another column, one cell for each row; None if there is none."""

    def of_part(self) -> NDArray[np.bool_]:
        """Return which rows are in `part`."""
        return np.ones(sum(self.sizes), dtype=bool)

    @abstractmethod
    def without_picture(self) -> NDArray[np.bool_]:
        """Return which rows hold no picture, as far as that is known without decoding any."""

    @abstractmethod
    def picture(self, group: int, row: int) -> bytes | Pixels:
        """Return a row's picture: a file's bytes, or pixels; PictureError if it has none."""

    @abstractmethod
    def name(self, group: int, row: int) -> str:
        """Return what a row is called in messages."""

    @abstractmethod
    def picture_path(self, group: int, row: int) -> str:
        """Return where a row's picture lay, as far as the table says: folders and file."""

    @abstractmethod
    def content(self) -> bytes:
        """Return a digest that is the same for the same rows, wherever they lie; it does not read all of them."""

    @abstractmethod
    def size_in_bytes(self) -> int:
        """Return about how much reading all pictures takes."""


def open_table(found: Found) -> Table:
    """Open what was found; InputError if it cannot be read."""
    return ParquetTable(found) if found.kind == "parquet" else ListTable(found)


class ParquetTable(Table):
    """A Parquet file."""

    def __init__(self, found: Found):
        self.path, self.part, self.rows = found.path, found.part, found.rows
        try:
            schema, metadata, self.stamp = self.file.schema_arrow, self.file.metadata, stamp_of(self.path)
        except Exception as problem:
            with suppress(OSError), self.path.open("rb") as file:
                if why := mistaken_for("a Parquet file", file.read(HEAD)):
                    raise InputError(f"{self.path} {why}") from problem
            raise InputError(
                f"{self.path} cannot be read as Parquet: {_first_line(problem)}. If it is cut short, copy it again or "
                "write it anew"
            ) from problem
        self.columns = columns_of(schema.names, schema.metadata, self.path)
        self.sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    @property
    def file(self) -> pq.ParquetFile:
        """The file, opened: it is not kept, as workers that decode would share it."""
        return pq.ParquetFile(self.path)

    def labels(self, order: Sequence[str] = ()) -> Cells | NDArray[Any]:
        """Return the votes if the file has them, else its label column, or its columns of classes."""
        columns = self.columns
        if columns.votes:
            table = self._read(columns.votes)
            cells = [table[name] for name in columns.votes]
            if all(pa.types.is_integer(column.type) or pa.types.is_floating(column.type) for column in cells):
                return votes_of(np.stack([column.fill_null(0).to_numpy() for column in cells], axis=1), self.path.name)
            return votes_of(list(zip(*(column.to_pylist() for column in cells), strict=True)), self.path.name)
        if columns.label is None:
            classes = class_columns(columns.others, order)
            if not classes:
                raise InputError(unlabelled(self.path, self.file.schema_arrow.names))
            shares = list(zip(*self._lists(classes).values(), strict=True))
            further = [name for name in columns.others if name not in classes]
            return class_cells(classes, shares, self.path.name, lambda: self._lists(further), order)
        cells = self._read([columns.label])[columns.label]
        plain = pa.types.is_integer(cells.type) and not cells.null_count
        values = cells.to_numpy() if plain else cells.to_pylist()
        return columns.cells(values, self.path.name)

    def column(self, kind: str) -> Sequence[Any] | None:
        """Return a column as Python values."""
        if kind == "person":
            people = (self._read([name])[name].to_pylist() for name in self.columns.people)
            return next((cells for cells in people if not are_parts(cells)), None)
        names = self.file.schema_arrow.names
        name = self.columns.also_in if kind == "also_in" else kind if kind in names else None
        return None if name is None else self._read([name])[name].to_pylist()

    def _lists(self, names: Sequence[str]) -> dict[str, list[Any]]:
        table = self._read(names)
        return {name: table[name].to_pylist() for name in names}

    def of_part(self) -> NDArray[np.bool_]:
        """Return which rows a column of parts says to be in `part`."""
        there = np.full(sum(self.sizes), self.rows is None)
        there[list(self.rows or ())] = True
        return there

    def without_picture(self) -> NDArray[np.bool_]:
        """Return which cells are null and name no file that is there; groups that cannot have any are not read."""
        missing = np.zeros(sum(self.sizes), dtype=bool)
        first = 0
        for group, size in enumerate(self.sizes):
            if self._may_lack(group):
                cells = read_pictures(self.path, group, self.columns.image, self.stamp)
                for row in range(size):
                    missing[first + row] = not holds_picture(cells[row].as_py(), self.path.parent)
            first += size
        return missing

    def _may_lack(self, group: int) -> bool:
        """Return whether a group may have rows without bytes, by the file's statistics."""
        metadata, image = self.file.metadata.row_group(group), self.columns.image
        chunks = [metadata.column(index) for index in range(metadata.num_columns)]
        chunk = next((one for one in chunks if one.path_in_schema == f"{image}.bytes"), None)
        if chunk is None and pa.types.is_binary(self.file.schema_arrow.field(image).type):
            chunk = next((one for one in chunks if one.path_in_schema == image), None)
        statistics = None if chunk is None else chunk.statistics
        return statistics is None or not statistics.has_null_count or statistics.null_count > 0

    def picture(self, group: int, row: int) -> bytes | Pixels:
        """Return a row's picture."""
        cell = read_pictures(self.path, group, self.columns.image, self.stamp)[row].as_py()
        return cell if type(cell) is bytes else picture_in(cell, self.path.parent, self.name(group, row))

    def name(self, group: int, row: int) -> str:
        """Return file#group:row."""
        return f"{self.path.name}#{group}:{row}"

    def picture_path(self, group: int, row: int) -> str:
        """Return the path in the picture's cell, or in a column called name or path."""
        cell = read_pictures(self.path, group, self.columns.image, self.stamp, whole=True)[row].as_py()
        if isinstance(cell, dict) and cell.get("path"):
            return str(cell["path"])
        if isinstance(cell, str) and "/" in cell:
            return cell
        first = sum(self.sizes[:group])
        named = next((cells for name in ("name", "path", "file") if (cells := self._named(name)) is not None), None)
        return "" if named is None else str(named[first + row])

    @lru_cache(maxsize=4)  # noqa: B019 (a few tables, which live as long as their run)
    def _named(self, name: str) -> Sequence[Any] | None:
        return self.column(name)

    def content(self) -> bytes:
        """Return a digest of the file's end, which describes every column chunk, and of pieces of it."""
        size = self.path.stat().st_size
        digest = blake2b(str(size).encode(), digest_size=16)
        with self.path.open("rb") as file:
            for place in (*range(0, size, max(1, size // 8)), max(0, size - SAMPLE_BYTES)):
                file.seek(place)
                digest.update(file.read(SAMPLE_BYTES))
        return digest.digest()

    def size_in_bytes(self) -> int:
        """Return the size of the file."""
        return self.path.stat().st_size

    def _read(self, names: Sequence[str]) -> pa.Table:
        try:
            table = self.file.read(columns=list(names))
            table.validate(full=True)
            return table
        except Exception as problem:
            raise InputError(f"{self.path} cannot be read: {_first_line(problem)}") from problem


def stamp_of(path: Path) -> tuple[int, int]:
    """Return a file's size and the time of its last change, which tell whether it is still the same."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=2 * GROUPS_MIXED)
def read_pictures(path: Path, index: int, column: str, stamp: tuple[int, int], whole: bool = False) -> pa.Array:
    """Return the pictures of one row group; the last few groups are remembered.

    Of structs it is the bytes alone where all rows have them, unless they are wanted `whole`.
    InputError if the file cannot be read, or is no longer the one with this `stamp`.
    """
    try:
        if stamp_of(path) != stamp:
            raise OSError("it is not the file that was opened")
        read = pq.ParquetFile(path).read_row_group(index, columns=[column])[column]
        read.validate(full=True)  # places in a dictionary, which pyarrow does not check while it reads
        cells = read.combine_chunks()
    except Exception as problem:
        raise InputError(
            f"{path}, row group {index}, cannot be read: {_first_line(problem)}. The file is damaged or has changed "
            "since the run began: copy it again or write it anew, then --resume"
        ) from problem
    # One flat byte column; a row becomes a Python object only when its turn comes.
    if pa.types.is_struct(cells.type) and cells.null_count == 0 and not whole:
        inner = cells.field("bytes") if cells.type.get_field_index("bytes") >= 0 else None
        return cells if inner is None or inner.null_count else inner
    return cells


class ListTable(Table):
    """Pictures in files of their own, in an order that mixes the classes."""

    def __init__(self, found: Found):
        self.path, self.part = found.path, found.part
        listing = lists.listing_of(found.path, found.kind, found.part) if found.listing is None else found.listing
        self.rows = list(listing.rows)
        # Training mixes rows that lie near each other: class by class would be a poor order.
        random.Random(0).shuffle(self.rows)
        self.listing = listing._replace(rows=self.rows)
        full, rest = divmod(len(self.rows), ROWS_PER_GROUP)
        self.sizes = [ROWS_PER_GROUP] * full + ([rest] if rest else [])

    def labels(self, order: Sequence[str] = ()) -> Cells | NDArray[Any]:
        """Return the names of the folders, or the list's labels, votes or columns of classes."""
        found = lists.labels_of(self.listing, self.path, order)
        if found is None:
            raise InputError(f"{lists.without_labels(self.path, self.listing)} (pfvit pretrain needs no labels)")
        return found

    def column(self, kind: str) -> Sequence[Any] | None:
        """Return the people that a list names, or another of its columns."""
        if kind == "person":
            people = [row.person for row in self.rows]
            return people if any(people) else None
        name = first((kind.casefold(),), self.listing.heading)
        return None if name is None else lists.column_of(self.listing, name)

    @cached_property
    def bytes_of(self) -> list[int]:
        """The size of each picture; -1 if it is absent."""
        return [_size(row.picture) for row in self.rows]

    def without_picture(self) -> NDArray[np.bool_]:
        """Return which files are absent or empty."""
        return np.array(self.bytes_of, dtype=np.int64) <= 0

    def picture(self, group: int, row: int) -> bytes | Pixels:
        """Read a picture."""
        one = self.rows[group * ROWS_PER_GROUP + row]
        return lists.picture_of(one, self.path, self.name(group, row))

    def name(self, group: int, row: int) -> str:
        """Return what the list calls it."""
        name = self.rows[group * ROWS_PER_GROUP + row].name
        return f"{self.path.name}, {name}" if self.path.is_file() else name

    def picture_path(self, group: int, row: int) -> str:
        """Return the row's path as the list has it, or below the folder."""
        return self.rows[group * ROWS_PER_GROUP + row].name

    def content(self) -> bytes:
        """Return a digest of names, labels and sizes."""
        digest = blake2b(digest_size=16)
        for row, size in zip(self.rows, self.bytes_of, strict=True):
            digest.update(repr((row.name, row.label, size, row.box)).encode("utf-8", "backslashreplace"))
        return digest.digest()

    def size_in_bytes(self) -> int:
        """Return the size of all pictures."""
        return sum(max(0, size) for size in self.bytes_of)


def _size(picture: Path | tuple[int, int]) -> int:
    if isinstance(picture, tuple):
        return picture[1]
    try:
        return picture.stat().st_size
    except (OSError, ValueError):
        return -1


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0].rstrip(".")

"""Reads row groups in a process of its own: `python -m pfvit.batch.row_group_process`, started by `RowGroups`.

pyarrow reads files wherever they are, and group by group, which arro3 (`pfvit.data.parquet_process`) does not. What a
file says of itself may be less than its pages hold, so its reader has so much memory and no more.

Requests are `{"file": ...}` for the columns and the rows of each group, `{"file": ..., "group": 3}` to begin one, and
`{}` for its next rows. Answers are ("file", columns, rows of each group, bytes), ("rows", [[image, name], ...]),
("end",) or ("error", text).
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pfvit.data.filesystem import place
from pfvit.data.reader_process import MEMORY, MOST_CELL, OVERSIZED, SHARE_OF_FILE, allocated, bound, plain, send
from pfvit.utils.text import utf8

#: Rows decoded at a time: so many, or fewer if they may have so many bytes together.
ROWS_AT_A_TIME, MOST_TOGETHER = 64, 200_000_000
COLUMNS = ("image", "name")


class Files:
    """The file that was asked for last stays open."""

    def __init__(self) -> None:
        pa.set_cpu_count(1)
        self.start = allocated()
        self.name = ""
        self.file: parquet.ParquetFile | None = None
        self.size = 0
        self.batches: Iterator[list[list[Any]]] = iter(())

    def answer(self, request: dict[str, Any]) -> tuple[Any, ...]:
        """Answer a request."""
        if "group" in request:
            self.batches = _rows(self._opened(request["file"]), request["group"])
        elif "file" in request:
            self.name = ""  # it may have changed
            file = self._opened(request["file"])
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            return "file", list(file.schema_arrow.names), sizes, self.size
        rows = next(self.batches, None)
        return ("end",) if rows is None else ("rows", rows)

    def _opened(self, name: str) -> parquet.ParquetFile:
        if self.name != name or self.file is None:
            self.file, self.name = None, ""
            opened = _input(name)
            self.size = opened.seek(0, os.SEEK_END)
            bound(self.start + MEMORY + SHARE_OF_FILE * self.size)
            self.file, self.name = parquet.ParquetFile(opened), name
        return self.file


def _rows(file: parquet.ParquetFile, group: int) -> Iterator[list[list[Any]]]:
    """Yield lists of rows: those of a batch together if they are small, else each by itself."""
    wanted = [column for column in COLUMNS if column in file.schema_arrow.names]
    for batch in file.iter_batches(_rows_at_a_time(file, group), [group], wanted, use_threads=False):
        if batch.nbytes <= MOST_CELL:
            yield [_cells(row) for row in batch.to_pylist()]
            continue
        for number in range(batch.num_rows):
            one = batch.slice(number, 1)
            yield [_cells(one.to_pylist()[0]) if one.nbytes <= MOST_CELL else [{OVERSIZED: one.nbytes}, None]]


def _cells(row: dict[str, Any]) -> list[Any]:
    return [plain(row["image"]), plain(row.get("name"))]


def _rows_at_a_time(file: parquet.ParquetFile, group: int) -> int:
    """Return how many rows of a row group to decode together: each may have the largest value, from a dictionary."""
    whole = file.metadata.row_group(group)
    columns = [whole.column(number) for number in range(whole.num_columns)]
    largest = sum(one.total_uncompressed_size for one in columns if one.path_in_schema.split(".")[0] in COLUMNS)
    return max(1, min(ROWS_AT_A_TIME, MOST_TOGETHER // max(largest, 1)))


def _input(name: str) -> Any:
    """Open a file for pyarrow, whose own file systems take no names that are no UTF-8."""
    if "://" not in name and utf8(name) != name:
        return Path(name).open("rb")
    there = place(name)
    return there.files.open_input_file(there.path)


def main() -> None:
    """Answer requests until there are no more."""
    out, files = sys.stdout.buffer, Files()
    for line in sys.stdin.buffer:
        try:
            answer = files.answer(json.loads(line))
        except Exception as problem:  # pyarrow raises nearly every built-in kind on damaged files
            files.name, files.batches = "", iter(())
            answer = "error", str(problem) or type(problem).__name__
        send(out, answer)


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()

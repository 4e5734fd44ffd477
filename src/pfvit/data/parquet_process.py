"""Reads Parquet files in a process of its own: `python -m pfvit.data.parquet_process`, started by `pfvit.data.parquet`.

On damaged files arro3 can end the process that it runs in (a panic of Rust that cannot unwind), and small files can ask
for gigabytes. Requests are `{"path": ..., "columns": [...], "first": ...}`, or without columns for the schema; `first`
is after how many rows to end, or a few more. Answers are ("schema", names, metadata), ("rows", [row, ...]), ("end",) or
("error", type, text).
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from arro3.core import Array, DataType, RecordBatch
from arro3.io import read_parquet

from pfvit.data.reader_process import MEMORY, MOST_CELL, OVERSIZED, SHARE_OF_FILE, allocated, bound, plain, send

#: Rows decoded at a time. Few, as a dictionary may give each of them the same large value.
ROWS_AT_A_TIME = 8


def main() -> None:
    """Answer requests until there are no more."""
    out = sys.stdout.buffer
    start = allocated()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        path = Path(request["path"])
        try:
            bound(start + MEMORY + SHARE_OF_FILE * path.stat().st_size)
            reader = read_parquet(path, batch_size=ROWS_AT_A_TIME)
            if request["columns"] is None:
                send(out, ("schema", list(reader.schema.names), dict(reader.schema.metadata)))
                continue
            first, done = request["first"], 0
            for batch in reader:
                for rows in _rows(batch, request["columns"]):
                    send(out, ("rows", rows))
                done += batch.num_rows
                if first is not None and done >= first:
                    break
            send(out, ("end",))
        except BaseException as problem:  # Rust's panics are no Exception
            send(out, ("error", type(problem).__name__, str(problem)[:2000]))


def _rows(batch: RecordBatch, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """Yield a batch as lists of rows: one list if it is small, else one for each row."""
    arrays = [batch.column(name) for name in columns]
    if sum(array.nbytes for array in arrays) <= MOST_CELL:
        yield [list(row) for row in zip(*([plain(cell.as_py()) for cell in array] for array in arrays), strict=True)]
        return
    for number in range(batch.num_rows):
        yield [[_cell(array, number) for array in arrays]]


def _cell(array: Array, number: int) -> Any:
    one = array.take(Array([number], DataType.uint64()))
    size = one.nbytes
    return {OVERSIZED: size} if size > MOST_CELL else plain(one[0].as_py())


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()

"""Reads Parquet files in a process of its own: `python -m pfvit.data.parquet_process`, started by `pfvit.data.parquet`.

On damaged files arro3 can end the process that it runs in (a panic of Rust that cannot unwind), and small files can ask
for gigabytes. Requests come as lines of JSON, `{"path": ..., "columns": [...]}` or without columns for the schema.
Answers are a length of 8 bytes and a tuple in `marshal`'s format: ("schema", names, metadata), ("rows", [row, ...]),
("end",) or ("error", type, text).
"""

import json
import marshal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from arro3.core import Array, DataType, RecordBatch
from arro3.io import read_parquet

#: Rows decoded at a time. Few, as a dictionary may give each of them the same large value.
ROWS_AT_A_TIME = 8
#: Bytes of one cell; a larger one is passed on as OVERSIZED with its size.
MOST_CELL = 40_000_000
OVERSIZED = "pfvit.oversized"
#: Bytes that this process may have beside what it has at the start: so many, and more for a file that is large itself.
MEMORY, SHARE_OF_FILE = 700_000_000, 2
#: Types that marshal takes; values of others (dates, decimals) are passed on as text.
PLAIN = (type(None), bool, int, float, str, bytes)


def main() -> None:
    """Answer requests until there are no more."""
    out = sys.stdout.buffer
    start = _allocated()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        path = Path(request["path"])
        try:
            _bound(start + MEMORY + SHARE_OF_FILE * path.stat().st_size)
            reader = read_parquet(path, batch_size=ROWS_AT_A_TIME)
            if request["columns"] is None:
                _send(out, ("schema", list(reader.schema.names), dict(reader.schema.metadata)))
                continue
            for batch in reader:
                for rows in _rows(batch, request["columns"]):
                    _send(out, ("rows", rows))
            _send(out, ("end",))
        except BaseException as problem:  # Rust's panics are no Exception
            _send(out, ("error", type(problem).__name__, str(problem)[:2000]))


def _rows(batch: RecordBatch, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """Yield a batch as lists of rows: one list if it is small, else one for each row."""
    arrays = [batch.column(name) for name in columns]
    if sum(array.nbytes for array in arrays) <= MOST_CELL:
        yield [list(row) for row in zip(*([_plain(cell.as_py()) for cell in array] for array in arrays), strict=True)]
        return
    for number in range(batch.num_rows):
        yield [[_cell(array, number) for array in arrays]]


def _cell(array: Array, number: int) -> Any:
    one = array.take(Array([number], DataType.uint64()))
    size = one.nbytes
    return {OVERSIZED: size} if size > MOST_CELL else _plain(one[0].as_py())


def _plain(value: Any) -> Any:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value)


def _send(out: BinaryIO, answer: tuple[Any, ...]) -> None:
    content = marshal.dumps(answer)
    out.write(len(content).to_bytes(8, "little"))
    out.write(content)
    out.flush()


def _allocated() -> int:
    """Return the bytes of this process's own that count against the bound; 0 where the system does not say."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmData:")).split()[1])
    return 0


def _bound(memory: int) -> None:
    """Let this process have so much memory and no more, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()

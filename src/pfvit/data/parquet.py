"""Rows of a Parquet file, a few at a time, without pyarrow (170 MB): arro3 is 33 MB and reads as fast."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from arro3.core import RecordBatch, RecordBatchReader
from arro3.io import read_parquet, write_parquet

from pfvit.data.formats import is_address
from pfvit.emotions import EMOTIONS_KEY
from pfvit.errors import InputError

#: Rows decoded at a time: pictures may be large, and one row group in memory is enough.
ROWS_AT_A_TIME = 64
MAGIC = b"PAR1"


def is_table(path: Path) -> bool:
    """Return whether a file is, or claims to be, Parquet: by its first four bytes or its name."""
    if path.suffix.lower() == ".parquet":
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def column_names(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns; raise InputError if it is no readable Parquet file."""
    return list(_open(path).schema.names)


def emotions_of(path: Path) -> tuple[str, ...] | None:
    """Return the emotions that a file of `pfvit prepare` distinguishes; None for any other file."""
    names = _open(path).schema.metadata.get(EMOTIONS_KEY.encode())
    return None if names is None else tuple(json.loads(names))


def rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, object]]:
    """Yield the rows of a Parquet file in order as plain Python values; structs become dicts.

    Memory is bounded by a row group, not by the file. `columns` are all if not given; one that is not there, and a
    file that cannot be read to its end, raise InputError (after the rows that could be read).
    """
    reader = _open(path)
    there = reader.schema.names
    wanted = list(there if columns is None else columns)
    if missing := [name for name in wanted if name not in there]:
        raise InputError(f"{path} has no column {', '.join(missing)}, only {', '.join(there)}")
    done = 0
    while True:
        try:
            batch = reader.read_next_batch()
            values = [[value.as_py() for value in batch.column(name)] for name in wanted]
        except StopIteration:
            return
        except BaseException as problem:
            raise _unreadable(path, problem, f" after row {done - 1}" if done else "") from problem
        for row in zip(*values, strict=True):
            yield dict(zip(wanted, row, strict=True))
        done += batch.num_rows


def write(rows: RecordBatch | RecordBatchReader, path: Path, **options: Any) -> None:
    """Write a Parquet file; OSError if the disk does not take it."""
    try:
        with silence_stderr():
            write_parquet(rows, path, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as problem:  # Rust's panics are no Exception
        message = re.search(r'message: "(.+)"', str(problem))
        raise OSError(message[1] if message else str(problem)) from problem


def _open(path: Path) -> RecordBatchReader:
    if not path.is_file():
        what = "is an address: download it first" if is_address(str(path)) else "is not there"
        raise InputError(f"{path} {what}")
    try:
        with silence_stderr():
            return read_parquet(path, batch_size=ROWS_AT_A_TIME)
    except BaseException as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: BaseException, where: str = "") -> BaseException:
    """Return what to raise: Rust's panics are no Exception, and Ctrl-C must stay Ctrl-C."""
    if isinstance(problem, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return problem
    said = str(problem).partition("\n")[0]
    inner = re.search(r'"(.+)"', said)  # Rust wraps the sentence: called ... on an `Err` value: General("...")
    return InputError(f"{path} cannot be read as Parquet{where}: {inner[1] if inner else said}")


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Turn the standard error stream off: on a damaged footer arro3 panics and prints a Rust backtrace there."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed already
        yield
        return
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

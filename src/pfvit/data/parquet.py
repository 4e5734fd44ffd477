"""Rows of a Parquet file, a few at a time, without pyarrow (170 MB): arro3 is 33 MB and reads as fast.

Files are read in a process of their own (`pfvit.data.parquet_process`), which a damaged one may end, and which has so
much memory and no more.
"""

import atexit
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from arro3.core import RecordBatch, RecordBatchReader
from arro3.io import write_parquet

from pfvit.data.formats import HEAD, is_address, mistaken_for
from pfvit.data.reader_process import MOST_CELL, OVERSIZED, ReaderEndedError, ReaderProcess
from pfvit.errors import InputError, PictureError

MAGIC = b"PAR1"
#: Rows that a file of any size may have; more only if it has as many bytes. Nulls take none, and would come for days.
FEW_ROWS = 10_000
#: Seconds in which some rows have to come. A damaged file can stop its reader for good.
PATIENCE = 20.0


def is_table(path: Path) -> bool:
    """Return whether a file is, or claims to be, Parquet: by its first four bytes or its name."""
    if path.suffix.lower() == ".parquet":
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def column_names(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns; raise InputError if it is no readable Parquet file."""
    return _schema(path)[0]


def metadata_of(path: Path) -> dict[bytes, bytes]:
    """Return what a Parquet file says of itself; raise InputError if it is no readable Parquet file."""
    return _schema(path)[1]


def rows(path: Path, columns: Sequence[str] | None = None, first: int | None = None) -> Iterator[dict[str, object]]:
    """Yield the rows of a Parquet file in order as plain Python values; structs become dicts.

    Only a few rows are in memory at a time. `columns` are those to read, all if not given; with `first` it ends after
    so many rows, or a few more. A cell of more than 40 MB comes as a PictureError; dates and decimals come as text.
    InputError for a column that is not there, and for a file that cannot be read to its end, after the rows before.
    """
    there = column_names(path)
    wanted = list(there if columns is None else columns)
    if missing := [name for name in wanted if name not in there]:
        raise InputError(f"{path} has no column {', '.join(missing)}, only {', '.join(there)}")
    done, most = 0, max(FEW_ROWS, path.stat().st_size)
    with _reader() as reader:
        for kind, *answer in reader.ask(path, wanted, first):
            if kind == "error":
                raise _unreadable(path, answer[-1], f" after row {done - 1}" if done else "")
            for row in answer[0]:
                if done >= most:
                    raise _unreadable(path, "it has more rows than bytes", f" after row {done - 1}")
                yield {name: cell_value(cell, f"{path}#{done}") for name, cell in zip(wanted, row, strict=True)}
                done += 1


def cell_value(cell: Any, place: str) -> object:
    """Return what a process that reads has sent of a cell; a PictureError if that is only how large it is."""
    if isinstance(cell, dict) and OVERSIZED in cell:
        size = f"{cell[OVERSIZED] / 1e6:.0f} MB"
        return PictureError(f"{place} has a cell of {size}; at most {MOST_CELL / 1e6:.0f} MB are read")
    return cell


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


def _schema(path: Path) -> tuple[list[str], dict[bytes, bytes]]:
    if not path.is_file():
        what = "is an address: download it first" if is_address(str(path)) else "is not there"
        raise InputError(f"{path} {what}")
    with _reader() as reader:
        for kind, *answer in reader.ask(path, None):
            if kind == "error":
                with path.open("rb") as file:
                    why = mistaken_for("a Parquet file", file.read(HEAD))
                raise InputError(f"{path} {why}") if why else _unreadable(path, answer[-1])
            return answer[0], answer[1]
    raise _unreadable(path, "its reader said nothing")


def _unreadable(path: Path, said: str, where: str = "") -> InputError:
    said = said.partition("\n")[0]
    inner = re.search(r'"(.+)"', said)  # Rust wraps the sentence: called ... on an `Err` value: General("...")
    return InputError(f"{path} cannot be read as Parquet{where}: {inner[1] if inner else said}")


class _Reader(ReaderProcess):
    """A process that reads Parquet files, one after the other."""

    def __init__(self) -> None:
        super().__init__("pfvit.data.parquet_process")
        self.free = True
        """Whether it waits for a request."""

    def ask(self, path: Path, columns: Sequence[str] | None, first: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield what it answers up to the end, to `first` rows, or to an error."""
        self.free = False
        self.send({"path": str(path.absolute()), "columns": columns, "first": first})
        try:
            while True:
                answer = self.answer(PATIENCE)
                self.free = answer[0] != "rows"
                if answer[0] == "end":
                    return
                yield answer
                if self.free:
                    return
        except ReaderEndedError as problem:
            yield "error", "", str(problem)


_idle: list[_Reader] = []
_lock = threading.Lock()


@contextmanager
def _reader() -> Iterator[_Reader]:
    """Give a process that reads Parquet files; it is kept for the next file if it is free at the end."""
    with _lock:
        reader = _idle.pop() if _idle else None
    if reader is None or reader.process.poll() is not None:
        reader = _Reader()
    try:
        yield reader
    finally:
        with _lock:
            kept = reader.free and not _idle
            if kept:
                _idle.append(reader)
        if not kept:
            reader.close()


def _forget() -> None:
    """Leave the processes to the one that started them, after a fork."""
    _idle.clear()


@atexit.register
def _end() -> None:
    while _idle:
        _idle.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Turn the standard error stream off: where arro3 panics it prints a Rust backtrace there."""
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

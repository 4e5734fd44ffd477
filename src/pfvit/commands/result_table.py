"""The tables that `pfvit predict --output` and `pfvit video` write: one row per face, whole or not there, resumable.

While the work goes on, rows gather as JSON lines in `NAME.part` beside the file; at the end they become the JSON
lines, CSV or Parquet file that was asked for, which appears at once. A picture without faces and one that could not be
read have a row too, so that a resumed run knows what is done, also where the file is there already.
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pfvit.config.checks import flag
from pfvit.data import parquet
from pfvit.errors import InputError
from pfvit.inference.affect import Affect
from pfvit.inference.movement import Movement
from pfvit.inference.reader import Result
from pfvit.inference.reading import Reading
from pfvit.utils.files import atomic_write, cannot_write, lock, remove
from pfvit.utils.text import parsed, utf8

ROWS_AT_A_TIME = 4096
#: What every table of faces says of a face, with the columns' Parquet types.
OF_A_FACE = {
    "left": "int32",
    "top": "int32",
    "width": "int32",
    "height": "int32",
    "score": "float32",
    "emotion": "utf8",
    "unsure": "bool",
    "entropy": "float32",
}
#: Columns before the probabilities.
COLUMNS = {"source": "utf8", "face": "int32", **OF_A_FACE, "error": "utf8"}


#: Columns of `--affect`: see `pfvit.inference.affect.Affect`.
AFFECT = dict.fromkeys(Affect._fields, "float32")
#: Columns of `pfvit predict --movement`: see `pfvit.inference.movement.Movement`.
MOVEMENT = {f"movement_{name}": "float32" for name in Movement._fields}
#: Spreadsheets take a text that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
SETTINGS = "settings"


def unfinished_table(path: Path) -> Path:
    """Return where the rows of a table gather."""
    return path.with_name(f"{path.name}.part")


class Table:
    """A table being written; `columns` are names with their Parquet types."""

    #: What to do after a full disk.
    remedy = ""

    def __init__(self, path: Path, columns: dict[str, str]):
        """Begin; rows that a run left which was killed make way, as nothing can go on with them."""
        if path.exists():
            what = "is a folder" if path.is_dir() else "exists already; choose another name, or move it away"
            raise InputError(f"{path} {what}")
        self.path, self.columns = path, columns
        self.part = unfinished_table(path)
        self.start = 0  # of the rows in the part
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.part.open("r+" if self.part.exists() else "w+", encoding="utf-8", newline="\n")
        except OSError as problem:
            raise cannot_write(path, problem) from problem
        try:
            lock(self.file, self.part)
            self._continue()
        except OSError as problem:
            self._close()
            raise cannot_write(self.part, problem, self.remedy) from problem
        except InputError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self._close()

    def write(self, rows: Sequence[dict]) -> None:
        """Write some rows, so that a kill now loses none of them."""
        try:
            self.file.write("".join(json.dumps(row) + "\n" for row in rows))
            self.file.flush()
        except OSError as problem:
            raise cannot_write(self.part, problem, self.remedy) from problem

    def discard(self) -> None:
        """Leave nothing behind."""
        self._close()
        remove(self.part)

    def _close(self) -> None:
        with suppress(OSError):  # what a full disk did not take is tried once more, and was told already
            self.file.close()

    def finish(self) -> None:
        """Turn the rows into the file that was asked for."""
        write = {".jsonl": self._jsonl, ".csv": self._csv, ".parquet": self._parquet}[self.path.suffix.lower()]
        with atomic_write(self.path, durable=True, remedy=self.remedy) as new:
            write(new)
        self.discard()

    def _continue(self) -> None:
        """Find out what an earlier run left, and stand where the next row goes; only this process writes there now."""
        self.file.truncate(0)

    def _rows(self) -> Iterator[dict[str, Any]]:
        self.file.seek(self.start)
        for line in self.file:
            flat = _flat(parsed(line))
            yield {name: flat.get(name) for name in self.columns}

    def _parquet(self, path: Path) -> None:
        from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema

        types = {name: getattr(DataType, kind)() for name, kind in self.columns.items()}
        schema = Schema([Field(name, kind) for name, kind in types.items()])

        def batches() -> Iterator[RecordBatch]:
            rows = self._rows()
            while some := list(islice(rows, ROWS_AT_A_TIME)):
                columns = [Array([row[name] for row in some], kind) for name, kind in types.items()]
                yield RecordBatch.from_arrays(columns, schema=schema)

        parquet.write(RecordBatchReader.from_batches(schema, batches()), path)

    def _jsonl(self, path: Path) -> None:
        self.file.seek(self.start)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            shutil.copyfileobj(self.file, file)

    def _csv(self, path: Path) -> None:
        """Write what spreadsheets open right: with a byte order mark, and no text that they take for a formula."""
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            for row in self._rows():
                writer.writerow({name: _harmless(value) for name, value in row.items()})


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of JSON lines with a key for each column that it has."""
    left, top, width, height = row.pop("box", (None,) * 4)
    shares = row.pop("probabilities", {})
    moved: dict[str, Any] = dict.fromkeys(MOVEMENT) if "movement" in row else {}
    moved |= {f"movement_{name}": share for name, share in (row.pop("movement", None) or {}).items()}
    return {**row, "left": left, "top": top, "width": width, "height": height, **shares, **moved}


class Records(Table):
    """The table of `pfvit predict`: a row per face, or one for a picture without.

    The first line of its part keeps `settings` that change the answers: a run under others is not gone on with.
    """

    remedy = "; --resume goes on with it"

    def __init__(self, path: Path, columns: dict[str, str], resume: bool, settings: Mapping[str, object]):
        self.done: Counter[str] = Counter()
        self.failed = 0
        """Pictures that an earlier run could not read: they are not tried again, and count for the exit status."""
        self.settings = dict(settings)
        part = unfinished_table(path)
        if part.exists() and not resume and not path.exists():
            raise InputError(f"{part} is left from an earlier run: --resume goes on with it, or delete it")
        super().__init__(path, COLUMNS | columns)

    def skip(self, source: str) -> bool:
        """Return whether a picture is done already; each call counts one off, as names may repeat."""
        if not self.done[source]:
            return False
        self.done[source] -= 1
        return True

    def _continue(self) -> None:
        """Count what is done. The last picture is done anew: some of its rows may not have come through."""
        begun: list[tuple[str, int, bool]] = []  # source of each picture, where its first row stands, if it failed
        last = ("", -1)  # source and face
        place = 0
        try:
            while line := self.file.readline():
                row = parsed(line) if line.endswith("\n") else {"source": ""}
                if SETTINGS in row and place == 0:
                    self._check(row[SETTINGS])
                    self.start = self.file.tell()
                else:
                    this = row["source"], row.get("face") or 0
                    if this[0] != last[0] or this[1] <= last[1]:  # not a further face of the same picture
                        begun.append((row["source"], place, row.get("error") is not None))
                    last = this
                place = self.file.tell()
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"{self.part} is not what an earlier run left; delete it to start anew") from problem
        if begun:
            _, end, _ = begun.pop()
            self.file.seek(end)
            self.file.truncate()
        elif not place:
            self.write([{SETTINGS: self.settings}])
            self.start = self.file.tell()
        self.done.update(source for source, *_ in begun)
        self.failed = sum(failed for *_, failed in begun)

    def _check(self, before: Mapping[str, object]) -> None:
        # What an earlier version could not set is not in there.
        differ = [flag(name) for name, value in self.settings.items() if before.get(name, value) != value]
        if differ:
            raise InputError(f"{self.part} was begun with another {', '.join(differ)}: give the same, or delete it")


class FinishedTable:
    """A table that an earlier `pfvit predict` wrote to its end, which `--resume` finds; it is only looked at."""

    def __init__(self, path: Path, columns: Iterable[str]):
        """Read which pictures are in it; InputError if it is no such table, or lacks some of `columns`."""
        self.path = path
        self.done: Counter[str] = Counter()
        self.failed = 0
        """Pictures in it that could not be read: they count for the exit status."""
        last, lacking = ("", -1), list[str]()
        try:
            for row in _finished_rows(path):
                this = str(row["source"]), int(row.get("face") or 0)
                if this[0] != last[0] or this[1] <= last[1]:  # not a further face of the same picture
                    self.done[this[0]] += 1
                    self.failed += bool(row.get("error"))
                if row.get("emotion"):
                    lacking = lacking or [name for name in columns if name not in row]
                last = this
        except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error, InputError) as problem:
            raise InputError(f"{path} exists already, and is no table of faces; choose another name") from problem
        if lacking:
            raise InputError(f"{path} exists already, without {', '.join(lacking)}; choose another name")

    def check(self, sources: Iterable[str]) -> None:
        """InputError if not all of these pictures are in it, as often as they are named."""
        if lacking := list((Counter(sources) - self.done).elements()):
            pictures = lacking[0] if len(lacking) == 1 else f"{len(lacking):,} pictures ({lacking[0]}, ...)"
            raise InputError(f"{self.path} exists already, without {pictures}; choose another name for what is new")


def _finished_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table with a key for each column."""
    if path.suffix.lower() == ".parquet":
        yield from parquet.rows(path)
    elif path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                source = row["source"]
                yield {**row, "source": source[1:] if _harmless(source[1:]) == source else source}
    else:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield _flat(parsed(line))


def rows_of(
    result: Result, faces: Sequence[Reading], movement: bool = False, affect: bool = False
) -> list[dict[str, object]]:
    """Return what is said of a picture: an object per face, or one that names a picture without, or what is wrong."""
    if result.problem is not None:
        return [{"source": result.source, "error": utf8(str(result.problem))}]
    return [face.to_dict(movement, affect) for face in faces] or [{"source": result.source}]

"""The work of `pfvit prepare` in pieces: each piece is whole on disk or not there, so that a kill loses little.

A part is a thousand listed rows: their faces in a Parquet file, their codes, and a summary that is written last. When
all parts are done and twins are known, parts are joined into the shards that stay.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema, struct_array
from arro3.io import read_parquet
from numpy.typing import NDArray

from pfvit.data import parquet
from pfvit.datasets.base import Item
from pfvit.datasets.crop import Cutter
from pfvit.emotions import EIGHT, EMOTIONS_KEY, FERPLUS_VOTES
from pfvit.errors import InputError, UsageError
from pfvit.utils.files import atomic_write
from pfvit.utils.text import utf8

ROWS_PER_PART = 1024
PARTS_PER_SHARD = 8
#: Rows that are read at once in training; a few groups are mixed with one another.
ROWS_PER_GROUP = 512
SPLITS = ("train", "val", "test", "faces")

IMAGE = DataType.struct([Field("bytes", DataType.binary()), Field("path", DataType.utf8())])
TWIN = ("", "near", "exact")


@dataclass(frozen=True)
class Part:
    """Some listed rows of one split."""

    folder: Path
    split: str
    number: int
    items: tuple[Item, ...]
    cutter: Cutter

    @property
    def stem(self) -> str:
        """Its files' name without ending."""
        return f"{self.split}-{self.number:05d}"

    @property
    def digest(self) -> str:
        """What tells that the list has not changed since."""
        told = [(item.row, item.name, item.emotion, item.crop, item.box, item.votes, item.group) for item in self.items]
        return blake2b(repr(told).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def summary(part: Part) -> dict[str, Any] | None:
    """Return the summary of a part that is done, or None; InputError if it was made from another list."""
    file = part.folder / f"{part.stem}.json"
    if not file.is_file():
        return None
    told = json.loads(file.read_text(encoding="utf-8"))
    if told["digest"] != part.digest:
        raise InputError(
            f"the source or its labels have changed since {part.stem} was made: delete {part.folder.parent}, start anew"
        )
    return told


def make(part: Part) -> dict[str, Any]:
    """Cut out a part's faces, write them, and return the summary; a part that is done already is left as it is."""
    if (done := summary(part)) is not None:
        return done
    rows: list[tuple[Item, str, bytes]] = []
    codes: list[list[int]] = []
    bad: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    colours: Counter[str] = Counter()
    first: dict[str, str] = {}
    for item in part.items:
        try:
            portraits, left = part.cutter.portraits(item)
        except UsageError as problem:
            raise UsageError(f"{item.place}: {problem}") from problem
        except InputError as problem:
            file, _, row = item.place.rpartition(", row ")
            bad.append({"file": file or item.place, "row": int(row) if file else None, "reason": str(problem)})
            continue
        dropped += left
        for number, portrait in enumerate(portraits):
            name = f"{item.name}#{number}" if len(portraits) > 1 else item.name
            rows.append((item, name, portrait.encoded))
            codes.append(portrait.code)
            colour = "gray" if portrait.gray else "colour"
            colours[colour] += 1
            first.setdefault(colour, item.place)
    _write_rows(part.folder / f"{part.stem}.parquet", rows)
    with _whole(part.folder / f"{part.stem}.npy") as new:
        np.save(new, np.array(codes, dtype=np.uint64).reshape(-1, 4))
    told = {
        "split": part.split, "stem": part.stem, "digest": part.digest, "listed": len(part.items),
        "rows": len(rows), "gray": colours["gray"], "first": first, "bad": bad, "dropped": dropped,
        "counts": Counter(item.emotion for item, _, _ in rows),
    }  # fmt: skip
    with _whole(part.folder / f"{part.stem}.json") as new:
        new.write_text(json.dumps(told), encoding="utf-8")
    return told


def schema_of(item: Item) -> dict[str, DataType]:
    """Return the columns of a set with their types."""
    columns = {"row": DataType.int32(), "name": DataType.utf8(), "image": IMAGE}
    if item.votes:
        columns |= {"fer2013_label": DataType.int64(), **dict.fromkeys(FERPLUS_VOTES, DataType.int8())}
    elif item.emotion:
        columns |= {"label": DataType.int8(), "emotion": DataType.utf8(), "source_label": DataType.utf8()}
    if item.group:
        columns["group"] = DataType.utf8()
    return columns


def _write_rows(path: Path, rows: Sequence[tuple[Item, str, bytes]]) -> None:
    with _whole(path) as new:
        if not rows:
            new.touch()
            return
        types = schema_of(rows[0][0])
        columns: dict[str, Any] = {
            "row": [item.row for item, _, _ in rows],
            "name": [utf8(name) for _, name, _ in rows],
            "label": [EIGHT.index(item.emotion) if item.emotion in EIGHT else -1 for item, _, _ in rows],
            "emotion": [item.emotion for item, _, _ in rows],
            "source_label": [utf8(item.source_label) for item, _, _ in rows],
            "group": [utf8(item.group) for item, _, _ in rows],
        }
        if rows[0][0].votes:
            columns["fer2013_label"] = [int(item.source_label) for item, _, _ in rows]
            for place, vote in enumerate(FERPLUS_VOTES):
                columns[vote] = [item.votes[place] for item, _, _ in rows]
        arrays = []
        for name, kind in types.items():
            if name == "image":
                pictures = Array([encoded for _, _, encoded in rows], DataType.binary())
                arrays.append(struct_array([pictures, Array(columns["name"], DataType.utf8())], fields=IMAGE.fields))
            else:
                arrays.append(Array(columns[name], kind))
        schema = Schema([Field(name, kind) for name, kind in types.items()])
        parquet.write(RecordBatch.from_arrays(arrays, schema=schema), new)


@dataclass(frozen=True)
class Shard:
    """Parts to be joined into a file that stays."""

    path: Path
    parts: tuple[Path, ...]
    emotions: tuple[str, ...]
    also_in: tuple[str, ...]
    """What each mark says."""
    marks: NDArray[np.int64]
    """[rows]: which entry of `also_in` is each row's; below 0 the row is dropped."""
    twin: NDArray[np.int8]
    """[rows]: which entry of TWIN."""


def join(shard: Shard) -> None:
    """Write a shard, with the two columns that only all parts together tell."""
    files = [part for part in shard.parts if part.stat().st_size]
    first = read_parquet(files[0])
    own = {"also_in": DataType.utf8(), "twin": DataType.utf8()}
    columns = [first.schema.field(name) for name in first.schema.names]
    told = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
    if shard.emotions:
        told[EMOTIONS_KEY] = json.dumps(shard.emotions)
    schema = Schema([*columns, *(Field(name, kind) for name, kind in own.items())], metadata=told)

    def batches() -> Iterator[RecordBatch]:
        done = 0
        for file in files:
            for batch in read_parquet(file, batch_size=ROWS_PER_GROUP):
                mark, twin = (values[done : done + batch.num_rows] for values in (shard.marks, shard.twin))
                done += batch.num_rows
                stay = np.flatnonzero(mark >= 0)
                if not len(stay):
                    continue
                kept = batch if len(stay) == len(mark) else batch.take(Array(stay.tolist(), DataType.int64()))
                also_in = Array([shard.also_in[value] for value in mark[stay]], DataType.utf8())
                twins = Array([TWIN[value] for value in twin[stay]], DataType.utf8())
                yield RecordBatch.from_arrays([*kept.columns, also_in, twins], schema=schema)

    with _whole(shard.path) as new:
        reader = RecordBatchReader.from_batches(schema, batches())
        parquet.write(reader, new, max_row_group_size=ROWS_PER_GROUP, compression="uncompressed")


def shards_of(parts: Sequence[Path], rows: Sequence[int]) -> Iterator[tuple[tuple[Path, ...], slice]]:
    """Yield (parts, their rows among all rows of the split), so many parts at a time."""
    ends = np.concatenate([[0], np.cumsum(rows)])
    for first, after in pairwise([*range(0, len(parts), PARTS_PER_SHARD), len(parts)]):
        yield tuple(parts[first:after]), slice(int(ends[first]), int(ends[after]))


def _whole(path: Path) -> AbstractContextManager[Path]:
    """Write a file that later steps rely on: whole and on the disk, or not there."""
    return atomic_write(path, durable=True, remedy=": make room, and the same command goes on")

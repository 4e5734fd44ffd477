"""The work of `pfvit prepare` in parts: each is whole on disk or not there, so that a kill loses little.

A part is 1024 listed rows: their faces in a Parquet file, their digests and hashes, and a summary, which is written
last. When all parts are done and the duplicates are known, they are joined into the shards that remain.
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
from pfvit.utils.text import parsed, utf8

ROWS_PER_PART = 1024
PARTS_PER_SHARD = 8
#: Rows that training reads at once; it shuffles the rows of a few groups together.
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
    classes: tuple[str, ...] = EIGHT
    """What labels 0, 1, 2, ... stand for."""

    @property
    def stem(self) -> str:
        """Its files' name without ending."""
        return f"{self.split}-{self.number:05d}"

    @property
    def digest(self) -> str:
        """A hash of the listed rows: another one means that the list has changed."""
        listed = [
            (item.row, item.name, item.emotion, item.crop, item.box, item.votes, item.group) for item in self.items
        ]
        return blake2b(repr(listed).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def summary(part: Part) -> dict[str, Any] | None:
    """Return the summary of a part that is done, or None; InputError if it was made from another list."""
    file = part.folder / f"{part.stem}.json"
    if not file.is_file():
        return None
    try:
        done = parsed(file.read_text(encoding="utf-8"))
        same = done["digest"] == part.digest
    except (ValueError, KeyError, TypeError):
        return None  # it is damaged, and the part is made again
    if not same:
        raise InputError(
            f"the source or its labels have changed since {part.stem} was made: delete {part.folder.parent}, start anew"
        )
    return done


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
    _write_rows(part.folder / f"{part.stem}.parquet", rows, part.classes)
    with _whole(part.folder / f"{part.stem}.npy") as new:
        np.save(new, np.array(codes, dtype=np.uint64).reshape(-1, 4))
    made = {
        "split": part.split,
        "stem": part.stem,
        "digest": part.digest,
        "listed": len(part.items),
        "rows": len(rows),
        "gray": colours["gray"],
        "first": first,
        "bad": bad,
        "dropped": dropped,
        "counts": Counter(item.emotion for item, _, _ in rows),
    }
    with _whole(part.folder / f"{part.stem}.json") as new:
        new.write_text(json.dumps(made), encoding="utf-8")
    return made


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


def _write_rows(path: Path, rows: Sequence[tuple[Item, str, bytes]], classes: tuple[str, ...]) -> None:
    with _whole(path) as new:
        if not rows:
            new.touch()
            return
        types = schema_of(rows[0][0])
        columns: dict[str, Any] = {
            "row": [item.row for item, _, _ in rows],
            "name": [utf8(name) for _, name, _ in rows],
            "label": [classes.index(item.emotion) if item.emotion in classes else -1 for item, _, _ in rows],
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
    """Parts to be joined into one of the final files."""

    path: Path
    parts: tuple[Path, ...]
    emotions: tuple[str, ...]
    also_in: tuple[str, ...]
    """The different values of the column `also_in`."""
    also_in_index: NDArray[np.int64]
    """[rows]: the index of each row's value in `also_in`; a row below 0 is dropped."""
    twin: NDArray[np.int8]
    """[rows]: the index of each row's value in TWIN."""


def join(shard: Shard) -> None:
    """Write a shard, with the two columns that need all parts: also_in and twin."""
    files = [part for part in shard.parts if part.stat().st_size]
    first = read_parquet(files[0])
    own = {"also_in": DataType.utf8(), "twin": DataType.utf8()}
    columns = [first.schema.field(name) for name in first.schema.names]
    features: dict[str, dict[str, Any]] = {"image": {"_type": "Image"}}
    if "label" in first.schema.names:
        names = EIGHT if set(shard.emotions) <= set(EIGHT) else shard.emotions
        features["label"] = {"names": names, "_type": "ClassLabel"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    if shard.emotions:
        metadata[EMOTIONS_KEY] = json.dumps(shard.emotions)
    schema = Schema([*columns, *(Field(name, kind) for name, kind in own.items())], metadata=metadata)

    def batches() -> Iterator[RecordBatch]:
        done = 0
        for file in files:
            for batch in read_parquet(file, batch_size=ROWS_PER_GROUP):
                index, twin = (values[done : done + batch.num_rows] for values in (shard.also_in_index, shard.twin))
                done += batch.num_rows
                stay = np.flatnonzero(index >= 0)
                if not len(stay):
                    continue
                kept = batch if len(stay) == len(index) else batch.take(Array(stay.tolist(), DataType.int64()))
                also_in = Array([shard.also_in[value] for value in index[stay]], DataType.utf8())
                twins = Array([TWIN[value] for value in twin[stay]], DataType.utf8())
                yield RecordBatch.from_arrays([*kept.columns, also_in, twins], schema=schema)

    with _whole(shard.path) as new:
        reader = RecordBatchReader.from_batches(schema, batches())
        parquet.write(reader, new, max_row_group_size=ROWS_PER_GROUP, compression="uncompressed")


def grouped(parts: Sequence[Path], rows: Sequence[int]) -> Iterator[tuple[tuple[Path, ...], slice]]:
    """Yield (parts, slice of their rows among all rows of the split), PARTS_PER_SHARD parts at a time."""
    ends = np.concatenate([[0], np.cumsum(rows)])
    for first, after in pairwise([*range(0, len(parts), PARTS_PER_SHARD), len(parts)]):
        yield tuple(parts[first:after]), slice(int(ends[first]), int(ends[after]))


def _whole(path: Path) -> AbstractContextManager[Path]:
    """Write a file that later steps rely on: whole and on the disk, or not there."""
    return atomic_write(path, durable=True, remedy=": make room, and the same command goes on")

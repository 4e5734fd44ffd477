"""Stream faces from Parquet files: shuffled, every row exactly once per epoch, for any number of ranks and workers.

The rows of all epochs form one endless sequence that depends on the seed alone. Step `s` takes rows
`s * batch ... (s + 1) * batch` of it and rank `r` of `n` every n-th of those, so the step number *is* the data
position: resuming is exact, there are no partial batches, and two ranks see together what one rank would see.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pfvit.data.votes import scheme_targets
from pfvit.emotions import EMOTIONS_KEY, FERPLUS_VOTES, ORDERS, label_set
from pfvit.errors import InputError

#: Row groups whose rows are mixed with one another; more mix better and take more memory.
GROUPS_MIXED = 8
SINGLE_VOTE = 1  # FER+'s own code drops an emotion that one annotator alone saw


class Batch(NamedTuple):
    """Some faces of one step."""

    image: UInt8[Tensor, "batch channels high wide"]
    target: Float[Tensor, "batch classes"]
    name: list[str]
    place: list[int]
    """Where each row stands in the step's whole batch: the same for any number of ranks."""


@dataclass(frozen=True)
class Group:
    """The rows of one row group that take part."""

    path: Path
    index: int
    rows: tuple[int, ...]


def vote_targets(votes: np.ndarray, classes: int, hard: bool) -> np.ndarray:
    """Turn votes [rows, 10] in FER+'s columns into target distributions [rows, classes].

    Rows whose majority is `unknown`, `NF` or an emotion outside the label set get all zeros. Ties go to the first
    column. Soft targets leave out single votes, as FER+'s own preparation does.
    """
    winner = votes.argmax(axis=1)
    emotions = votes[:, :classes].astype(np.float32)
    if hard:
        targets = np.eye(votes.shape[1], dtype=np.float32)[winner][:, :classes]
    else:
        targets = np.where(emotions > SINGLE_VOTE, emotions, 0)
        bare = targets.sum(axis=1) == 0
        targets[bare] = emotions[bare]
        targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1)
    targets[winner >= classes] = 0
    return targets


def label_targets(labels: np.ndarray, order: str, classes: int) -> np.ndarray:
    """Turn integer labels in a data set's order into one-hot targets [rows, classes] in ours."""
    names = ORDERS[order]
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(f"labels of {order} go from 0 to {len(names) - 1}, found {labels.min()} to {labels.max()}")
    ours = label_set(classes)
    index = np.array([ours.index(name) if name in ours else classes for name in names])
    return np.eye(classes + 1, dtype=np.float32)[index[labels]][:, :classes]


class Faces:
    """An index of the faces in Parquet files: which rows take part, with their targets if they have labels."""

    def __init__(
        self, paths: Sequence[Path], classes: int = 8, labelled: bool = True, hard: bool = False,
        order: str = "ferplus", clean: bool = True, scheme: str | None = None,
    ):  # fmt: skip
        self.classes = classes
        self.groups: list[Group] = []
        self.targets: dict[tuple[Path, int], np.ndarray] = {}
        self.kept: Batch | None = None
        for path in paths:
            if not Path(path).is_file():
                raise InputError(f"{path} is not there; give Parquet files with an image column")
            try:
                file = pq.ParquetFile(path)
            except Exception as problem:
                raise InputError(f"{path} cannot be read as Parquet: {problem}") from problem
            columns = file.schema_arrow.names
            if "image" not in columns:
                raise InputError(f"{path} has no image column, only {', '.join(columns)}")
            if labelled and order != "ferplus" and EMOTIONS_KEY.encode() in (file.schema_arrow.metadata or {}):
                raise InputError(f"{path} has its labels in our order already: leave --order {order} out", status=2)
            has_votes = set(FERPLUS_VOTES) <= set(columns)
            if labelled and not has_votes and "label" not in columns:
                raise InputError(f"{path} has neither the ten FER+ vote columns nor a label column")
            wanted = [c for c in (*FERPLUS_VOTES, "label", "also_in") if c in columns]
            for index in range(file.num_row_groups):
                table = file.read_row_group(index, columns=wanted)
                rows = file.metadata.row_group(index).num_rows
                keep = np.ones(rows, dtype=bool)
                if clean and "also_in" in columns:
                    keep &= np.array([not value for value in table["also_in"].to_pylist()])
                if labelled:
                    if has_votes:
                        votes = np.stack([table[c].to_numpy() for c in FERPLUS_VOTES], axis=1)
                        if scheme is None:
                            targets = vote_targets(votes, classes, hard)
                        else:
                            targets = scheme_targets(votes, classes, scheme)
                    else:
                        targets = label_targets(table["label"].to_numpy(), order, classes)
                    keep &= targets.sum(axis=1) > 0
                    self.targets[Path(path), index] = targets
                self.groups.append(Group(Path(path), index, tuple(np.flatnonzero(keep).tolist())))
        self.groups = [group for group in self.groups if group.rows]
        if not self.groups:
            raise InputError(f"no usable rows in {', '.join(map(str, paths))}")

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self.groups)

    def keep(self, size: int, channels: int, device: torch.device) -> None:
        """Decode all faces now and keep them on a device as bytes, so that no step waits for the processor."""
        everyone = everything(self, size, channels)
        self.kept = everyone._replace(image=everyone.image.to(device), target=everyone.target.to(device))
        ordered = ((group, row) for group in self.groups for row in group.rows)
        self.positions = {(group.path, group.index, row): position for position, (group, row) in enumerate(ordered)}

    def read(self, members: Sequence[tuple[int, Group, int]], size: int, channels: int) -> Batch:
        """Decode rows, given as (place, group, row), at one size; one that is no picture raises InputError."""
        if self.kept is not None:
            rows = [self.positions[group.path, group.index, row] for _, group, row in members]
            image, target = self.kept.image[rows], self.kept.target[rows]
            return Batch(image, target, [self.kept.name[row] for row in rows], [place for place, _, _ in members])
        images, targets, names = [], [], []
        blank = np.zeros(self.classes, dtype=np.float32)
        for _, group, row in members:
            name = f"{group.path.name}#{group.index}:{row}"
            try:
                images.append(decode(read_images(group.path, group.index)[row], size, channels))
            except Exception as problem:
                raise InputError(f"{name} cannot be decoded as a picture: {problem}") from problem
            known = self.targets.get((group.path, group.index))
            targets.append(blank if known is None else known[row])
            names.append(name)
        image, target = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))
        return Batch(image, target, names, [place for place, _, _ in members])

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[Group, int]]:
        """Yield (group, row) of one epoch in its order, from position `start` on."""
        order = np.random.default_rng([seed, epoch])
        shuffled = [self.groups[i] for i in order.permutation(len(self.groups))]
        for first in range(0, len(shuffled), GROUPS_MIXED):
            pool = [(group, row) for group in shuffled[first : first + GROUPS_MIXED] for row in group.rows]
            mixed = order.permutation(len(pool))
            for i in mixed[start:]:
                yield pool[i]
            start = max(0, start - len(pool))


@lru_cache(maxsize=2 * GROUPS_MIXED)
def read_images(path: Path, index: int) -> list[bytes]:
    """Return the encoded pictures of one row group; the last few groups are remembered."""
    column = pq.ParquetFile(path).read_row_group(index, columns=["image"])["image"].combine_chunks()
    # One flat byte column comes out of pyarrow several times faster than a list of structs does.
    return (column.field("bytes") if column.type.num_fields else column).to_pylist()


def decode(encoded: bytes, size: int, channels: int) -> np.ndarray:
    """Decode a picture to uint8 [channels, size, size], gray or colour, resampled if its size differs."""
    with Image.open(io.BytesIO(encoded)) as picture:
        picture = picture.convert("L" if channels == 1 else "RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)  # antialiased, like the exported graph
        pixels = np.asarray(picture)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


class Stream(IterableDataset):
    """The endless sequence of batches from step `start` on, this rank's share of each."""

    def __init__(
        self,
        faces: Faces,
        batch: int,
        size: int,
        channels: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        if batch % world:
            raise InputError(f"a batch of {batch} faces cannot be shared evenly by {world} processes", status=2)
        self.faces, self.batch, self.size, self.channels = faces, batch, size, channels
        self.seed, self.start, self.rank, self.world = seed, start, rank, world

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        for step, members in enumerate(self._steps(), self.start):
            if (step - self.start) % turns == turn:  # the loader takes from its workers in turn, so order is kept
                yield self.faces.read(members, self.size, self.channels)

    def _steps(self) -> Iterator[list[tuple[int, Group, int]]]:
        epoch, position = divmod(self.start * self.batch, len(self.faces))
        members: list[tuple[int, Group, int]] = []
        place = 0
        while True:
            for group, row in self.faces.epoch(self.seed, epoch, position):
                if place % self.world == self.rank:
                    members.append((place, group, row))
                place += 1
                if place == self.batch:
                    yield members
                    members, place = [], 0
            epoch, position = epoch + 1, 0


def loader(stream: Stream, workers: int, pin: bool) -> DataLoader:
    """Wrap a stream in a loader that keeps its order for any number of workers."""
    return DataLoader(stream, batch_size=None, num_workers=workers, pin_memory=pin, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch


def everything(
    faces: Faces,
    size: int,
    channels: int,
    limit: int | None = None,
    pick: Callable[[int], bool] = lambda _: True,
) -> Batch:
    """Read all faces (at most `limit`, where `pick(position)` is true) in file order as one batch."""
    rows = ((group, row) for group in faces.groups for row in group.rows)
    picked = (pair for position, pair in enumerate(rows) if pick(position))
    members = [(place, group, row) for place, (group, row) in enumerate(islice(picked, limit))]
    return faces.read(members, size, channels)

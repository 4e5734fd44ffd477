"""Stream faces from Parquet files: shuffled, every row exactly once per epoch, for any number of ranks and workers.

The rows of all epochs form one endless sequence that depends on the seed alone. Step `s` takes rows
`s * batch ... (s + 1) * batch` of it and rank `r` of `n` every n-th of those, so the step number *is* the data
position: resuming is exact, there are no partial batches, and two ranks see together what one rank would see.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pfvit.data.face_batch import FaceBatch, Window
from pfvit.data.label_schemes import scheme_targets
from pfvit.data.labels import label_targets, vote_targets
from pfvit.emotions import EMOTIONS_KEY, FERPLUS_VOTES
from pfvit.errors import InputError, UsageError

#: Row groups whose rows are mixed with one another; more mix better and take more memory.
GROUPS_MIXED = 8


@dataclass(frozen=True)
class RowGroup:
    """The rows of one row group that take part, without a Python object for each."""

    path: Path
    index: int
    rows: range | np.ndarray


class FaceDataset:
    """The faces in Parquet files: which rows take part, with their targets if they have labels.

    `clean` leaves out rows whose pixels are also in another split. Targets are the shares of the votes, with `hard` the
    majority, with `scheme` one of `label_schemes.SCHEMES`; `order` says what the numbers of a label column mean.
    `oversample`, from 0 to 1, shows rare emotions more often. `windows` are those of files that are not framed as the
    others, by the stem of their names. Pictures are decoded when they are read. InputError for files that cannot be
    read or hold nothing to learn from.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        classes: int = 8,
        labelled: bool = True,
        hard: bool = False,
        order: str = "ferplus",
        clean: bool = True,
        scheme: str | None = None,
        oversample: float = 0.0,
        windows: Mapping[str, tuple[float, float]] | None = None,
    ):
        self.classes, self.labelled, self.hard, self.order, self.scheme = classes, labelled, hard, order, scheme
        self.oversample, self.windows = oversample, windows or {}
        self.answers: Mapping[tuple[Path, int], np.ndarray] = {}
        self.teacher_share = 0.0
        self.groups: list[RowGroup] = []
        self.labels: dict[tuple[Path, int], np.ndarray] = {}
        self.kept: FaceBatch | None = None
        for path in parquet_files(paths):
            self._add(path, clean)
        if not self.groups:
            raise InputError(f"no usable rows in {', '.join(map(str, paths))}")
        self.weights: np.ndarray | None = None
        if oversample and labelled:
            self._weigh()

    def teach(self, answers: Mapping[tuple[Path, int], np.ndarray], share: float) -> None:
        """Take teachers' answers into the targets: `share` of them, from 0 to 1, and the rest is the labels.

        `answers` are distributions [rows of the group, classes] by path and index of each row group. Faces without
        labels have no other targets.
        """
        self.answers, self.teacher_share = answers, share
        if self.oversample and not self.labelled:
            self._weigh()

    def _weigh(self) -> None:
        counts = np.sum([np.bincount(self._emotions(group), minlength=self.classes) for group in self.groups], axis=0)
        self.weights = np.maximum(counts, 1.0) ** -self.oversample

    def _emotions(self, group: RowGroup) -> np.ndarray:
        """Return the likeliest emotion of each row of a group that takes part: its label, or else the teachers'."""
        key, rows = (group.path, group.index), np.asarray(group.rows)
        shares = self.targets_of(self.labels[key][rows]) if self.labelled else self.answers[key][rows]
        return shares.argmax(axis=1)

    def _add(self, path: Path, clean: bool) -> None:
        try:
            file = pq.ParquetFile(path)
        except Exception as problem:
            raise InputError(
                f"{path} cannot be read as Parquet: {_first_line(problem)}. If it is cut short, copy it again or "
                "write it anew"
            ) from problem
        columns = file.schema_arrow.names
        if "image" not in columns:
            raise InputError(f"{path} has no image column, only {', '.join(columns)}")
        metadata = file.schema_arrow.metadata or {}
        if self.labelled and self.order != "ferplus" and EMOTIONS_KEY.encode() in metadata:
            raise UsageError(f"{path} has its labels in our order already: leave --order {self.order} out")
        has_votes = set(FERPLUS_VOTES) <= set(columns)
        if self.labelled and not has_votes and "label" not in columns:
            raise InputError(f"{path} has neither the ten FER+ vote columns nor a label column")
        names = [*(FERPLUS_VOTES if has_votes else ("label",))] if self.labelled else []
        wanted = [*names, *(["also_in"] if clean and "also_in" in columns else [])]
        table = file.read(columns=wanted) if wanted else None
        first = 0
        for index in range(file.num_row_groups):
            count = file.metadata.row_group(index).num_rows
            keep = np.ones(count, dtype=bool)
            part = None if table is None else table.slice(first, count)
            if part is not None and "also_in" in wanted:
                elsewhere = pc.call_function("binary_length", [part["also_in"]])
                keep &= elsewhere.fill_null(0).to_numpy() == 0
            if part is not None and self.labelled:
                labels = np.stack([part[name].to_numpy() for name in names], axis=1)
                keep &= self.targets_of(labels).sum(axis=1) > 0
                # Votes are whole numbers, but a model's own answers are not (experiments/self_label.py).
                self.labels[path, index] = labels.astype(np.float32 if labels.dtype.kind == "f" else np.int16)
            rows = range(count) if keep.all() else np.flatnonzero(keep).astype(np.uint32)
            if len(rows):
                self.groups.append(RowGroup(path, index, rows))
            first += count

    def targets_of(self, labels: np.ndarray) -> np.ndarray:
        """Turn labels [rows, 10] (votes) or [rows, 1] (a label column) into target distributions."""
        if labels.shape[1] == len(FERPLUS_VOTES):
            if self.scheme is not None:
                return scheme_targets(labels, self.classes, self.scheme)
            return vote_targets(labels, self.classes, self.hard)
        return label_targets(labels[:, 0], self.order, self.classes)

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self.groups)

    def keep(self, size: int, channels: int, device: torch.device) -> None:
        """Decode all faces now and keep them in a device's memory as bytes, so that no step waits for the processor."""
        everyone = read_all(self, size, channels)
        self.kept = everyone._replace(image=everyone.image.to(device), target=everyone.target.to(device))
        ordered = ((group, int(row)) for group in self.groups for row in group.rows)
        self.positions = {(group.path, group.index, row): position for position, (group, row) in enumerate(ordered)}

    def read(self, members: Sequence[tuple[int, RowGroup, int]], size: int, channels: int) -> FaceBatch:
        """Decode rows, given as (place, group, row), at one size; one that is no picture raises InputError."""
        if self.kept is not None:
            rows = [self.positions[group.path, group.index, row] for _, group, row in members]
            return self.kept.pick(rows)._replace(place=[place for place, _, _ in members])
        images, labels, names = [], [], []
        for _, group, row in members:
            name = f"{group.path.name}#{group.index}:{row}"
            try:
                images.append(decode(read_images(group.path, group.index)[row].as_py(), size, channels))
            except InputError:
                raise
            except Exception as problem:
                raise InputError(f"{name} cannot be decoded as a picture: {problem}") from problem
            if self.labelled:
                labels.append(self.labels[group.path, group.index][row])
            names.append(name)
        target = self.targets_of(np.stack(labels)) if labels else np.zeros((len(names), self.classes), np.float32)
        if self.answers:
            taught = np.stack([self.answers[group.path, group.index][row] for _, group, row in members])
            share = self.teacher_share if labels else 1.0
            target = ((1 - share) * target + share * taught).astype(np.float32)
        window = None
        if self.windows:
            window = torch.tensor([self.windows.get(group.path.stem, Window()) for _, group, _ in members])
        image = torch.from_numpy(np.stack(images))
        return FaceBatch(image, torch.from_numpy(target), names, [place for place, _, _ in members], window)

    def pools(self, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[list[RowGroup], np.ndarray, np.ndarray]]:
        """Yield one epoch in its order from position `start` on, as (groups, index of the group, row) of each pool.

        What comes before `start` is counted but not read.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self.groups))
        shuffled = [self.groups[i] for i in order]
        for first in range(0, len(shuffled), GROUPS_MIXED):
            groups = shuffled[first : first + GROUPS_MIXED]
            counts = [len(group.rows) for group in groups]
            if start >= sum(counts):
                start -= sum(counts)
                continue
            pool = np.random.default_rng([seed, epoch, first])  # its own: a resume need not draw those before it
            mixed = pool.permutation(sum(counts))
            if self.weights is not None:
                emotion = np.concatenate([self._emotions(group) for group in groups])
                mixed = resampled(self.weights[emotion], pool.random())[mixed]
            mixed, start = mixed[start:], 0
            rows = np.concatenate([np.asarray(group.rows) for group in groups])
            yield groups, np.repeat(np.arange(len(groups)), counts)[mixed], rows[mixed]


def resampled(weights: np.ndarray, offset: float) -> np.ndarray:
    """Draw as many indices as there are weights, each as often as its weight says, rounded up or down.

    Systematic resampling: points at equal distances, from `offset` of one in [0, 1) on, along the weights in a row.
    """
    count = len(weights)
    edges = np.cumsum(weights)
    points = (np.arange(count) + offset) * (edges[-1] / count)
    return np.minimum(np.searchsorted(edges, points, side="right"), count - 1)


def parquet_files(paths: Sequence[Path]) -> list[Path]:
    """Return the Parquet files given, and those of folders given in the order of their names."""
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not path.exists() or (path.is_dir() and not list(path.glob("*.parquet"))):
            raise InputError(f"{path} is not there; give Parquet files with an image column, or a folder of them")
    return files


def check_windows(windows: Mapping[str, Any], *data: FaceDataset) -> None:
    """Raise UsageError for a window of a file that no data set has."""
    there = {group.path.stem for faces in data for group in faces.groups}
    if missing := [name for name in windows if name not in there]:
        raise UsageError(f"--window {missing[0]}: no such file; there are {', '.join(sorted(there))}")


@lru_cache(maxsize=2 * GROUPS_MIXED)
def read_images(path: Path, index: int) -> pa.Array:
    """Return the encoded pictures of one row group; the last few groups are remembered."""
    try:
        column = pq.ParquetFile(path).read_row_group(index, columns=["image"])["image"].combine_chunks()
    except Exception as problem:
        raise InputError(
            f"{path}, row group {index}, cannot be read: {_first_line(problem)}. The file is damaged or has changed "
            "since the run began: copy it again or write it anew, then --resume"
        ) from problem
    # One flat byte column; a row becomes a Python object only when its turn comes.
    return column.field("bytes") if column.type.num_fields else column


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0].rstrip(".")


def decode(encoded: bytes, size: int, channels: int) -> np.ndarray:
    """Decode a picture to uint8 [channels, size, size], gray or colour, resampled if its size differs.

    A JPEG of twice the size or more is decoded at a half, a quarter or an eighth of it, which costs as much less.
    """
    with Image.open(io.BytesIO(encoded)) as picture:
        picture.draft("L" if channels == 1 else "RGB", (size, size))
        picture = picture.convert("L" if channels == 1 else "RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)  # antialiased, like the exported graph
        pixels = np.asarray(picture)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


class Stream(IterableDataset):
    """The endless sequence of batches from step `start` on, this rank's share of each."""

    def __init__(
        self,
        faces: FaceDataset,
        batch: int,
        size: int,
        channels: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        first: int | None = None,
    ):
        """`first` is where its rows begin in a larger batch of several streams; None: they are the whole batch."""
        if batch % world and first is None:
            raise UsageError(f"a batch of {batch} faces cannot be shared evenly by {world} processes")
        self.first = first or 0
        self.faces, self.batch, self.size, self.channels = faces, batch, size, channels
        self.seed, self.start, self.rank, self.world = seed, start, rank, world

    def __iter__(self) -> Iterator[FaceBatch]:
        worker = get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        for step, runs in enumerate(self._steps(), self.start):
            if (step - self.start) % turns == turn:  # the loader takes from its workers in turn, so order is kept
                whole = ((groups[i], row) for groups, which, rows in runs for i, row in zip(which, rows, strict=True))
                mine = [
                    (place, group, int(row))
                    for place, (group, row) in enumerate(whole, self.first)
                    if place % self.world == self.rank
                ]
                yield self.faces.read(mine, self.size, self.channels)

    def _steps(self) -> Iterator[list[tuple[list[RowGroup], np.ndarray, np.ndarray]]]:
        """Yield what each step's whole batch is made of, as parts of pools."""
        epoch, position = divmod(self.start * self.batch, len(self.faces))
        runs, missing = [], self.batch
        while True:
            for groups, which, rows in self.faces.pools(self.seed, epoch, position):
                done = 0
                while done < len(rows):
                    end = min(done + missing, len(rows))
                    runs.append((groups, which[done:end], rows[done:end]))
                    missing -= end - done
                    done = end
                    if not missing:
                        yield runs
                        runs, missing = [], self.batch
            epoch, position = epoch + 1, 0


def loader(stream: IterableDataset, workers: int, pin: bool) -> DataLoader:
    """Wrap a stream in a loader that keeps its order for any number of workers."""
    return DataLoader(stream, batch_size=None, num_workers=workers, pin_memory=pin, collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:
    return batch


def read_all(
    faces: FaceDataset,
    size: int,
    channels: int,
    limit: int | None = None,
    pick: Callable[[int], bool] = lambda _: True,
) -> FaceBatch:
    """Read all faces (at most `limit`, where `pick(position)` is true) in file order as one batch."""
    rows = ((group, int(row)) for group in faces.groups for row in group.rows)
    picked = (pair for position, pair in enumerate(rows) if pick(position))
    members = [(place, group, row) for place, (group, row) in enumerate(islice(picked, limit))]
    return faces.read(members, size, channels)

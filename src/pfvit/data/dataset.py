"""Stream labelled faces: shuffled, every row exactly once per epoch, for any number of ranks and workers.

The rows of all epochs form one endless sequence that depends on the seed alone. Step `s` takes rows
`s * batch ... (s + 1) * batch` of it and rank `r` of `n` every n-th of those, so the step number *is* the data
position: resuming is exact, there are no partial batches, and two ranks see together what one rank would see.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pfvit.data.decode import decode_square, square
from pfvit.data.face_batch import FaceBatch, Window
from pfvit.data.images import Pixels
from pfvit.data.index import FaceIndex, RowGroup
from pfvit.data.locate import TRAIN, UNLABELLED
from pfvit.data.tables import GROUPS_MIXED
from pfvit.errors import InputError, PictureError, UsageError


class FaceDataset:
    """The faces that `--data` names: which rows take part, with their targets if they have labels.

    `clean` leaves out rows whose pixels are also in another split. Targets are the shares of the votes, with `hard` the
    majority, with `scheme` one of `label_schemes.SCHEMES`; `order` says what the numbers of a label column mean.
    `classes` are the names to learn, or how many, or what the data tell apart; `parts` those taken of folders, the
    training part if not given. `oversample`, from 0 to 1, shows rare classes more often. `windows` are those of files
    that are not framed as the others, by the stem of their names. Pictures are decoded when they are read. InputError
    for files that cannot be read or hold nothing to learn from.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        classes: Sequence[str] | int | None = None,
        labelled: bool = True,
        hard: bool = False,
        order: Sequence[str] = (),
        clean: bool = True,
        scheme: str | None = None,
        oversample: float = 0.0,
        windows: Mapping[str, tuple[float, float]] | None = None,
        parts: Sequence[str] | None = None,
        what: str = "--data",
    ):
        parts = parts or (TRAIN if labelled else UNLABELLED)
        order = (order,) if isinstance(order, str) else order
        self.index = FaceIndex(paths, classes, labelled, hard, order, clean, scheme, parts, what)
        self.groups, self.classes, self.labelled = self.index.groups, self.index.classes, labelled
        self.oversample, self.windows = oversample, windows or {}
        self.answers: Mapping[tuple[Path, int], np.ndarray] = {}
        self.teacher_share = 0.0
        self.kept: FaceBatch | None = None
        self.weights: np.ndarray | None = None
        self.reweigh()

    def teach(self, answers: Mapping[tuple[Path, int], np.ndarray], share: float) -> None:
        """Take teachers' answers into the targets: `share` of them, from 0 to 1, and the rest is the labels.

        `answers` are distributions [rows of the group, classes] by path and index of each group. Faces without labels
        have no other targets.
        """
        self.answers, self.teacher_share = answers, share
        self.reweigh()

    def reweigh(self) -> None:
        """Count the classes for `oversample` anew, after rows or targets have changed."""
        if not self.oversample or not (self.labelled or self.answers):
            return
        shown = np.concatenate([self._emotions(group) for group in self.groups])
        self.weights = np.maximum(np.bincount(shown, minlength=self._targets(self.groups[0]).shape[1]), 1.0)
        self.weights **= -self.oversample

    def _targets(self, group: RowGroup) -> np.ndarray:
        """Return the labels of all rows of a group, or the teachers' answers where there are none."""
        return group.targets if self.labelled else self.answers[group.path, group.index]

    def _emotions(self, group: RowGroup) -> np.ndarray:
        """Return the likeliest class of each row of a group that takes part."""
        return self._targets(group)[np.asarray(group.rows)].argmax(axis=1)

    def _target(self, group: RowGroup, row: int) -> np.ndarray:
        """Return a row's target: its label, what teachers answer, or a mean of both."""
        if not self.answers:
            return group.targets[row]
        taught = self.answers[group.path, group.index][row]
        if not self.labelled:
            return taught
        return ((1 - self.teacher_share) * group.targets[row] + self.teacher_share * taught).astype(np.float32)

    def __len__(self) -> int:
        return sum(len(group.rows) for group in self.groups)

    def keep(self, size: int, channels: int, device: torch.device) -> None:
        """Decode all faces now and keep them in a device's memory as bytes, so that no step waits for the processor."""
        members = [(0, group, int(row)) for group in self.groups for row in group.rows]
        everyone = self.read(members, size, channels)
        self.kept = everyone._replace(image=everyone.image.to(device), target=everyone.target.to(device))
        self.positions = {
            (id(group.table), group.index, row): position for position, (_, group, row) in enumerate(members)
        }

    def read(
        self, members: Sequence[tuple[int, RowGroup, int]], size: int, channels: int, stand_in: bool = True
    ) -> FaceBatch:
        """Decode rows, given as (place, group, row), at one size.

        For a row that is no picture the next one of its group stands in, with that row's target; without `stand_in` it
        is left out of the batch.
        """
        if self.kept is not None:
            rows = [self.positions[id(group.table), group.index, row] for _, group, row in members]
            return self.kept.pick(rows)._replace(place=[place for place, _, _ in members])
        pixels, targets, names, places, windows, passed = [], [], [], [], [], []
        for place, group, row in members:
            try:
                decoded = pixels_of(group, row, size, channels)
            except PictureError as problem:
                passed.append(str(problem))
                if not stand_in:
                    continue
                decoded, row = _stand_in(group, row, size, channels, problem)
            pixels.append(decoded)
            targets.append(self._target(group, row))
            names.append(group.table.name(group.index, row))
            places.append(place)
            windows.append(self.windows.get(group.path.stem, Window()))
        if not pixels:
            raise InputError(f"none of the pictures can be decoded; the first: {passed[0]}")
        image, target = torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(targets))
        window = torch.tensor(windows) if self.windows else None
        return FaceBatch(image, target, names, places, window, tuple(passed))

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


def pixels_of(group: RowGroup, row: int, size: int, channels: int) -> Pixels:
    """Return a row's pixels, uint8 [channels, size, size]; PictureError if they cannot be decoded."""
    picture = group.table.picture(group.index, row)
    if isinstance(picture, bytes):
        return decode_square(picture, size, channels, group.table.name(group.index, row))
    return square(picture, size, channels)


def _stand_in(group: RowGroup, row: int, size: int, channels: int, first: PictureError) -> tuple[Pixels, int]:
    """Decode the next row of a group, counted in a circle, that is a picture: the same for any number of ranks."""
    rows = np.asarray(group.rows)
    for other in np.roll(rows, -1 - int(np.searchsorted(rows, row)))[:-1]:
        try:
            return pixels_of(group, int(other), size, channels), int(other)
        except PictureError:
            continue
    where = f"{group.table.path}, group {group.index},"
    raise InputError(f"{where} holds no picture that can be decoded: {first}")


def resampled(weights: np.ndarray, offset: float) -> np.ndarray:
    """Draw as many indices as there are weights, each as often as its weight says, rounded up or down.

    Systematic resampling: points at equal distances, from `offset` of one in [0, 1) on, along the weights in a row.
    """
    count = len(weights)
    edges = np.cumsum(weights)
    points = (np.arange(count) + offset) * (edges[-1] / count)
    return np.minimum(np.searchsorted(edges, points, side="right"), count - 1)


def check_windows(windows: Mapping[str, Any], *data: FaceDataset) -> None:
    """Raise UsageError for a window of a file that no data set has."""
    there = {group.path.stem for faces in data for group in faces.groups}
    if missing := [name for name in windows if name not in there]:
        raise UsageError(f"--window {missing[0]}: no such file; there are {', '.join(sorted(there))}")


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


def loader(stream: IterableDataset, workers: int, pin: bool, begin: Callable[[int], None] | None = None) -> DataLoader:
    """Wrap a stream in a loader that keeps its order for any number of workers, which call `begin` first."""
    return DataLoader(
        stream, batch_size=None, num_workers=workers, pin_memory=pin, collate_fn=_unchanged, worker_init_fn=begin
    )


def _unchanged(batch: Any) -> Any:
    return batch


def read_all(
    faces: FaceDataset,
    size: int,
    channels: int,
    limit: int | None = None,
    pick: Callable[[int], bool] = lambda _: True,
) -> FaceBatch:
    """Read all faces (at most `limit`, where `pick(position)` is true) in file order as one batch.

    Those that cannot be decoded are left out and named in `passed`.
    """
    rows = ((group, int(row)) for group in faces.groups for row in group.rows)
    picked = (pair for position, pair in enumerate(rows) if pick(position))
    members = [(place, group, row) for place, (group, row) in enumerate(islice(picked, limit))]
    return faces.read(members, size, channels, stand_in=False)

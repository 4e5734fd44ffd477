"""Labelled faces and unlabelled ones in the same batches."""

from collections.abc import Iterator

import torch
from torch.utils.data import IterableDataset

from pfvit.data.dataset import FaceDataset, Stream
from pfvit.data.face_batch import FaceBatch, joined
from pfvit.errors import UsageError


class Mixture:
    """Data sets that have a part of each step's batch each, in this order; the first is what an epoch is of."""

    def __init__(self, *parts: tuple[FaceDataset, int]):
        """`parts` are data sets and their rows in a step's whole batch."""
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0][0])

    @property
    def batch(self) -> int:
        """Rows in a step's whole batch."""
        return sum(count for _, count in self.parts)

    def keep(self, size: int, channels: int, device: torch.device) -> None:
        """As `FaceDataset.keep`."""
        for faces, _ in self.parts:
            faces.keep(size, channels, device)


class MixedStream(IterableDataset):
    """The endless sequence of a mixture's batches from step `start` on, this rank's share of each: see `Stream`."""

    def __init__(
        self, mixture: Mixture, size: int, channels: int, seed: int, start: int = 0, rank: int = 0, world: int = 1
    ):
        if mixture.batch % world:
            raise UsageError(f"a batch of {mixture.batch} faces cannot be shared evenly by {world} processes")
        if min(count for _, count in mixture.parts) < world:
            raise UsageError(f"each of {world} processes needs labelled and unlabelled faces: take a larger batch")
        self.streams: list[Stream] = []
        first = 0
        for number, (faces, count) in enumerate(mixture.parts):
            # The first part is in the order that it would have by itself.
            self.streams.append(Stream(faces, count, size, channels, seed + number, start, rank, world, first))
            first += count

    def __iter__(self) -> Iterator[FaceBatch]:
        for parts in zip(*self.streams, strict=True):
            yield joined(parts)

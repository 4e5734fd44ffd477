"""Some faces of one step of training, with their targets."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def onto(value: Tensor, device: torch.device) -> Tensor:
    """Return what lies in the processor's memory on a device, without waiting for what that has still to do.

    A plain copy to a GPU waits until all that was asked of it is done; one from pinned memory is queued behind that.
    """
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


class Window(NamedTuple):
    """The square within a data set's pictures that frames a face as FER2013 does."""

    side: float = 1.0
    """As a share of the picture's side."""
    down: float = 0.0
    """How far its middle is below the picture's, in half sides of the picture."""


class FaceBatch(NamedTuple):
    """Some faces of one step: pixels from 0 to 255, and distributions over classes."""

    image: UInt8[Tensor, "batch channels high wide"]
    target: Float[Tensor, "batch classes"]
    name: list[str]
    place: list[int]
    """Position of each row in the step's whole batch: the same for any number of ranks."""
    window: Float[Tensor, "batch 2"] | None = None
    """The `Window` of each picture; None: all are the whole picture."""
    passed: tuple[str, ...] = ()
    """What is wrong with pictures that cannot be decoded; others stand in for them."""

    def pick(self, rows: Sequence[int]) -> Self:
        """Return these rows."""
        rows = list(rows)
        window = None if self.window is None else self.window[rows]
        index = onto(torch.tensor(rows), self.image.device)
        return type(self)(
            self.image[index],
            self.target[index],
            [self.name[row] for row in rows],
            [self.place[row] for row in rows],
            window,
            self.passed,
        )


def joined(parts: Sequence[FaceBatch]) -> FaceBatch:
    """Return the rows of several batches as one."""
    windows = None
    if any(part.window is not None for part in parts):
        whole = torch.tensor(Window())
        windows = torch.cat([whole.expand(len(part.name), 2) if part.window is None else part.window for part in parts])
    return FaceBatch(
        torch.cat([part.image for part in parts]),
        torch.cat([part.target for part in parts]),
        [name for part in parts for name in part.name],
        [place for part in parts for place in part.place],
        windows,
        tuple(problem for part in parts for problem in part.passed),
    )

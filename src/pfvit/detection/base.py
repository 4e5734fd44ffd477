"""What a detector returns, and the protocol that any detector follows."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels


@dataclass(frozen=True)
class Face:
    """A face in a picture."""

    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels of the picture; it may reach outside."""
    score: float
    """How sure the detector is, from 0 to 1."""
    points: NDArray[np.float64] | None = None
    """[5, 2]: x and y of the eyes, nose and mouth corners, each pair from left to right as seen; or None."""


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in uint8 RGB [height, width, 3], in any order."""
        ...

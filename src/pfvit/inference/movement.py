"""How far a face is from its own poker face, region by region, read off the photo model's movement.

Not a measurement of muscles: it is what the model would undo. All measures are shares of the distance between the eyes,
and 0 for a face without expression.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.detection.alignment import POINTS
from pfvit.inference.face_change import FaceChange

Array = NDArray[np.floating]

#: Where the brows and the lids lie in a crop, as shares of its side: medians of mesh points over aligned faces.
BROW_X, BROW_Y = (0.24, 0.31, 0.40, 0.58, 0.67, 0.74), 0.27
LID_X, UPPER_LID_Y, LOWER_LID_Y = (0.313, 0.672), 0.352, 0.395
EYE_DISTANCE = float(POINTS[1, 0] - POINTS[0, 0])
MOUTH_CORNERS = POINTS[3:5]
#: Steps to find where a point of the face ends up: flows are told for where pixels go, not for where they come from.
STEPS = 4


class Movement(NamedTuple):
    """How far the expression moves each region, in shares of the distance between the eyes."""

    brows: float
    """Raised: positive; lowered: negative."""
    lids: float
    """Eyes wider open: positive; narrowed: negative."""
    mouth_corners: float
    """Raised against the middle of the lips, as in a smile: positive; lowered: negative."""
    mouth_width: float
    """Wider: positive; narrower: negative."""
    mouth_opening: float
    """Gap between the lips: 0 or more."""


def measure_movement(change: FaceChange, mouth_corners: Array | None = None) -> Movement:
    """Return the movement of a face whose whole change (strength 1) this is.

    `mouth_corners` are [2, 2]: x and y of the left and the right one in the crop, as shares of its sides; where they
    lie in most faces if not given.
    """
    corners = MOUTH_CORNERS if mouth_corners is None else mouth_corners
    calm = [_calm_place(change.base, corner) for corner in corners]
    left, right = (_at(change.base, place) for place in calm)
    middle = _middle_of_lips(change, float(np.mean([place[0] for place in calm])), float(corners[:, 1].mean()))
    lips, split = _at(change.base, middle), _at(change.split, middle)
    brow = np.mean([_at(change.base, (x, BROW_Y))[1] for x in BROW_X])
    lids = [_at(change.base, (x, LOWER_LID_Y))[1] - _at(change.base, (x, UPPER_LID_Y))[1] for x in LID_X]
    values = (
        -brow,
        np.mean(lids),
        lips[1] - (left[1] + right[1]) / 2,
        right[0] - left[0],
        max(0.0, -2 * split[1]),
    )
    return Movement(*(float(value) / EYE_DISTANCE for value in values))


def _calm_place(base: Array, place: Array) -> Array:
    """Return where a point of the face lies in its poker face."""
    calm = np.array(place, dtype=np.float64)
    for _ in range(STEPS):
        calm = np.array(place) - _at(base, calm)
    return calm


def _middle_of_lips(change: FaceChange, x: float, near: float) -> tuple[float, float]:
    """Return where the line of the closed lips crosses a column, nearest to a height."""
    size = len(change.height)
    column = np.array([_at(change.height[..., None], (x, (row + 0.5) / size))[0] for row in range(size)])
    crossings = (np.flatnonzero((column[:-1] > 0) & (column[1:] <= 0)) + 1) / size
    return x, float(crossings[np.abs(crossings - near).argmin()]) if len(crossings) else near


def _at(maps: Array, place: Array | tuple[float, float]) -> Array:
    """Read maps [size, size, channels] at a place (x, y), given in shares of the side: bilinear."""
    size = len(maps)
    x, y = (float(np.clip(value * size - 0.5, 0, size - 1)) for value in place)
    column, row = min(int(x), size - 2), min(int(y), size - 2)
    across, down = x - column, y - row
    upper = maps[row, column] * (1 - across) + maps[row, column + 1] * across
    lower = maps[row + 1, column] * (1 - across) + maps[row + 1, column + 1] * across
    return upper * (1 - down) + lower * down

"""Soften the folds of a smile where its skin is stretched again.

A smile presses the skin between cheek, nose and mouth together, and folds stand there as ridges of light and shade.
When the face is moved back, the skin is stretched. Real folds would flatten then, but moved pixels keep them. So the
contrast of what is as wide as a fold is reduced by as much as the skin is stretched, and strong lines lose their finest
detail too. Grain that is no part of a fold, broader shading, and lips, nose and outline of the face stay. Graphics
fades wrinkles in and out by this rule (Raman et al., "Mesh-Tension Driven Expression-Based Wrinkles for Synthetic
Faces", arXiv 2210.03529). Here the flow alone says how far the skin is stretched, and nothing is learnt.
"""

from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels, at_size
from pfvit.inference.face_change import FINEST, FaceChange, enlarged

Array = NDArray[np.float32]

#: The side at which folds are looked for: they are one to five pixels wide there.
SIDE = 112
#: Of a fold's contrast is kept: the share of its former area that skin is read from, to this power; skin that is
#: stretched further than to 1 / LEAST of its area is treated alike.
POWER, LEAST = 4.0, 0.3
#: Standard deviations of the blurs between which folds lie, in pixels of SIDE.
FINE, BROAD = FINEST * SIDE, 4.0
#: Lines of this contrast, of 1 from black to white, begin to be strong, and those of the second are: the power of what
#: is kept grows by MORE times itself there. How strong a line is is seen this far around it, in pixels of SIDE.
FAINT, STRONG, MORE, NEAR = 0.01, 0.03, 4.0, 0.7
#: Folds lie beside the skin that is stretched, too: so many places of the maps further. Before and after, the area is
#: blurred by so many.
BESIDE, BEFORE, AFTER = 3, 1.0, 1.5
#: Where the two halves of the mouth part by so much, in shares of the side, all stays: there teeth would show through.
PARTED = 0.01
#: Eyes stay as they are, and the outline of the face: between these heights, in shares of the side, it sets in, and
#: between these it ends, as between these distances from the middle.
BELOW_EYES, CHIN, CHEEKS = (0.45, 0.55), (0.84, 0.9), (0.27, 0.33)
#: So do lips, so far from their line and from the middle, and the nose and what lies below it: half its width, the
#: height of its middle, half its height.
LIPS, NOSE = (0.06, 0.18), (0.12, 0.54, 0.16)
LEAST_TAKEN = 0.01  # shares below this change nothing that could be seen
TOP = int(BELOW_EYES[0] * SIDE) - int(4 * BROAD)  # the first row that what is below the eyes depends on


def soften_folds(crop: Pixels, change: FaceChange) -> FaceChange:
    """Return a change of a crop, uint8 [height, width, 3], whose light softens folds too: light [SIDE, SIDE, 3]."""
    taken, where = _taken(change), _where_folds_are(change.height)
    if (taken * where).max() < LEAST_TAKEN:
        return change
    taken, where = (enlarged(share[..., None], SIDE).clip(0, 1)[TOP:] for share in (taken, where))
    light = light_at_side(change)
    shown = moved(at_size(crop, SIDE), enlarged(change.base, SIDE), TOP) + light[TOP:]
    return without_lines(change._replace(light=light), shown, taken, where, BROAD, np.s_[TOP:])


def without_lines(
    change: FaceChange, shown: Array, taken: Array, where: Array, broad: float, rows: slice
) -> FaceChange:
    """Return a change, with light [SIDE, SIDE, 3] that is overwritten, without a share of the lines in some rows of it.

    `shown` [high, SIDE, 3] is the crop there as it has changed, `taken` [high, SIDE, 1] the share, as far as there are
    such lines: `where`, of the same form. Lines are what is between FINE and `broad`, in pixels of SIDE. Of strong ones
    more is taken, and the finest detail too, as a fold is as sharp as its photo.
    """
    lines = blurred(shown, FINE) - blurred(shown, broad)
    strong = blurred(_beside(np.abs(lines.mean(axis=2)), 1, np.maximum), NEAR)
    strong = ((strong - FAINT) / (STRONG - FAINT)).clip(0, 1)[..., None]
    strong *= strong * (3 - 2 * strong)
    taken = (where * (1 - (1 - taken) ** (1 + np.float32(MORE) * strong))).astype(np.float32, copy=False)
    change.light[rows] -= taken * lines
    smooth = np.zeros((SIDE, SIDE), np.float32) if change.smooth is None else change.smooth.copy()
    smooth[rows] = np.maximum(smooth[rows], (taken * strong)[..., 0])
    return change._replace(smooth=smooth)


def light_at_side(change: FaceChange) -> Array:
    """Return a change's light in colour and at SIDE, [SIDE, SIDE, 3]: a copy."""
    light = enlarged(change.light, SIDE)
    return light if light.shape[2] == 3 else np.repeat(light, 3, axis=2)


def _taken(change: FaceChange) -> Array:
    """Return which share of a fold's contrast is taken away, [size, size]."""
    size = len(change.base)
    down, across = np.gradient(change.base * np.float32(size), axis=(0, 1))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    area = blurred(area, BEFORE)
    area = _beside(area, BESIDE, np.minimum)
    kept = blurred(area, AFTER).clip(LEAST, 1) ** np.float32(POWER)
    skin = (1 - np.abs(change.split).max(axis=2) / PARTED).clip(0, 1)
    return (1 - kept) * skin


def _where_folds_are(height: Array) -> Array:
    """Return how far to look for folds at each place, from 0 to 1, given its height above the lip line."""
    away, cheeks = _cheeks(len(height))
    lips = np.exp(-((height / np.float32(LIPS[0])) ** 4)) * np.exp(-((away / np.float32(LIPS[1])) ** 6))
    return cheeks * (1 - lips)


@cache
def _cheeks(size: int) -> tuple[Array, Array]:
    """Return how far places are from the middle of the face, and how far to look for folds if there were no lips."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    away = np.abs(x - 0.5)
    nose = np.exp(-((away / NOSE[0]) ** 4) - ((y - NOSE[1]) / NOSE[2]) ** 4)
    here = rising(y, BELOW_EYES) * (1 - rising(y, CHIN)) * (1 - rising(away, CHEEKS)) * (1 - nose)
    return away.astype(np.float32), here.astype(np.float32)


def rising(values: NDArray[np.float64], ends: tuple[float, float]) -> NDArray[np.float64]:
    """Return 0 below the first of `ends`, 1 above the second, and evenly between them."""
    return ((values - ends[0]) / (ends[1] - ends[0])).clip(0, 1)


def _beside(values: Array, reach: int, choose: np.ufunc) -> Array:
    """Return the least or the largest (`choose`) of values [high, wide] in the square around each place."""
    high, wide = values.shape
    padded = np.pad(values, reach, mode="edge")
    lines = reduce(choose, [padded[first : first + high] for first in range(2 * reach + 1)])
    return reduce(choose, [lines[:, first : first + wide] for first in range(2 * reach + 1)])


def moved(crop: Pixels, flow: Array, top: int, left: int = 0, right: int = SIDE) -> Array:
    """Return pixels of a crop [SIDE, SIDE, 3], from 0 to 1, read from where a flow [SIDE, SIDE, 2] says, between them
    linearly: the rows from `top` on, and these columns."""
    line = np.arange(SIDE, dtype=np.float32)
    last = np.float32(SIDE - 1.001)
    x = (line[left:right] + flow[top:, left:right, 0] * np.float32(SIDE)).clip(0, last)
    y = (line[top:, None] + flow[top:, left:right, 1] * np.float32(SIDE)).clip(0, last)
    column, row = x.astype(np.intp), y.astype(np.intp)
    across, down = (x - column).astype(np.float32)[..., None], (y - row).astype(np.float32)[..., None]
    pixels = crop.reshape(-1, 3).astype(np.float32) / np.float32(255)
    pairs = np.concatenate([pixels[:-1], pixels[1:]], axis=1)  # each pixel with its neighbour to the right
    start = row * SIDE + column
    above, below = pairs.take(start, axis=0), pairs.take(start + SIDE, axis=0)
    both = above + (below - above) * down
    return (both[..., :3] + (both[..., 3:] - both[..., :3]) * across).astype(np.float32, copy=False)


def blurred(values: Array, deviation: float) -> Array:
    """Return values [high, wide] or [high, wide, channels] blurred by a Gaussian; the edge is repeated.

    Sums of shifted arrays: matrix products would wake numpy's threads, which get in the way of the networks'.
    """
    weights = _gaussian(deviation)
    reach = len(weights) - 1
    for axis in (0, 1):
        lines = np.moveaxis(values, axis, 0)
        count = len(lines)
        padded = np.concatenate([lines[:1]] * reach + [lines] + [lines[-1:]] * reach)
        blurred = padded[reach : reach + count] * weights[0]
        for away, weight in enumerate(weights[1:], 1):
            before, after = padded[reach - away :][:count], padded[reach + away :][:count]
            blurred += (before + after) * weight
        values = np.moveaxis(blurred, 0, axis)
    return values


@cache
def _gaussian(deviation: float) -> tuple[np.float32, ...]:
    """Return the weights of a Gaussian, from its middle to one side."""
    side = np.exp(-0.5 * (np.arange(np.ceil(4 * deviation) + 1) / deviation) ** 2)
    return tuple((side / (2 * side.sum() - side[0])).astype(np.float32))

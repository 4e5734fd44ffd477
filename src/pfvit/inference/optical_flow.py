"""How one drawing has to be bent to look like another: a smooth flow, so that skin moves instead of fading over.

Thirion's demons (Medical Image Analysis 2(3), 1998), coarse to fine: every pixel is pushed along the slope of the
picture until both agree, and the pushes are smoothed so that neighbours move together. A flow is float32
[size, size, 2]: from which x and y, in shares of the side to the right and down, the pixel here comes.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

LEVELS = (24, 48)  # pixels a side; finer ones would follow noise
ROUNDS = 12
STIFFNESS = 6  # binomial smoothings of the whole flow per round: nearly a Gaussian of 1.7 pixels
STEADINESS = 2  # ... and of each push
NOISE = 0.02  # differences of this size, of black to white, are not worth a push


def flow_between(before: Array, after: Array) -> Array:
    """Return the flow that bends `before` towards `after`, both float32 [size, size, channels] in [0, 1]."""
    old, new = before.mean(axis=2), after.mean(axis=2)
    sides = [side for side in LEVELS if side <= len(old)] or [len(old)]
    flow = np.zeros((sides[0], sides[0], 2), np.float32)
    if sides[0] < LEVELS[0] // 2 or np.array_equal(old, new):
        return flow
    for side in sides:
        flow, still, moving = resized(flow, side, side), _shrunk(new, side), _shrunk(old, side)
        for _ in range(ROUNDS):
            seen = bend(moving[:, :, None], flow)[:, :, 0]
            down, right = np.gradient(seen)
            missing = still - seen
            push = missing / (right * right + down * down + missing * missing + NOISE * NOISE) / side
            pushes = soften(np.stack([push * right, push * down], axis=2), STEADINESS)
            flow = soften(flow + pushes, STIFFNESS)
    return flow


def bend(pixels: NDArray, flow: Array) -> Array:
    """Return [height, width, channels] as float32, with every pixel taken from where the flow says; no flow: as it is.

    Bilinear; what would come from beyond the edge comes from the edge. The flow is enlarged as needed.
    """
    height, width = pixels.shape[:2]
    if not flow.any():
        return pixels.astype(np.float32)
    x_by, y_by = np.moveaxis(resized(flow, width, height), 2, 0)
    x = (np.arange(width, dtype=np.float32) + x_by * width).clip(0, width - 1)
    y = (np.arange(height, dtype=np.float32)[:, None] + y_by * height).clip(0, height - 1)
    return interpolate(pixels, x, y)


def interpolate(pixels: NDArray, x: Array, y: Array) -> Array:
    """Return the pixels of [height, width, channels] at places inside it, given in pixels: bilinear."""
    height, width = pixels.shape[:2]
    left, top = np.minimum(x.astype(np.intp), max(width - 2, 0)), np.minimum(y.astype(np.intp), max(height - 2, 0))
    across, along = (x - left)[..., None].astype(np.float32), (y - top)[..., None].astype(np.float32)
    corner, flat = top * width + left, pixels.reshape(height * width, -1)
    right, below = min(1, width - 1), width * min(1, height - 1)
    upper = flat[corner] * (1 - across) + flat[corner + right] * across
    lower = flat[corner + below] * (1 - across) + flat[corner + below + right] * across
    return upper * (1 - along) + lower * along


def resized(layers: Array, width: int, height: int) -> Array:
    """Enlarge or shrink float32 [height, width, channels]: bicubic."""
    if layers.shape[:2] == (height, width):
        return layers
    parts = [Image.fromarray(np.ascontiguousarray(layers[:, :, c])) for c in range(layers.shape[2])]
    return np.stack([np.asarray(part.resize((width, height), Image.Resampling.BICUBIC)) for part in parts], axis=2)


def soften(values: Array, times: int) -> Array:
    """Blur [height, width, channels] with a binomial filter; beyond the edge is the edge."""
    for _ in range(times):
        for axis in (0, 1):
            smooth = 2 * values  # sums in place: np.pad alone would take four times as long
            new, old = (np.moveaxis(array, axis, 0) for array in (smooth, values))
            new[1:] += old[:-1]
            new[0] += old[0]
            new[:-1] += old[1:]
            new[-1] += old[-1]
            values = (smooth / 4).astype(np.float32)
    return values


def _shrunk(picture: Array, side: int) -> Array:
    return np.asarray(Image.fromarray(picture.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))

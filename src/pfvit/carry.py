"""Carry what the generator changes on a small face over to the large one it was cut from: the change, not the picture.

The model draws small faces, and gray ones if it was trained on gray. What it *changes* from one drawing to another,
float32 [size, size, channels] with 1 from black to white, is enlarged (bicubic) and added: it moves the expression and
leaves skin, hair, colour and resolution as they were. A gray change is added to red, green and blue alike, which is a
change of luma alone. No change leaves every pixel as it is.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.faces import Frame
from pfvit.data.pictures import Pixels, small

#: Over this share of a face's side a change fades out towards its edge, so that no seam shows in the photo.
FADE = 0.12
#: A mean change of so much, from 0 (none) to 1 (black to white), and the drawing takes over.
TAKE_OVER = 0.04


def change_of(
    crop: Pixels, before: NDArray[np.float32], after: NDArray[np.float32], emphasis: float = 1.0
) -> NDArray[np.float32]:
    """Return what to add to a crop, uint8 [height, width, 3], to change it as the drawing `before` changes to `after`.

    Drawings are float32 [size, size, channels] in [0, 1]. Where little changes, that is their difference. Where much
    does, the crop's own fine lines would show through (the edge of a smile under a calm mouth), so there the drawing
    takes over: what it left out of the crop goes too. A generator is cautious: `emphasis` multiplies its change.
    """
    change = after - before
    taken = (_soften(np.abs(change).mean(axis=2, keepdims=True)) / TAKE_OVER).clip(0, 1)
    moved = emphasis * change + taken * (before - small(crop, *before.shape[1:]))
    return moved.astype(np.float32)


def due(neutral: float) -> float:
    """Return the share of the change to the poker face that a face is due, by the probability that it is neutral.

    A generator changes every face a little. One that is likelier neutral than not has less to take off, or nothing.
    """
    return min(1.0, 2 * (1 - neutral))


def carry_over(crop: Pixels, change: NDArray[np.float32]) -> Pixels:
    """Add a change to a crop, uint8 [height, width, 3]."""
    height, width = crop.shape[:2]
    return _add(crop, [layer.resize((width, height), Image.Resampling.BICUBIC) for layer in _layers(change)])


def put_back(photo: Pixels, change: NDArray[np.float32], square: Frame) -> Pixels:
    """Add a change to the face in `square` of a photo, uint8 [height, width, 3]; the rest of it stays as it is.

    The photo itself is never resampled, so it keeps its sharpness, and no change gives it back exactly.
    """
    reach = square.side / 2 * (abs(math.sin(square.roll)) + abs(math.cos(square.roll)))
    left, top = max(0, math.floor(square.x - reach)), max(0, math.floor(square.y - reach))
    right = min(photo.shape[1], math.ceil(square.x + reach))
    bottom = min(photo.shape[0], math.ceil(square.y + reach))
    out = photo.copy()
    if right <= left or bottom <= top:
        return out
    # From pixels of the window to those of the small face: back to the centre, turn, scale.
    size = change.shape[0]
    scale = size / square.side
    cosine, sine = math.cos(square.roll) * scale, math.sin(square.roll) * scale
    x, y = left - square.x, top - square.y
    affine = (cosine, sine, size / 2 + x * cosine + y * sine, -sine, cosine, size / 2 - x * sine + y * cosine)
    window = (right - left, bottom - top)
    faded = change * _fading(size)[:, :, None]
    layers = [
        layer.transform(window, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC) for layer in _layers(faded)
    ]
    out[top:bottom, left:right] = _add(photo[top:bottom, left:right], layers)
    return out


def _fading(size: int) -> NDArray[np.float32]:
    """Return [size, size] weights: 0 at the edge, 1 inside, smooth between."""
    from_edge = (np.minimum(np.arange(size), np.arange(size)[::-1]) / (FADE * size)).clip(0, 1)
    ramp = from_edge * from_edge * (3 - 2 * from_edge)
    return np.outer(ramp, ramp).astype(np.float32)


def _layers(change: NDArray[np.float32]) -> list[Image.Image]:
    return [Image.fromarray(np.ascontiguousarray(change[:, :, c])) for c in range(change.shape[2])]


def _soften(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur [height, width, channels] with a binomial filter, nearly a Gaussian of 1.6 pixels."""
    for _ in range(5):
        for axis in (0, 1):
            wide = np.pad(values, [(1, 1) if axis == k else (0, 0) for k in range(3)], mode="edge")
            inner, length = np.moveaxis(wide, axis, 0), values.shape[axis]
            smooth = (inner[:length] + 2 * inner[1:-1] + inner[2:]) / 4
            values = np.moveaxis(smooth, 0, axis).astype(np.float32)
    return values


def _add(pixels: Pixels, layers: list[Image.Image]) -> Pixels:
    moved = pixels + np.stack([np.asarray(layer) for layer in layers], axis=2) * np.float32(255)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)

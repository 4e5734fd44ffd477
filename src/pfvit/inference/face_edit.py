"""Carry what the generator changes on a small face over to the large one it was cut from: the change, not the picture.

The model draws small faces, and gray ones if it was trained on gray. What it changes from one drawing to another has
two parts. The *flow* bends the face, so that the corners of a smile come down with the skin that they are made of; the
*light* is what bending cannot do, such as teeth that go. Both are enlarged (bicubic) and leave skin, hair, colour and
resolution as they were. A gray change is added to red, green and blue alike, which is a change of luma alone. No
change leaves every pixel as it is.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import Pixels, small
from pfvit.detection.alignment import Frame
from pfvit.inference.optical_flow import bend, flow_between, interpolate, resized, soften

#: Over this share of a face's side a change fades out towards its edge, so that no seam shows in the photo.
FADE = 0.12
#: A mean change of light of so much, from 0 (none) to 1 (black to white), and the drawing takes over.
TAKE_OVER = 0.04
SOFTNESS = 5  # binomial smoothings of that mean: nearly a Gaussian of 1.6 pixels


class Change(NamedTuple):
    """What becomes of a face."""

    flow: NDArray[np.float32]
    """float32 [size, size, 2]: see `pfvit.inference.optical_flow`."""
    light: NDArray[np.float32]
    """float32 [size, size, channels]: added after bending, 1 from black to white."""

    def times(self, share: float) -> "Change":
        """Return this share of the change."""
        return Change(self.flow * np.float32(share), self.light * np.float32(share))


def change_of(crop: Pixels, before: NDArray[np.float32], after: NDArray[np.float32], emphasis: float = 1.0) -> Change:
    """Return how to change a crop, uint8 [height, width, 3], as the drawing `before` changes to `after`.

    Drawings are float32 [size, size, channels] in [0, 1]. As much as can be is done by bending. Where much is left, the
    crop's own fine lines would show through (teeth behind a closed mouth), so there the drawing takes over: what it
    left out of the crop goes too. A generator is cautious: `emphasis` multiplies its change.
    """
    flow = np.float32(emphasis) * flow_between(before, after)
    bent, wanted = bend(before, flow), before + emphasis * (after - before)
    left = wanted - bent
    taken = (soften(np.abs(left).mean(axis=2, keepdims=True), SOFTNESS) / TAKE_OVER).clip(0, 1)
    light = left + taken * (bent - bend(small(crop, *before.shape[1:]), flow))
    return Change(flow, light.astype(np.float32))


def due(neutral: float) -> float:
    """Return the share of the change to the poker face that a face is due, by the probability that it is neutral.

    A generator changes every face a little. One that is likelier neutral than not has less to take off, or nothing.
    """
    return min(1.0, 2 * (1 - neutral))


def carry_over(crop: Pixels, change: Change) -> Pixels:
    """Apply a change to a crop, uint8 [height, width, 3]."""
    height, width = crop.shape[:2]
    return _add(bend(crop, change.flow), resized(change.light, width, height))


def put_back(photo: Pixels, change: Change, square: Frame) -> Pixels:
    """Apply a change to the face in `square` of a photo, uint8 [height, width, 3]; the rest of it stays as it is.

    What does not change is never resampled, so that the photo keeps its sharpness, and no change gives it back exactly.
    """
    reach = square.side / 2 * (abs(math.sin(square.roll)) + abs(math.cos(square.roll)))
    left, top = max(0, math.floor(square.x - reach)), max(0, math.floor(square.y - reach))
    right = min(photo.shape[1], math.ceil(square.x + reach))
    bottom = min(photo.shape[0], math.ceil(square.y + reach))
    out = photo.copy()
    if right <= left or bottom <= top:
        return out
    flow, light = (_placed(layers, square, (left, top, right, bottom)) for layers in (change.flow, change.light))
    window = photo[top:bottom, left:right]
    if flow.any():
        # The face's own right and down, in the photo's, and in pixels.
        cosine, sine = math.cos(square.roll) * square.side, math.sin(square.roll) * square.side
        x = np.arange(left, right, dtype=np.float32) + flow[:, :, 0] * cosine - flow[:, :, 1] * sine
        y = np.arange(top, bottom, dtype=np.float32)[:, None] + flow[:, :, 0] * sine + flow[:, :, 1] * cosine
        height, width = photo.shape[:2]
        window = interpolate(photo, x.clip(0, width - 1), y.clip(0, height - 1))
    out[top:bottom, left:right] = _add(window, light)
    return out


def _placed(layers: NDArray[np.float32], square: Frame, window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return layers of a face as they lie in a window of the photo, fading out towards the square's edge."""
    left, top, right, bottom = window
    # From pixels of the window to those of the small face: back to the centre, turn, scale.
    size = layers.shape[0]
    scale = size / square.side
    cosine, sine = math.cos(square.roll) * scale, math.sin(square.roll) * scale
    x, y = left - square.x, top - square.y
    affine = (cosine, sine, size / 2 + x * cosine + y * sine, -sine, cosine, size / 2 - x * sine + y * cosine)
    faded = layers * _fading(size)[:, :, None]
    parts = [Image.fromarray(np.ascontiguousarray(faded[:, :, c])) for c in range(layers.shape[2])]
    extent = (right - left, bottom - top)
    placed = [part.transform(extent, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC) for part in parts]
    return np.stack([np.asarray(part) for part in placed], axis=2)


def _fading(size: int) -> NDArray[np.float32]:
    """Return [size, size] weights: 0 at the edge, 1 inside, smooth between."""
    from_edge = (np.minimum(np.arange(size), np.arange(size)[::-1]) / (FADE * size)).clip(0, 1)
    ramp = from_edge * from_edge * (3 - 2 * from_edge)
    return np.outer(ramp, ramp).astype(np.float32)


def _add(pixels: NDArray, light: NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(pixels + light * np.float32(255)), 0, 255).astype(np.uint8)

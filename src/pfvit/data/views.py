"""Other views of a face's picture: framed otherwise, turned, partly covered, or of lower quality. Needs no torch."""

import io
import math

import numpy as np
from PIL import Image

from pfvit.data.images import Pixels

#: Parts that can be covered: left, right, top and bottom edge in half sides of the picture from its middle.
PARTS = {
    "mouth": (-0.6, 0.6, 0.1, 0.9),
    "eyes": (-0.8, 0.8, -0.6, -0.05),
    "half": (-1.0, 0.0, -1.0, 1.0),
    "lower": (-0.9, 0.9, 0.0, 1.0),
}
SHADE = 128  # of what covers: middle gray


def reframe(pixels: Pixels, share: float, down: float = 0.0, side: int | None = None) -> Pixels:
    """Return another square of a picture: `share` of its sides, `down` half sides below its middle.

    With a share above 1 it shows more than there is: the edges are repeated. It has as many pixels as before, or `side`
    along each side.
    """
    height, width = pixels.shape[:2]
    size = (width, height) if side is None else (side, side)
    if (share, down) == (1, 0):
        return pixels if size == (width, height) else _resized(pixels, size, None)
    left, top = width * (1 - share) / 2, height * (1 + down - share) / 2
    right, bottom = left + width * share, top + height * share
    room = max(0, math.ceil(max(-left, -top, right - width, bottom - height)))
    padded = np.pad(pixels, ((room, room), (room, room), (0, 0)), mode="edge")
    return _resized(padded, size, (left + room, top + room, right + room, bottom + room))


def cover(pixels: Pixels, part: str, share: float = 1.0) -> Pixels:
    """Return a copy of a picture with one of PARTS hidden behind a plain gray.

    `share` makes what hides it smaller, about its middle: of the part's width and height, from 0 to 1.
    """
    height, width = pixels.shape[:2]
    left, right, top, bottom = PARTS[part]
    left, right = ((left + right + side * share * (right - left)) / 2 for side in (-1, 1))
    top, bottom = ((top + bottom + side * share * (bottom - top)) / 2 for side in (-1, 1))
    columns = slice(round(width * (1 + left) / 2), round(width * (1 + right) / 2))
    rows = slice(round(height * (1 + top) / 2), round(height * (1 + bottom) / 2))
    covered = pixels.copy()
    covered[rows, columns] = SHADE
    return covered


def turn(pixels: Pixels, degrees: float) -> Pixels:
    """Return a picture turned counter-clockwise about its middle; the edges are repeated where it shows none."""
    height, width = pixels.shape[:2]
    room = math.ceil(max(height, width) / 2)  # enough for any angle
    padded = Image.fromarray(np.pad(pixels, ((room, room), (room, room), (0, 0)), mode="edge"))
    turned = padded.rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)[room : room + height, room : room + width]


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Return a picture that was `side` pixels wide and high, at its own size again."""
    height, width = pixels.shape[:2]
    return _resized(_resized(pixels, (side, side), None), (width, height), None)


def compress(pixels: Pixels, quality: int) -> Pixels:
    """Return what JPEG of a quality from 1 to 95 leaves of a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def darken(pixels: Pixels, share: float) -> Pixels:
    """Return a picture with this share of its light."""
    return np.rint(pixels * share).astype(np.uint8)


def _resized(pixels: Pixels, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, box=box))

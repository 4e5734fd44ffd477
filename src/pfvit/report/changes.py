"""Ways in which faces look otherwise than their crops, at five strengths each (as ImageNet-C has them)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from pfvit.data.images import Pixels
from pfvit.data.views import SHADE, compress, cover, darken, reframe, shrink, turn

#: Blur is told for faces of this side: larger ones are blurred more.
BLUR_SIDE = 48
Drawn = np.random.Generator


class Change(NamedTuple):
    """One way, from weak to strong."""

    unit: str
    """What the strengths are."""
    strengths: tuple[float, float, float, float, float]
    apply: Callable[[Pixels, float, Drawn], Pixels]


def blur(pixels: Pixels, radius: float) -> Pixels:
    """Return a face blurred by a Gaussian whose deviation is `radius` pixels of BLUR_SIDE."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius * len(pixels) / BLUR_SIDE)))


def add_noise(pixels: Pixels, deviation: float, drawn: Drawn) -> Pixels:
    """Return a face with Gaussian noise, of a deviation in levels of 255, the same in all colours of a pixel."""
    noise = drawn.normal(0, deviation, (*pixels.shape[:2], 1))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def brighten(pixels: Pixels, share: float) -> Pixels:
    """Return a face with so many times its light; what would be brighter than white is white."""
    return np.clip(np.rint(pixels * float(share)), 0, 255).astype(np.uint8)  # whole numbers would wrap around


def gray(pixels: Pixels, share: float) -> Pixels:
    """Return a face that lost this share of its colour."""
    light = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return np.rint(pixels * (1 - share) + light * share).astype(np.uint8)


def shift(pixels: Pixels, places: float) -> Pixels:
    """Return a face moved to the right by whole pixels; the edge is repeated."""
    count = round(places)
    return np.pad(pixels, ((0, 0), (count, 0), (0, 0)), mode="edge")[:, : pixels.shape[1]]


def cover_somewhere(pixels: Pixels, share: float, drawn: Drawn) -> Pixels:
    """Return a face with a gray square, of this share of its side, somewhere."""
    height, width = pixels.shape[:2]
    high, wide = round(height * share), round(width * share)
    top, left = drawn.integers(0, height - high + 1), drawn.integers(0, width - wide + 1)
    covered = pixels.copy()
    covered[top : top + high, left : left + wide] = SHADE
    return covered


def _covered(part: str) -> Callable[[Pixels, float, Drawn], Pixels]:
    return lambda pixels, share, _: cover(pixels, part, share)


SIDES = (112, 64, 40, 24, 16)
_PARTS = (0.2, 0.4, 0.6, 0.8, 1.0)
CHANGES = {
    "framed tighter": Change("share of the side", (0.94, 0.88, 0.82, 0.76, 0.7), lambda p, s, _: reframe(p, s)),
    "framed wider": Change("share of the side", (1.06, 1.12, 1.2, 1.3, 1.45), lambda p, s, _: reframe(p, s)),
    "turned": Change("degrees", (6, 12, 20, 30, 45), lambda p, s, _: turn(p, s)),
    "shifted": Change("pixels", (1, 2, 3, 4, 5), lambda p, s, _: shift(p, s)),
    "a square covered": Change("share of the side", (0.2, 0.3, 0.4, 0.5, 0.6), cover_somewhere),
    "eyes covered": Change("share of the part", _PARTS, _covered("eyes")),
    "mouth covered": Change("share of the part", _PARTS, _covered("mouth")),
    "lower half covered": Change("share of the part", _PARTS, _covered("lower")),
    "small": Change("pixels of the side", SIDES, lambda p, s, _: shrink(p, min(round(s), len(p)))),
    "blurred": Change("pixels of 48", (0.5, 1, 1.5, 2, 3), lambda p, s, _: blur(p, s)),
    "JPEG": Change("quality", (50, 30, 20, 12, 6), lambda p, s, _: compress(p, round(s))),
    "noise": Change("deviation in levels", (5, 10, 20, 35, 50), add_noise),
    "darker": Change("share of the light", (0.8, 0.6, 0.45, 0.33, 0.2), lambda p, s, _: darken(p, s)),
    "brighter": Change("times the light", (1.2, 1.4, 1.7, 2, 2.5), lambda p, s, _: brighten(p, s)),
    "less colour": Change("share lost", (0.2, 0.4, 0.6, 0.8, 1), lambda p, s, _: gray(p, s)),
}

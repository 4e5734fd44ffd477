"""How Pillow turns a picture, so that a piece of the turned one can be made of a piece of the other."""

import math
from typing import NamedTuple

from PIL import Image

from pfvit.detection.libfacedetection import GRAY

#: Pixels around a piece that turning it needs.
MARGIN = 2

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


class Turn(NamedTuple):
    """How Pillow turns a picture by less than a quarter, so that all of it is seen."""

    size: tuple[int, int]
    affine: tuple[float, float, float, float, float, float]
    """From the pixels of the turned picture to those of the other."""

    @classmethod
    def of(cls, size: tuple[int, int], radians: float) -> "Turn":
        """Return what `Image.rotate(..., expand=True)` does, with its roundings."""
        width, height = size
        angle = -math.radians(math.degrees(radians) % 360.0)
        cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)

        def moved(x: float, y: float, right: float, down: float) -> tuple[float, float]:
            return cosine * x + sine * y + right, -sine * x + cosine * y + down

        right, down = moved(-width / 2, -height / 2, 0.0, 0.0)
        right, down = right + width / 2, down + height / 2
        across, along = zip(*(moved(x, y, right, down) for x in (0, width) for y in (0, height)), strict=True)
        wide = math.ceil(max(across)) - math.floor(min(across))
        high = math.ceil(max(along)) - math.floor(min(along))
        right, down = moved(-(wide - width) / 2.0, -(high - height) / 2.0, right, down)
        return cls((wide, high), (cosine, sine, right, -sine, cosine, down))

    def source(self, box: Box, size: tuple[int, int]) -> Box | None:
        """Return what a part of the turned picture is made of; None if of nothing."""
        width, height = size
        a, b, c, d, e, f = self.affine
        corners = [(x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
        x, y = [a * x + b * y + c for x, y in corners], [d * x + e * y + f for x, y in corners]
        left, right = max(math.floor(min(x)) - MARGIN, 0), min(math.ceil(max(x)) + MARGIN, width)
        top, bottom = max(math.floor(min(y)) - MARGIN, 0), min(math.ceil(max(y)) + MARGIN, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def part(self, picture: Image.Image, box: Box, left: int = 0, top: int = 0) -> Image.Image:
        """Return a part of the turned picture, from a part of the other that begins at `left` and `top`."""
        a, b, c, d, e, f = self.affine
        moved = (a, b, c + a * box[0] + b * box[1] - left, d, e, f + d * box[0] + e * box[1] - top)
        size = box[2] - box[0], box[3] - box[1]
        fill = (GRAY, GRAY, GRAY)
        return picture.transform(size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR, fillcolor=fill)


def before_quarters(box: Box, size: tuple[int, int], quarters: int) -> Box:
    """Return where a part of a picture that `np.rot90` has turned so often comes from; `size` is that of the turned."""
    left, top, right, bottom = box
    width, height = size
    for _ in range(quarters % 4):
        left, top, right, bottom = height - bottom, left, height - top, right
        width, height = height, width
    return left, top, right, bottom

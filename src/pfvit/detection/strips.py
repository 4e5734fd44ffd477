"""A look at a large picture, piece by piece: the same pixels, from columns of the picture and not from all of it.

To look closely at a photo of 50 million pixels, all of it would be scaled (150 MB), turned (300 MB) and copied. Here
each piece is made of some columns, which are scaled as Pillow scales whole pictures: first across, then down.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.detection.libfacedetection import GRAY
from pfvit.utils.memory import give_back

#: Columns that are made at once, if not one piece needs more.
STRIP = 768
#: Pixels around a piece that turning it needs.
MARGIN = 2

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


class Piece(NamedTuple):
    """A part of a look."""

    number: int
    box: Box
    """In the picture as it is scaled and turned by less than a quarter."""
    source: Box
    """What it is made of, in the picture as it is scaled only; across, this is inside it."""


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

    def part(self, strip: Image.Image, box: Box, left: int) -> Image.Image:
        """Return a part of the turned picture, from columns of the other that begin at `left`."""
        a, b, c, d, e, f = self.affine
        moved = (a, b, c + a * box[0] + b * box[1] - left, d, e, f + d * box[0] + e * box[1])
        size = box[2] - box[0], box[3] - box[1]
        fill = (GRAY, GRAY, GRAY)
        return strip.transform(size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR, fillcolor=fill)


def before_quarters(box: Box, size: tuple[int, int], quarters: int) -> Box:
    """Return where a part of a picture that `np.rot90` has turned so often comes from; `size` is that of the turned."""
    left, top, right, bottom = box
    width, height = size
    for _ in range(quarters % 4):
        left, top, right, bottom = height - bottom, left, height - top, right
        width, height = height, width
    return left, top, right, bottom


def parts(
    pieces: Sequence[Piece], width: int, turn: Turn | None, columns: Callable[[int, int], Image.Image]
) -> Iterator[tuple[int, Pixels]]:
    """Yield the number and the pixels of each piece of a look; those in the same columns are made together.

    `columns` returns those of the scaled picture from one to another.
    """
    waiting = sorted(pieces, key=lambda piece: piece.source[0])
    while waiting:
        left = waiting[0].source[0]
        right = min(max(waiting[0].source[2], left + (STRIP if turn is None else 2 * STRIP)), width)
        now = [piece for piece in waiting if piece.source[2] <= right]
        waiting = [piece for piece in waiting if piece.source[2] > right]
        yield from _made(now, columns(left, right), turn, left)
        give_back()  # before the next columns are made


def _made(pieces: list[Piece], strip: Image.Image, turn: Turn | None, left: int) -> Iterator[tuple[int, Pixels]]:
    """Yield pieces from columns that begin at `left`; a function, so that they are gone when the next are made."""
    for piece in pieces:
        yield piece.number, _pixels(piece, strip, turn, left)


def _pixels(piece: Piece, strip: Image.Image, turn: Turn | None, left: int) -> Pixels:
    """Return the pixels of a piece."""
    if turn is not None:
        return np.asarray(turn.part(strip, piece.box, left))
    first, top, last, bottom = piece.source
    return np.asarray(strip.crop((first - left, top, last - left, bottom)))

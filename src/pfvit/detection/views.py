"""A picture seen smaller or larger, turned, in pieces, or around one place, and the way back to its own pixels."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.detection.base import Face
from pfvit.detection.libfacedetection import GRAY, Rows

#: Larger views are looked at in pieces of this side in pixels, which bounds memory, and which overlap by so much.
PIECE, OVERLAP = 1280, 256
#: Bytes of the picture that are reduced at a time.
BAND = 4_000_000
QUARTER = math.pi / 2


@dataclass(frozen=True)
class Sighting:
    """A face as one view shows it. Places are complex numbers, x + iy, in pixels of the picture."""

    centre: complex
    width: float
    """Along the line between the eyes if the face stands as `roll` says."""
    height: float
    roll: float
    """By how many radians the view was turned, and so about the roll of the face, clockwise as seen."""
    score: float
    points: NDArray[np.complex128]
    """Five: eyes, nose, mouth corners."""
    seen: float
    """The root of the box's area in pixels of the view."""

    @property
    def size(self) -> float:
        """The root of the box's area."""
        return math.sqrt(self.width * self.height)

    @cached_property
    def upright(self) -> tuple[float, float, float, float]:
        """Centre and half sides of the upright box around it: that of an ellipse, turned."""
        cosine, sine = math.cos(self.roll), math.sin(self.roll)
        across = math.hypot(self.width * cosine, self.height * sine) / 2
        down = math.hypot(self.width * sine, self.height * cosine) / 2
        return self.centre.real, self.centre.imag, across, down

    def face(self) -> Face:
        """Return it as detectors do."""
        x, y, across, down = self.upright
        box = x - across, y - down, 2 * across, 2 * down
        return Face(box, min(self.score, 1.0), np.stack([self.points.real, self.points.imag], axis=1))


@dataclass(frozen=True)
class View:
    """Some pixels, and where they lie in the picture: view (x, y) is centre + scale * ((x, y) - middle), turned."""

    pixels: Pixels
    roll: float
    middle: complex
    """Of the view, in its pixels."""
    centre: complex
    """The same place in the picture."""
    scale: tuple[float, float]
    """Pixels of the picture in one of the view, across and down the picture."""

    def place(self, seen: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return where places of the view are in the picture."""
        upright = (seen - self.middle) * np.exp(1j * self.roll)
        return upright.real * self.scale[0] + 1j * upright.imag * self.scale[1] + self.centre

    def sightings(self, rows: Rows) -> list[Sighting]:
        """Return what the network says of the view's pixels as faces in the picture."""
        larger = math.sqrt(self.scale[0] * self.scale[1])
        centres = self.place(rows[:, 1] + rows[:, 3] / 2 + 1j * (rows[:, 2] + rows[:, 4] / 2))
        points = self.place(rows[:, 5::2] + 1j * rows[:, 6::2])
        found = []
        for centre, (score, _, _, width, height, *_), five in zip(centres, rows.tolist(), points, strict=True):
            seen = math.sqrt(width * height)
            found.append(Sighting(complex(centre), width * larger, height * larger, self.roll, score, five, seen))
        return found


class Picture:
    """uint8 RGB [height, width, 3], and smaller forms of it made when first needed."""

    def __init__(self, image: Pixels) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]
        self._halves: list[Image.Image] = []

    @cached_property
    def _whole(self) -> Image.Image:
        """The picture for Pillow: a copy that is a third larger, which large ones seldom need."""
        return Image.fromarray(self.image)

    def _power(self, scale: float) -> int:
        """Return how often the picture is to be halved to be not below a scale."""
        power = 0
        while 0.5 ** (power + 1) >= scale:
            power += 1
        return power

    def _half(self, power: int) -> Image.Image:
        """Return the picture reduced by a power of two, from 1 on."""
        if not self._halves:
            half = Image.new("RGB", ((self.width + 1) // 2, (self.height + 1) // 2))
            lines = 2 * max(1, BAND // (6 * self.width))
            for top in range(0, self.height, lines):
                half.paste(Image.fromarray(self.image[top : top + lines]).reduce(2), (0, top // 2))
            self._halves.append(half)
        while len(self._halves) < power:
            self._halves.append(self._halves[-1].reduce(2))
        return self._halves[power - 1]

    def views(self, scale: float, roll: float) -> Iterator[View]:
        """Yield the whole picture at a scale, turned so that faces of this roll stand upright, in pieces if large."""
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        power = self._power(scale)
        quarters = round(roll / QUARTER)
        rest = roll - quarters * QUARTER
        if power == 0 and size == (self.width, self.height) and abs(rest) <= 1e-6:
            seen = self.image
        else:
            scaled = self._half(power) if power else self._whole
            if scaled.size != size:
                scaled = scaled.resize(size, Image.Resampling.BILINEAR)
            if abs(rest) > 1e-6:
                fill = (GRAY, GRAY, GRAY)
                scaled = scaled.rotate(math.degrees(rest), Image.Resampling.BILINEAR, expand=True, fillcolor=fill)
            seen = np.asarray(scaled)
        pixels = np.ascontiguousarray(np.rot90(seen, quarters))
        middle = complex(pixels.shape[1] / 2, pixels.shape[0] / 2)
        per = self.width / size[0], self.height / size[1]
        centre = complex(self.width / 2, self.height / 2)
        for top in _starts(pixels.shape[0]):
            for left in _starts(pixels.shape[1]):
                piece = pixels[top : top + PIECE, left : left + PIECE]
                yield View(piece, roll, middle - complex(left, top), centre, per)

    def around(self, centre: complex, reach: float, side: int, roll: float, quarters: Sequence[int]) -> list[View]:
        """Return a square of the picture at a side in pixels, at a roll and so many quarters of a turn more.

        What lies outside the picture mirrors it, which makes faces that its border cuts more like whole ones.
        """
        power = self._power(0.9 * side / reach)
        times = 2**power
        wide = math.ceil(reach * (abs(math.sin(roll)) + abs(math.cos(roll))) / times) + 2
        x, y = centre.real / times, centre.imag / times
        left, top = round(x - wide / 2), round(y - wide / 2)
        scale = reach / side / times
        cosine, sine = math.cos(roll) * scale, math.sin(roll) * scale
        across, down, middle = x - left, y - top, side / 2
        affine = (
            cosine, -sine, across - middle * (cosine - sine),
            sine, cosine, down - middle * (sine + cosine),
        )  # fmt: skip
        window = self._mirrored(power, left, top, wide)
        pixels = np.asarray(window.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
        places = complex(middle, middle), centre, (reach / side, reach / side)
        return [View(np.rot90(pixels, turn), roll + turn * QUARTER, *places) for turn in quarters]

    def _mirrored(self, power: int, left: int, top: int, side: int) -> Image.Image:
        """Return a square of the reduced picture, which is mirrored at its border where the square reaches outside."""
        width, height = self._half(power).size if power else (self.width, self.height)
        if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
            return self._part(power, left, top, left + side, top + side)
        columns, rows = _mirror(left, side, width), _mirror(top, side, height)
        first = int(columns.min()), int(rows.min())
        near = np.asarray(self._part(power, *first, int(columns.max()) + 1, int(rows.max()) + 1))
        return Image.fromarray(near[(rows - first[1])[:, None], columns - first[0]])

    def _part(self, power: int, left: int, top: int, right: int, bottom: int) -> Image.Image:
        if power:
            return self._half(power).crop((left, top, right, bottom))
        return Image.fromarray(self.image[top:bottom, left:right])


def _starts(length: int) -> list[int]:
    """Return where pieces of a side begin; the last ends with it."""
    count = max(1, math.ceil((length - OVERLAP) / (PIECE - OVERLAP)))
    return [round(number * (length - PIECE) / (count - 1)) for number in range(count)] if count > 1 else [0]


def _mirror(start: int, count: int, length: int) -> NDArray[np.int64]:
    index = np.abs(np.arange(start, start + count))
    return np.clip(length - 1 - np.abs(length - 1 - index), 0, length - 1)

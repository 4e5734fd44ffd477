"""A picture seen smaller or larger, turned, in pieces, or around one place, and the way back to its own pixels."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pfvit.data.contrast import contrast_of
from pfvit.data.images import Pixels
from pfvit.detection.base import Face
from pfvit.detection.libfacedetection import GRAY, Rows
from pfvit.detection.turn import Box, Turn, before_quarters
from pfvit.utils.memory import give_back

#: Larger views are looked at in pieces of this side in pixels, which bounds memory, and which overlap by so much.
#: Those of large pictures are smaller: that takes 1.4 times the work, as more of it is overlap, and less memory.
PIECE, PIECE_OF_LARGE, OVERLAP = 1280, 768, 256
#: Bytes of the picture that are reduced at a time.
BAND = 4_000_000
#: Pictures of more pixels are never copied whole: to look closely at 50 million, all would be scaled (150 MB) and
#: turned (300 MB). Each piece is made of the pixels that it needs.
LARGE = 16_000_000
#: After so many pieces their memory is given back: it is kept in pieces, too.
SOME = 8
#: Pixels of a look at smaller ones that is made at once: turned by an eighth, a narrow picture is mostly nothing.
MOST_TURNED = 48_000_000
NARROW = 16
#: Noise of pictures up to this side goes with a blur of so many pixels; larger ones lose it as they are scaled.
NOISY, GRAIN = 960, 1.2
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
        return Face(box, min(float(self.score), 1.0), np.stack([self.points.real, self.points.imag], axis=1))


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
        self._contrast = contrast_of(image)
        self._halves: dict[int, Image.Image] = {}
        self.large = self.width * self.height > LARGE
        """Whether no more of it is copied than a piece needs."""
        self.narrow = max(image.shape[:2]) > NARROW * min(image.shape[:2])
        """Whether it is too narrow to be looked at turned by an eighth: that is a square with next to nothing in it."""

    def without_noise(self) -> "Picture":
        """Return the picture blurred a little if it is small, else itself."""
        if max(self.width, self.height) > NOISY:
            return self
        return Picture(np.asarray(Image.fromarray(self.image).filter(ImageFilter.GaussianBlur(GRAIN))))

    @cached_property
    def _whole(self) -> Image.Image:
        """The picture for Pillow: a copy that is a third larger, which large ones do not need."""
        return Image.fromarray(self._lit(self.image))

    def _lit(self, pixels: Pixels) -> Pixels:
        """Return some of the picture's pixels with more contrast, if it is dark or faint."""
        return pixels if self._contrast is None else self._contrast.levels[pixels]

    def _power(self, scale: float) -> int:
        """Return how often the picture is to be halved to be not below a scale."""
        power = 0
        while 0.5 ** (power + 1) >= scale:
            power += 1
        return power

    def _size(self, power: int) -> tuple[int, int]:
        """Return width and height of the picture reduced by a power of two."""
        return -(-self.width // 2**power), -(-self.height // 2**power)

    def _half(self, power: int) -> Image.Image:
        """Return the picture reduced by a power of two: from 1 on, or from 2 if it is large."""
        first = 2 if self.large else 1
        if first not in self._halves:
            self._halves[first] = self._reduced(first, (0, 0, *self._size(first)))
        while len(self._halves) <= power - first:
            last = max(self._halves)
            self._halves[last + 1] = self._halves[last].reduce(2)
        return self._halves[power]

    def _reduced(self, power: int, box: Box) -> Image.Image:
        """Return a part of the picture that is reduced by a power of two; made some lines at a time."""
        left, top, right, bottom = box
        step, made = 2**power, Image.new("RGB", (right - left, bottom - top))
        lines = max(1, BAND // (3 * step * step * (right - left)))
        for first in range(top, bottom, lines):
            last = min(first + lines, bottom)
            band = Image.fromarray(self._lit(self.image[first * step : last * step, left * step : right * step]))
            for _ in range(power):
                band = band.reduce(2)
            made.paste(band, (0, first - top))
        return made

    def _scaled(self, power: int, size: tuple[int, int], box: Box) -> Image.Image:
        """Return a part of the picture that is reduced, and then scaled to a size.

        Its pixels are those of a picture that is scaled whole, but for rounding: one value in hundreds is 1 off.
        """
        whole = self._size(power)
        if whole == size:
            return self._part(power, *box)
        across, down = whole[0] / size[0], whole[1] / size[1]
        left, top, right, bottom = box[0] * across, box[1] * down, box[2] * across, box[3] * down
        more = math.ceil(max(across, down)) + 1  # what the filter reaches beyond the part
        first = max(0, math.floor(left) - more), max(0, math.floor(top) - more)
        last = min(whole[0], math.ceil(right) + more), min(whole[1], math.ceil(bottom) + more)
        near = left - first[0], top - first[1], min(right, whole[0]) - first[0], min(bottom, whole[1]) - first[1]
        scaled = (box[2] - box[0], box[3] - box[1])
        return self._part(power, *first, *last).resize(scaled, Image.Resampling.BILINEAR, near)

    def views(self, scale: float, roll: float) -> Iterator[View]:
        """Yield the whole picture at a scale, turned so that faces of this roll stand upright, in pieces if large."""
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        quarters = round(roll / QUARTER)
        rest = roll - quarters * QUARTER
        turn = Turn.of(size, rest) if abs(rest) > 1e-6 else None
        wide, high = size if turn is None else turn.size
        across, down = (high, wide) if quarters % 2 else (wide, high)
        side = PIECE_OF_LARGE if self.large else PIECE
        places = [(left, top) for top in _starts(down, side) for left in _starts(across, side)]
        boxes = [
            before_quarters((x, y, min(x + side, across), min(y + side, down)), (across, down), quarters)
            for x, y in places
        ]
        per = self.width / size[0], self.height / size[1]
        centre = complex(self.width / 2, self.height / 2)
        for number, pixels in self._pieces(scale, size, turn, boxes):
            middle = complex(across / 2 - places[number][0], down / 2 - places[number][1])
            yield View(np.ascontiguousarray(np.rot90(pixels, quarters)), roll, middle, centre, per)

    def _pieces(
        self, scale: float, size: tuple[int, int], turn: Turn | None, boxes: list[Box]
    ) -> Iterator[tuple[int, Pixels]]:
        """Yield numbers and pixels of parts of the picture that is scaled to a size, and turned; in any order."""
        power = self._power(scale)
        plain = power == 0 and size == (self.width, self.height) and turn is None
        wide, high = size if turn is None else turn.size
        if not plain and ((self.large and (power < 2 or len(boxes) > 1)) or wide * high > MOST_TURNED):
            for number, box in enumerate(boxes):
                source = box if turn is None else turn.source(box, size)
                if source is not None:
                    yield number, self._piece(power, size, turn, box, source)
                    if number % SOME == 0:
                        give_back()  # what some were made of
            return
        seen = self.image if plain else self._seen(power, size, turn)
        for number, (left, top, right, bottom) in enumerate(boxes):
            part = seen[top:bottom, left:right]
            yield number, self._lit(part) if plain else part

    def _piece(self, power: int, size: tuple[int, int], turn: Turn | None, box: Box, source: Box) -> Pixels:
        """Return a part of the picture that is scaled to a size and turned; `source` is where it is before that."""
        part = self._scaled(power, size, source)
        return np.asarray(part if turn is None else turn.part(part, box, *source[:2]))

    def _seen(self, power: int, size: tuple[int, int], turn: Turn | None) -> Pixels:
        """Return the whole picture, reduced, scaled to a size and turned."""
        scaled = self._half(power) if power else self._whole
        if scaled.size != size:
            scaled = scaled.resize(size, Image.Resampling.BILINEAR)
        if turn is not None:
            scaled = turn.part(scaled, (0, 0, *turn.size))
        return np.asarray(scaled)

    def around(self, centre: complex, reach: float, side: int, roll: float, quarters: Sequence[int]) -> list[View]:
        """Return a square of the picture at a side in pixels, at a roll and so many quarters of a turn more.

        What lies outside the picture is gray. Were it mirrored, a face that fills the picture, or that its border cuts,
        would meet parts of itself there, and be misplaced: docs/lab-book.md, "Faces that fill the picture".
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
        window = self._square(power, left, top, wide)
        pixels = np.asarray(window.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
        places = complex(middle, middle), centre, (reach / side, reach / side)
        return [View(np.rot90(pixels, turn), roll + turn * QUARTER, *places) for turn in quarters]

    def _square(self, power: int, left: int, top: int, side: int) -> Image.Image:
        """Return a square of the reduced picture, which is gray where it reaches outside."""
        (width, height), (right, bottom) = self._size(power), (left + side, top + side)
        if left >= 0 and top >= 0 and right <= width and bottom <= height:
            return self._part(power, left, top, right, bottom)
        square = Image.new("RGB", (side, side), (GRAY, GRAY, GRAY))
        inside = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if inside[0] < inside[2] and inside[1] < inside[3]:
            square.paste(self._part(power, *inside), (inside[0] - left, inside[1] - top))
        return square

    def _part(self, power: int, left: int, top: int, right: int, bottom: int) -> Image.Image:
        """Return a part of the reduced picture."""
        if power > (1 if self.large else 0):
            return self._half(power).crop((left, top, right, bottom))
        return self._reduced(power, (left, top, right, bottom))


def _starts(length: int, side: int) -> list[int]:
    """Return where pieces of a side begin; the last ends with it."""
    count = max(1, math.ceil((length - OVERLAP) / (side - OVERLAP)))
    return [round(number * (length - side) / (count - 1)) for number in range(count)] if count > 1 else [0]

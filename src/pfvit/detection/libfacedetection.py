"""libfacedetection's network (Shiqi Yu, 3-clause BSD), which ships as weights/libfacedetection.onnx (115 KB).

scripts/convert_libfacedetection.py made the file; its answers are the C++ library's, to the pixel. It was trained on
WIDER FACE. Faces of 14 px and more are found upright; from some 60 px on they are found at any roll, but with points
placed as if they were nearly upright (`pfvit.detection.detector` turns them).
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels
from pfvit.errors import InputError
from pfvit.weights import DETECTOR

STRIDES = (8, 16, 32)
#: What fills up pictures to multiples of the largest stride: black gives more false faces at the border.
GRAY = 127
#: Boxes of one picture that overlap by more than this share of their union are one face, as in the C++ library.
SAME_FACE = 0.45
#: The surest places of a picture that are looked at: an unsure texture has tens of thousands.
MOST_PLACES = 4000

#: Faces as float64 [faces, 15]: score from 0 to 1, left, top, width, height, and x and y of the eyes, nose and mouth
#: corners, each pair from left to right as seen.
Rows = NDArray[np.float64]


class FaceNetwork:
    """The network, opened when first used; it may be called from several threads, and be pickled."""

    def __init__(self) -> None:
        self._session: Any = None

    def __getstate__(self) -> dict[str, object]:
        return {"_session": None}  # a session cannot be pickled: the file is opened again

    def find(self, images: Pixels, least: float, lean: bool = False) -> list[Rows]:
        """Return what is a face by at least this score in uint8 RGB [pictures, height, width, 3], surest first.

        Of one face there are several rows: `distinct` keeps one. If `lean`, memory is given back at once: some 45 MB
        for a picture of 1280 x 1280 pixels, which onnxruntime keeps for the next one.
        """
        count, height, width = images.shape[:3]
        coarsest = STRIDES[-1]
        padded = (count, -(-height // coarsest) * coarsest, -(-width // coarsest) * coarsest, 3)
        if padded != images.shape:
            filled = np.full(padded, GRAY, np.uint8)
            filled[:, :height, :width] = images
            images = filled
        scores, shapes = self._open().run(["score", "shape"], {"image": images}, lean_run() if lean else None)
        places = _places(padded[1], padded[2])
        return [_rows(score, shape, places, least) for score, shape in zip(scores, shapes, strict=True)]

    def give_back(self) -> None:
        """Give back what onnxruntime has kept, by looking at next to nothing."""
        self._open().run(["score"], {"image": np.zeros((1, STRIDES[-1], STRIDES[-1], 3), np.uint8)}, lean_run())

    def _open(self) -> Any:
        if self._session is None:
            if not DETECTOR.is_file():
                raise InputError(
                    f"this build of pfvit ships without {DETECTOR.name}: give faces that are already cropped with "
                    "--whole, or your own detector with Reader(detector=...)"
                )
            import onnxruntime  # here, as it takes longer to import than to answer `pfvit predict --help`

            options = onnxruntime.SessionOptions()
            # It is called from one thread per core (`Reader.stream`); threads within a call would only wait.
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 4
            options.enable_mem_pattern = False  # it makes a look at a picture of one size take twice as much memory
            self._session = onnxruntime.InferenceSession(DETECTOR, options, providers=["CPUExecutionProvider"])
        return self._session


def lean_run() -> Any:
    """Return the options of a run after which onnxruntime keeps no memory."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> NDArray[np.float64]:
    """Return x, y and stride of each place that the network answers for, float64 [places, 3]."""
    grids = []
    for stride in STRIDES:
        y, x = np.mgrid[0:height:stride, 0:width:stride]
        grids.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    return np.concatenate(grids).astype(np.float64)


def _rows(scores: NDArray[np.float32], shapes: NDArray[np.float32], places: NDArray[np.float64], least: float) -> Rows:
    """Decode one picture's answers: offsets and sizes are in strides, sizes as logarithms."""
    kept = np.flatnonzero(scores >= least)
    kept = kept[np.argsort(-scores[kept], kind="stable")][:MOST_PLACES]
    corner, stride, shape = places[kept, :2], places[kept, 2:], shapes[kept].astype(np.float64)
    centre, size = corner + shape[:, :2] * stride, np.exp(shape[:, 2:4]) * stride
    points = corner[:, None] + shape[:, 4:].reshape(-1, 5, 2) * stride[:, None]
    score = scores[kept, None].astype(np.float64)
    return np.concatenate([score, centre - size / 2, size, points.reshape(-1, 10)], axis=1)


def distinct(rows: Rows) -> Rows:
    """Return the surest of those rows that are one face, surest first."""
    left, top, width, height = rows[:, 1:5].T
    right, bottom, area = left + width, top + height, width * height
    chosen, waiting = [], np.arange(len(rows))
    while len(waiting):
        one, others = waiting[0], waiting[1:]
        chosen.append(one)
        across = np.minimum(right[one], right[others]) - np.maximum(left[one], left[others])
        down = np.minimum(bottom[one], bottom[others]) - np.maximum(top[one], top[others])
        shared = np.clip(across, 0, None) * np.clip(down, 0, None)
        waiting = others[shared <= SAME_FACE * (area[one] + area[others] - shared)]
    return rows[chosen]

"""From a listed picture to the encoded face: as it is, cut out by the published box, or found and turned upright."""

import io
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from pfvit.data import images
from pfvit.data.decode import is_plain
from pfvit.data.images import Pixels
from pfvit.datasets import duplicates
from pfvit.datasets.base import Item
from pfvit.detection.alignment import cut, frame
from pfvit.detection.base import Face
from pfvit.detection.detector import LibFaceDetection
from pfvit.errors import InputError, UsageError
from pfvit.utils.files import read_file

QUALITY = 95  # of JPEG: below it blocks begin to show at 224 px
FER2013_SIDE = 48
LARGEST_BOX = 2.0  # boxes: most of the photo's longer side; what is cut out is as large
AROUND = 1.0  # boxes: how much of their side is looked at around them when the face is aligned
SHARPNESS_SIDE = 96
#: Formats that every reader of ours takes as they are.
KEPT_FORMATS = ("JPEG", "PNG", "WEBP")


class Portrait(NamedTuple):
    """A face ready to be written."""

    encoded: bytes
    code: list[int]
    gray: bool


class Cutter:
    """How faces are cut out, and which are dropped."""

    def __init__(self, crop: str, size: int, smallest: int, sharpness: float, every_face: bool):
        self.crop, self.size, self.every_face = crop, size, every_face
        self.smallest, self.sharpness = smallest, sharpness

    def portraits(self, item: Item) -> tuple[list[Portrait], Counter[str]]:
        """Return the faces of a listed picture, and how many were dropped for which reason.

        InputError, without the place, for a picture that is absent or unreadable or shows no face.
        """
        if item.span is not None:
            pixels = _fer2013(item)
            return [_portrait(pixels, _encode(pixels, "PNG"))], Counter()
        try:
            content = read_file(item.path)
        except FileNotFoundError:
            raise InputError(f"{item.path} is listed but absent; unpack the pictures again") from None
        except OSError as problem:
            raise InputError(f"{item.path} cannot be opened: {problem.strerror}") from problem
        pixels = images.decode(content, str(item.path))
        crop = item.crop if self.crop == "auto" else self.crop
        if crop == "box" and item.box is None:
            raise UsageError("no box is published for it; use --crop align or given")
        if crop == "given":
            kept = content if _is_plain(content) else _encode(pixels, "PNG")
            return [_portrait(pixels, kept)], Counter()
        if item.box is not None and max(item.box[2:]) > LARGEST_BOX * max(pixels.shape[:2]):
            raise InputError(f"the box of {item.path.name} is far larger than the photo; correct it")
        if self.every_face:
            return self._all(pixels)
        face = Face(item.box, 1.0) if item.box else None
        if crop == "align":
            face = _aligned(pixels, face)
        if face is None:
            raise InputError(f"no face was found in {item.path}; --crop given keeps pictures whole")
        return [self._shrunk(cut(pixels, frame(face)))], Counter()

    def _all(self, pixels: Pixels) -> tuple[list[Portrait], Counter[str]]:
        found, dropped = [], Counter[str]()
        for face in _detector().detect(pixels):
            if frame(face).side < self.smallest:
                dropped["too small"] += 1
                continue
            out = cut(pixels, frame(face))
            if sharpness(out) < self.sharpness:
                dropped["blurred"] += 1
            else:
                found.append(self._shrunk(out))
        if not found and not dropped:
            dropped["pictures without a face"] += 1
        return found, dropped

    def _shrunk(self, out: Pixels) -> Portrait:
        if len(out) > self.size:
            out = np.asarray(Image.fromarray(out).resize((self.size, self.size), Image.Resampling.BICUBIC))
        return _portrait(out, _encode(out, "JPEG"))


def sharpness(face: Pixels) -> float:
    """Return the variance of the Laplacian of a face at 96 px, gray: low where it is blurred (Pech-Pacheco, 2000)."""
    side = (SHARPNESS_SIDE, SHARPNESS_SIDE)
    gray = np.asarray(Image.fromarray(face).convert("L").resize(side, Image.Resampling.BILINEAR), dtype=np.float32)
    middle = gray[1:-1, 1:-1]
    return float((gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * middle).var())


@lru_cache(maxsize=1)
def _detector() -> LibFaceDetection:
    return LibFaceDetection()


def _aligned(pixels: Pixels, given: Face | None) -> Face | None:
    """Return the face in a published box, with its points, or else the box; without a box the largest face."""
    if given is None:
        return max(_detector().detect(pixels), key=lambda face: face.box[2] * face.box[3], default=None)
    x, y, wide, high = given.box
    left, top = max(0, round(x - AROUND * wide)), max(0, round(y - AROUND * high))
    right, bottom = round(x + (1 + AROUND) * wide), round(y + (1 + AROUND) * high)
    window = np.ascontiguousarray(pixels[top:bottom, left:right])
    if min(window.shape[:2]) < images.SMALLEST_SIDE:
        return given
    best, most = given, 0.0
    for face in _detector().detect(window):
        u, v, wider, higher = face.box
        moved = (u + left, v + top, wider, higher)
        points = None if face.points is None else face.points + np.array([left, top])
        if (much := _overlap(given.box, moved)) > most:
            best, most = Face(moved, face.score, points), much
    return best


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the area that two boxes share."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def _fer2013(item: Item) -> Pixels:
    start, length = item.span or (0, 0)
    with item.path.open("rb") as file:
        file.seek(start)
        words = file.read(length).strip(b'" ').split()
    try:
        values = np.array([int(word) for word in words])
    except ValueError:
        raise InputError("its pixels are no numbers; download the table again") from None
    if len(values) != FER2013_SIDE**2 or values.min() < 0 or values.max() > 255:
        raise InputError(f"it has {len(values)} pixel values, not {FER2013_SIDE**2} from 0 to 255; download it again")
    gray = values.astype(np.uint8).reshape(FER2013_SIDE, FER2013_SIDE, 1)
    return np.repeat(gray, 3, axis=2)


def _is_plain(content: bytes) -> bool:
    """Return whether a reader that ignores orientation and transparency decodes the same pixels."""
    with images.QUIET, Image.open(io.BytesIO(content)) as picture:
        return picture.format in KEPT_FORMATS and is_plain(picture)


def _is_gray(pixels: Pixels) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _encode(pixels: Pixels, form: str) -> bytes:
    file = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": 0} if form == "JPEG" else {}
    Image.fromarray(pixels[..., 0] if _is_gray(pixels) else pixels).save(file, form, **options)
    return file.getvalue()


def _portrait(pixels: Pixels, encoded: bytes) -> Portrait:
    return Portrait(encoded, duplicates.code(pixels), _is_gray(pixels))

"""A picture -> the faces in it, each with what is read in it (`pfvit.inference.reading`). Needs no torch."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data import images
from pfvit.data.images import Pixels, at_size
from pfvit.detection.alignment import Frame, cut, frame
from pfvit.detection.base import Detector, Face
from pfvit.detection.detector import LibFaceDetection
from pfvit.errors import InputError, UsageError
from pfvit.inference import network
from pfvit.inference.reading import Artist, Reading, transfer
from pfvit.utils.prefetch import BYTES_AT_ONCE, PICTURES_AT_ONCE, ahead

__all__ = ["Artist", "CutOut", "Picture", "Reader", "Reading", "cut_outs", "read", "transfer"]

Picture = str | Path | bytes | BinaryIO | Image.Image | np.ndarray


class CutOut(NamedTuple):
    """A face found in a picture."""

    box: tuple[int, int, int, int]
    score: float
    points: NDArray[np.float64] | None
    square: Frame | None
    crop: Pixels


class Reader:
    """Reads faces in pictures: keep one for many pictures, as opening the weights costs more than a picture.

    It may be used in `with`, which lets go of the weights at the end.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        detector: Detector | None = None,
        threads: int | None = None,
        providers: Sequence[str] = (),
    ) -> None:
        """Open a recogniser (the shipped one if not given); `threads` are all cores if not given.

        `providers` say what the networks run on, first choice first: cpu (if not given), cuda, coreml, directml or
        openvino, where the installed onnxruntime can use them. InputError for what it cannot use and for weights that
        cannot be read; the detector is looked for when first needed.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        path = None if weights is None else Path(weights)
        self.recogniser = network.open_answering(path, threads, providers)
        self.artist = Artist(self.recogniser, threads, providers)
        self._detector = detector

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        del self.recogniser, self.artist

    @cached_property
    def detector(self) -> Detector:
        """The detector in use."""
        return LibFaceDetection() if self._detector is None else self._detector

    def read(self, image: Picture, whole: bool = False, source: str | None = None) -> list[Reading]:
        """Return the faces in one picture, left to right; an empty list if there are none.

        The picture is a path, bytes or an open file of any picture format, a Pillow image, or a uint8 array
        [height, width, 3] in RGB. `whole` takes it as one face, already cropped. InputError if it cannot be read.
        """
        return self.read_batch([image], whole, None if source is None else [source])[0]

    def read_batch(
        self, images: Sequence[Picture], whole: bool = False, sources: Sequence[str] | None = None
    ) -> list[list[Reading]]:
        """Return the faces in each of some pictures; together they must fit in memory."""
        names = [_name(image) for image in images] if sources is None else sources
        found = [self.find(_pixels(image, source), whole) for image, source in zip(images, names, strict=True)]
        return self.read_found(found, names)

    def read_each(self, images: Iterable[Picture], whole: bool = False) -> Iterator[list[Reading] | InputError]:
        """Yield the faces in each picture of any number, in order; for one that cannot be read, the InputError.

        Pictures are decoded in a thread and read some at a time, so memory stays bounded.
        """

        def decoded() -> Iterator[tuple[str, Pixels | InputError]]:
            for image in images:
                source = _name(image)
                try:
                    yield source, _pixels(image, source)
                except InputError as problem:
                    yield source, problem

        waiting: list[tuple[str, Pixels | InputError]] = []
        for pair in ahead(decoded()):
            waiting.append(pair)
            size = sum(pixels.nbytes for _, pixels in waiting if not isinstance(pixels, InputError))
            if len(waiting) >= PICTURES_AT_ONCE or size >= BYTES_AT_ONCE:
                yield from self._together(waiting, whole)
                waiting = []
        yield from self._together(waiting, whole)

    def _together(
        self, some: Sequence[tuple[str, Pixels | InputError]], whole: bool
    ) -> Iterator[list[Reading] | InputError]:
        good = [(source, pixels) for source, pixels in some if not isinstance(pixels, InputError)]
        read = iter(self.read_batch([pixels for _, pixels in good], whole, [source for source, _ in good]))
        for _, pixels in some:
            yield pixels if isinstance(pixels, InputError) else next(read)

    def read_found(self, found: Sequence[Sequence[CutOut]], names: Sequence[str]) -> list[list[Reading]]:
        """Return readings of faces that are found already, picture by picture; `names` are the pictures'."""
        crops = [at_size(cut_out.crop, self.recogniser.size) for faces in found for cut_out in faces]
        read = iter(self.recogniser.each(crops, ("probabilities",)))
        labels = self.recogniser.labels
        readings = []
        for source, faces in zip(names, found, strict=True):
            readings.append([])
            for number, (box, score, points, square, crop) in enumerate(faces):
                (probabilities,) = next(read)
                best = labels[int(probabilities.argmax())]
                shares = dict(zip(labels, probabilities.tolist(), strict=True))
                readings[-1].append(
                    Reading(source, number, box, score, points, square, best, shares, crop, self.artist)
                )
        return readings

    def find(self, image: Pixels, whole: bool = False) -> list[CutOut]:
        """Return the faces in uint8 RGB [height, width, 3], cut out, left to right."""
        if whole:
            height, width = image.shape[:2]
            return [CutOut((0, 0, width, height), 1.0, None, None, image)]
        return cut_outs(image, sorted(self.detector.detect(image), key=lambda face: face.box[:2]))


def cut_outs(image: Pixels, faces: Sequence[Face]) -> list[CutOut]:
    """Cut faces out of uint8 RGB [height, width, 3], in the order given."""
    height, width = image.shape[:2]
    squares = [frame(face) for face in faces]
    return [
        CutOut(_inside(face.box, width, height), face.score, face.points, square, cut(image, square))
        for face, square in zip(faces, squares, strict=True)
    ]


@lru_cache(maxsize=1)
def _shipped() -> Reader:
    return Reader()


def read(image: Picture, whole: bool = False) -> list[Reading]:
    """Read the faces in a picture with the shipped weights: see `Reader.read`."""
    return _shipped().read(image, whole)


def _pixels(image: Picture, source: str) -> Pixels:
    if isinstance(image, np.ndarray):
        return images.from_array(image, source)
    if isinstance(image, Image.Image):
        return images.from_array(images.as_rgb(image), source)
    if not isinstance(image, (str, Path)):
        return images.decode(image, source)
    try:
        with Path(image).open("rb") as file:
            return images.decode(file, source)
    except OSError as problem:
        raise InputError(f"{image} cannot be opened: {problem.strerror}") from problem


def _name(image: Picture) -> str:
    """Return a name to call a picture by."""
    if isinstance(image, (str, Path)):
        return str(image)
    name = getattr(image, "filename", None) or getattr(image, "name", None)
    return name if isinstance(name, str) else "the picture"


def _inside(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a box that is in the picture, in whole pixels."""
    left, top = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
    return left, top, max(right - left, 1), max(bottom - top, 1)

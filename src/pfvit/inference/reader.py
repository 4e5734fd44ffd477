"""A picture -> the faces in it, each with what is read in it (`pfvit.inference.reading`). Needs no torch."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pfvit.config.checks import MOST_THREADS, typed
from pfvit.config.inference import Look
from pfvit.data.images import Metadata, Photo, Pixels, at_size
from pfvit.data.pictures import Item, Picture, load, name_of
from pfvit.detection.alignment import Frame, checked, cut, frame
from pfvit.detection.base import Detector, Face
from pfvit.detection.detector import LibFaceDetection
from pfvit.errors import InputError, PictureError, UsageError
from pfvit.inference import network
from pfvit.inference.generator import FaceGenerator
from pfvit.inference.reading import Reading
from pfvit.utils.cores import cores
from pfvit.utils.prefetch import gather, prefetch, thread_map
from pfvit.utils.text import utf8

__all__ = ["FaceCrop", "Item", "Picture", "Reader", "Reading", "Result", "crop_faces", "read"]

#: Pictures are gathered until they are so many, or take so many bytes, and their faces are then recognised together.
PICTURES_AT_ONCE = 32
BYTES_AT_ONCE = 32_000_000


class FaceCrop(NamedTuple):
    """A face found in a picture, cut out."""

    box: tuple[int, int, int, int]
    """Left, top, width and height in pixels of the picture, inside it."""
    score: float
    """How sure the detector is, from 0 to 1."""
    landmarks: NDArray | None
    """float64 [5, 2]: x and y of the eyes, nose and mouth corners; None if the detector does not find them."""
    frame: Frame | None
    """Which square of the picture was cut out; None where the whole picture is the face."""
    crop: Pixels
    """uint8 [height, width, 3], upright."""
    picture_size: tuple[int, int]
    """Width and height of the picture."""


class Result(NamedTuple):
    """The faces in one picture, or why it could not be read."""

    source: str
    """Name of the picture."""
    image: Pixels | None
    """uint8 [height, width, 3], RGB, upright; None if it could not be decoded."""
    faces: list[Reading]
    """Left to right; empty if there are none, or if it could not be read."""
    problem: InputError | None = None
    """Why it could not be read; None if it was."""
    metadata: Metadata = Metadata()
    """What the picture's file says besides its pixels."""
    key: Any = None
    """The `key` of its Item."""

    def __repr__(self) -> str:
        """Return it without the pixels, of which a notebook would show some forty lines."""
        problem = "" if self.problem is None else f", problem={self.problem!r}"
        return f"Result(source={self.source!r}, faces={self.faces!r}{problem})"


class _Found(NamedTuple):
    """A decoded picture and the faces found in it, not recognised yet."""

    item: Item
    photo: Photo | None
    faces: list[FaceCrop]
    problem: InputError | None = None

    @property
    def bytes(self) -> int:
        return 0 if self.photo is None else self.photo.pixels.nbytes


class Reader:
    """Reads faces in pictures. Keep one for many pictures, as opening the weights takes longer than a picture.

    `with` closes the weights at the end. A reader can be pickled, for instance to use it in other processes, where it
    opens the same files again.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        detector: Detector | None = None,
        threads: int | None = None,
        providers: Sequence[str] = (),
        look: Look = "normal",
    ) -> None:
        """Open a recogniser (the shipped one if `weights` is not given) with `threads` CPU threads (all cores if not).

        `providers` name the hardware to run on, first choice first: cpu (the default), cuda, coreml, directml or
        openvino; the installed onnxruntime must support it. `look` says how thoroughly to search for faces: quick,
        normal or thorough (`pfvit.detection.detector`); a given `detector` ignores it. InputError for hardware that
        cannot be used, and for weights that cannot be read.
        """
        threads = typed("threads", threads, int | None)
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise UsageError(f"threads must be from 1 to {MOST_THREADS}, not {threads}")
        if detector is not None and not hasattr(detector, "detect"):
            raise UsageError(f"a detector has a method detect (pfvit.detection.base.Detector): {detector!r} has none")
        path = None if weights is None else Path(weights)
        self.recogniser = network.open_answering(path, threads, providers)
        self.generator = FaceGenerator(self.recogniser, threads, providers)
        self._detector = LibFaceDetection(look=look) if detector is None else detector
        self.threads = threads or cores()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        vars(self).pop("recogniser", None)
        vars(self).pop("generator", None)

    def __getattr__(self, name: str) -> Any:
        if name in ("recogniser", "generator"):
            raise UsageError("this Reader is closed: read inside its `with`, or use it without one")
        raise AttributeError(f"Reader has no attribute {name}")

    @property
    def detector(self) -> Detector:
        """The detector in use."""
        return self._detector

    def read(self, image: Picture, whole: bool = False, source: str | None = None) -> list[Reading]:
        """Return the faces in one picture, left to right; an empty list if there are none.

        The picture is a path, bytes (bytearray, memoryview), an open file of any picture format, a Pillow image, or a
        uint8 array [height, width, 3] in RGB, or anything that numpy converts to one, such as a tensor. OpenCV's arrays
        are BGR: pass `image[:, :, ::-1]`. `whole` treats the picture as one cropped face, without detection. `source`
        is the name to report it under. PictureError if it cannot be read.
        """
        return self.read_batch([image], whole, None if source is None else [source])[0]

    def read_batch(
        self, images: Iterable[Picture], whole: bool = False, sources: Sequence[str] | None = None
    ) -> list[list[Reading]]:
        """Return the faces in each picture of a list that fits in memory; PictureError at the first unreadable one.
        `stream` and `read_each` take any number of pictures, and continue after an error."""
        images, whole = list(_several(images)), typed("whole", whole, bool)
        names = [name_of(image) for image in images] if sources is None else list(map(str, sources))
        if len(names) != len(images):
            raise UsageError(f"there are {len(images)} pictures and {len(names)} sources: give one for each")
        found = [self.find(load(image, name).pixels, whole) for image, name in zip(images, names, strict=True)]
        return self.read_found(found, names)

    def read_each(self, images: Iterable[Picture], whole: bool = False) -> Iterator[list[Reading] | InputError]:
        """Yield the faces in each of any number of pictures, in order, or the InputError if one cannot be read."""
        for result in self.stream(images, whole):
            yield result.faces if result.problem is None else result.problem

    def stream(self, pictures: Iterable[Picture | Item], whole: bool = False) -> Iterator[Result]:
        """Yield a Result for each of any number of pictures, in order.

        Threads on all cores decode pictures and detect faces a few pictures ahead, and faces of several pictures are
        recognised in a batch; memory stays bounded. Your own detector runs in one thread, unless it has a true
        attribute `thread_safe`. If a picture cannot be read, its Result has the `problem`, and the next ones follow. An
        Item gives a picture a name and a key. Raises InputError only for problems that concern all pictures, such as a
        missing detector.
        """
        pictures, whole = _several(pictures), typed("whole", whole, bool)
        many = not whole and getattr(self.detector, "thread_safe", False)
        found = thread_map(partial(self._found, whole=whole), prefetch(pictures), self.threads if many else 1)
        for some in gather(found, PICTURES_AT_ONCE, BYTES_AT_ONCE, lambda one: one.bytes):
            yield from self._together(some)

    def _together(self, some: Sequence["_Found"]) -> Iterator[Result]:
        read = self._try_to_read([one.faces for one in some], [one.item.source for one in some])
        for (item, photo, _, problem), readings in zip(some, read, strict=True):
            pixels, metadata = (None, Metadata()) if photo is None else photo
            if isinstance(readings, InputError):
                readings, problem = [], readings
            yield Result(item.source, pixels, readings, problem, metadata, item.key)

    def _found(self, picture: Picture | Item, whole: bool) -> "_Found":
        """Decode one picture and find its faces; what is wrong with this picture alone is its problem."""
        item = picture if isinstance(picture, Item) else Item(utf8(name_of(picture)), picture)
        photo = None
        try:
            if isinstance(item.picture, InputError):
                raise item.picture
            photo = load(item.picture, item.name or item.source)
            return _Found(item, photo, self.find(photo.pixels, whole))
        except PictureError as problem:
            return _Found(item, photo, [], problem)
        except InputError:
            raise
        except Exception as problem:
            return _Found(item, photo, [], _failed(item.name or item.source, problem))

    def _try_to_read(
        self, found: Sequence[Sequence[FaceCrop]], names: Sequence[str]
    ) -> Sequence[list[Reading] | InputError]:
        """Recognise faces together; if that fails, picture by picture, so that one harms no other."""
        try:
            return self.read_found(found, names)
        except InputError:
            raise
        except Exception as problem:
            if len(found) == 1:
                return [_failed(names[0], problem)]
            return [self._try_to_read([faces], [name])[0] for faces, name in zip(found, names, strict=True)]

    def read_found(self, found: Sequence[Sequence[FaceCrop]], names: Sequence[str]) -> list[list[Reading]]:
        """Return the readings of detected faces, picture by picture; `names` are the names of the pictures."""
        crops = [at_size(face.crop, self.recogniser.size) for faces in found for face in faces]
        answers, reliable = self.recogniser.answers(crops)
        read = iter(zip(answers, [None] * len(crops) if reliable is None else reliable.tolist(), strict=True))
        labels = self.recogniser.labels
        readings = []
        for source, faces in zip(names, found, strict=True):
            source = utf8(source)
            readings.append([])
            for number, (box, score, landmarks, square, crop, size) in enumerate(faces):
                probabilities, reliability = next(read)
                best = labels[int(probabilities.argmax())]
                shares = dict(zip(labels, probabilities.tolist(), strict=True))
                known = (source, number, box, score, landmarks, square, best, shares, crop, self.generator, size)
                readings[-1].append(Reading(*known, reliability=reliability))
        return readings

    def find(self, image: Pixels, whole: bool = False) -> list[FaceCrop]:
        """Return the faces in uint8 RGB [height, width, 3], cut out, left to right."""
        if typed("whole", whole, bool):
            height, width = image.shape[:2]
            crop = image.copy()  # poker faces are made of it later, and a caller's array may hold another picture then
            return [FaceCrop((0, 0, width, height), 1.0, None, None, crop, (width, height))]
        return crop_faces(image, sorted(self.detect(image), key=lambda face: face.box[:2]))

    def detect(self, image: Pixels) -> list[Face]:
        """Return what the detector finds in uint8 RGB [height, width, 3]; PictureError if your own gives what cannot be
        a face."""
        faces = self.detector.detect(image)
        return faces if isinstance(self.detector, LibFaceDetection) else [checked(face, image.shape) for face in faces]


def crop_faces(image: Pixels, faces: Sequence[Face]) -> list[FaceCrop]:
    """Cut faces out of uint8 RGB [height, width, 3], in the order given."""
    height, width = image.shape[:2]
    frames = [frame(face) for face in faces]
    boxes = [_inside(face.box, width, height) for face in faces]
    scores = [float(face.score) for face in faces]  # a detector may give NumPy's, which JSON does not take
    return [
        FaceCrop(box, score, face.points, square, cut(image, square), (width, height))
        for face, square, box, score in zip(faces, frames, boxes, scores, strict=True)
    ]


def _several(pictures: Iterable[Any]) -> Iterable[Any]:
    """Return what should be several pictures; UsageError for one, whose letters, lines or pixels would be read."""
    shape = getattr(pictures, "shape", ())  # of an array, a tensor
    rows = isinstance(shape, tuple) and len(shape) == 3 and shape[-1] in (3, 4)
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind not in "OU":  # which may hold paths
        rows |= pictures.ndim < 3
    one = isinstance(pictures, (str, bytes, bytearray, memoryview)) or hasattr(pictures, "read")
    if rows or one or not isinstance(pictures, Iterable):
        raise UsageError(f"give several pictures, as in [picture], not one {type(pictures).__name__}; `read` takes one")
    return pictures


@lru_cache(maxsize=1)
def _shipped() -> Reader:
    return Reader()


def read(image: Picture, whole: bool = False) -> list[Reading]:
    """Return the faces in one picture, left to right, read with the weights that ship; an empty list if there are none.

    The picture is a path, bytes, an open file, a Pillow image, or a uint8 array [height, width, 3] in RGB, or anything
    that numpy makes one of. OpenCV's arrays are BGR: give `image[:, :, ::-1]`. `whole` takes the picture as one face
    that is already cropped. PictureError if it cannot be read.

    The weights are opened at the first call, and kept. `Reader` has further settings, and reads many pictures.
    """
    return _shipped().read(image, whole)


def _failed(name: str, problem: Exception) -> PictureError:
    return PictureError(f"{name} cannot be read: {type(problem).__name__}: {problem}")


def _inside(box: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a box that is in the picture, in whole pixels."""
    left, top = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    right, bottom = min(round(box[0] + box[2]), width), min(round(box[1] + box[3]), height)
    return left, top, max(right - left, 1), max(bottom - top, 1)

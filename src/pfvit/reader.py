"""A picture -> the faces in it, each with its emotion and, when asked for, its poker face. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit import weights as weight_files
from pfvit.data import pictures
from pfvit.data.faces import Detector, LibFaceDetection, cut, frame
from pfvit.data.pictures import Pixels
from pfvit.errors import InputError

Picture = str | Path | bytes | BinaryIO | Image.Image | np.ndarray
#: Larger crops are shrunk before the recogniser, whose first step needs 12 bytes per pixel.
LARGEST_CROP = 512


class CutOut(NamedTuple):
    """A face found in a picture."""

    box: tuple[int, int, int, int]
    score: float
    crop: Pixels


class Artist:
    """Draws faces from what the recogniser found in them; the generator is loaded when first needed."""

    def __init__(self, recogniser: weight_files.Network, threads: int | None):
        self.recogniser, self.threads = recogniser, threads

    @cached_property
    def generator(self) -> weight_files.Network:
        """The generator that was trained with the recogniser; InputError if it is not beside it."""
        return weight_files.open_generator(self.recogniser, self.threads)

    def draw(self, emotion: np.ndarray, residue: np.ndarray, strength: float) -> NDArray[np.float32]:
        """Return faces, float32 [batch, size, size, channels] in [0, 1], of components [batch, tokens, width]."""
        share = np.full(len(emotion), strength, dtype=np.float32)
        return self.generator.run(emotion=emotion, residue=residue, strength=share)["face"]


@dataclass(frozen=True, eq=False)
class Reading:
    """One face in a picture, and what is read in it."""

    source: str
    """Where the picture comes from, as it was named."""
    face: int
    """Which of the picture's faces, from 0, left to right."""
    box: tuple[int, int, int, int]
    """Left, top, width and height of the face in pixels of the picture."""
    score: float
    """How sure the detector is that this is a face, from 0 to 1."""
    emotion: str
    """The most probable emotion."""
    probabilities: dict[str, float]
    """Of every emotion; they sum to 1."""
    crop: Pixels = field(repr=False)
    """uint8 [height, width, 3]: the face as it was cut out, upright."""
    components: tuple[np.ndarray, np.ndarray] = field(repr=False)
    """The emotional component and the residue, float32 [tokens, width] each."""
    artist: Artist = field(repr=False)
    drawings: dict[float, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    """What the generator has drawn so far, by strength."""

    def poker_face(self, strength: float = 1.0) -> Pixels:
        """Return the crop with this share (0 to 1) of its expression taken off, uint8 [height, width, 3].

        Resolution and colour are the crop's own: see `carry_over`. Strength 0 returns the crop itself.
        """
        _check_strength(strength)
        if strength == 0:
            return self.crop.copy()
        change = self._drawn(float(strength)) - self._drawn(0.0)
        return carry_over(self.crop, change, self.artist.generator.emphasis)

    def drawn(self, strength: float) -> Pixels:
        """Return the face as the generator itself draws it, small: uint8 [size, size, 3]."""
        _check_strength(strength)
        face = np.rint(self._drawn(float(strength)) * 255).astype(np.uint8)
        return np.repeat(face, 3 // face.shape[2], axis=2)

    @property
    def reconstruction(self) -> Pixels:
        """The face drawn with its expression, uint8 [size, size, 3]: what the model saw of it."""
        return self.drawn(0.0)

    @property
    def expression_map(self) -> NDArray[np.float32]:
        """Where taking the expression off changes the face: float32 [size, size], 0 unchanged, 1 black to white."""
        return np.abs(self._drawn(1.0) - self._drawn(0.0)).mean(axis=2)

    def to_dict(self) -> dict[str, object]:
        """Return what `pfvit predict --json` prints: source, face, box, emotion, probabilities."""
        return {
            "source": self.source,
            "face": self.face,
            "box": list(self.box),
            "emotion": self.emotion,
            "probabilities": {name: round(share, 6) for name, share in self.probabilities.items()},
        }

    def _drawn(self, strength: float) -> NDArray[np.float32]:
        if strength not in self.drawings:
            emotion, residue = self.components
            self.drawings[strength] = self.artist.draw(emotion[None], residue[None], strength)[0]
        return self.drawings[strength]


def carry_over(crop: Pixels, change: NDArray[np.float32], emphasis: float = 1.0) -> Pixels:
    """Add a small picture of changes to a large one: carry the change over, not the picture.

    The model draws small faces, and gray ones if it was trained on gray. What it *changes* from the reconstruction
    to the poker face, float32 [size, size, channels] in [-1, 1], is smooth; enlarged (bicubic) and added to the crop
    it moves the expression and leaves skin, hair, colour and resolution as they were. A gray change is added to
    red, green and blue alike, which is a change of luma alone. No change gives back the crop, exactly. A generator is
    cautious, as its losses are means: `emphasis` multiplies its change.
    """
    height, width = crop.shape[:2]
    layers = [Image.fromarray(np.ascontiguousarray(change[:, :, c])) for c in range(change.shape[2])]
    large = [np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC)) for layer in layers]
    moved = crop + np.stack(large, axis=2) * np.float32(255 * emphasis)
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


class Reader:
    """Reads faces in pictures: keep one for many pictures, as opening the weights costs more than a picture."""

    def __init__(
        self, weights: str | Path | None = None, detector: Detector | None = None, threads: int | None = None
    ) -> None:
        """Open a recogniser (the shipped one if not given); `threads` are all cores if not given.

        InputError for weights that cannot be read; the detector is looked for when first needed.
        """
        if threads is not None and threads < 1:
            raise InputError(f"threads must be 1 or more, not {threads}", status=2)
        self.recogniser = weight_files.open_recogniser(None if weights is None else Path(weights), threads)
        self.artist = Artist(self.recogniser, threads)
        self._detector = detector

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
        read = iter(self.recogniser.each([_shrunk(cut_out.crop) for faces in found for cut_out in faces]))
        labels = self.recogniser.labels
        readings = []
        for source, faces in zip(names, found, strict=True):
            readings.append([])
            for number, (box, score, crop) in enumerate(faces):
                probabilities, emotion, residue = itemgetter("probabilities", "emotion", "residue")(next(read))
                best = labels[int(probabilities.argmax())]
                shares = dict(zip(labels, probabilities.tolist(), strict=True))
                readings[-1].append(
                    Reading(source, number, box, score, best, shares, crop, (emotion, residue), self.artist)
                )
        return readings

    def find(self, image: Pixels, whole: bool = False) -> list[CutOut]:
        """Return the faces in uint8 RGB [height, width, 3], cut out, left to right."""
        height, width = image.shape[:2]
        if whole:
            return [CutOut((0, 0, width, height), 1.0, image)]
        faces = sorted(self.detector.detect(image), key=lambda face: face.box[:2])
        return [CutOut(_inside(face.box, width, height), face.score, cut(image, frame(face))) for face in faces]


@lru_cache(maxsize=1)
def _shipped() -> Reader:
    return Reader()


def read(image: Picture, whole: bool = False) -> list[Reading]:
    """Read the faces in a picture with the shipped weights: see `Reader.read`."""
    return _shipped().read(image, whole)


def _pixels(image: Picture, source: str) -> Pixels:
    if isinstance(image, np.ndarray):
        return pictures.from_array(image, source)
    if isinstance(image, Image.Image):
        return pictures.from_array(pictures.as_rgb(image), source)
    if not isinstance(image, (str, Path)):
        return pictures.decode(image, source)
    try:
        with Path(image).open("rb") as file:
            return pictures.decode(file, source)
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


def _shrunk(crop: Pixels) -> Pixels:
    longer = max(crop.shape[:2])
    if longer <= LARGEST_CROP:
        return crop
    height, width = (max(1, round(side * LARGEST_CROP / longer)) for side in crop.shape[:2])
    return np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise InputError(f"strength must be from 0 to 1, not {strength}", status=2)

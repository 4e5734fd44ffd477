"""What is read in a face: its emotion and, when asked for, the face with less of it. Needs no torch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.data.pictures import Picture, load
from pfvit.detection.alignment import POINTS, Frame
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError, UsageError
from pfvit.inference.affect import Affect, affect_of
from pfvit.inference.drawn_change import drawn_change, neutral_damping
from pfvit.inference.face_change import FaceChange, movement_change
from pfvit.inference.face_edit import apply_change, paste_into
from pfvit.inference.generator import FaceGenerator, change_of, with_skin
from pfvit.inference.movement import Movement, measure_movement
from pfvit.inference.unsure import unsure
from pfvit.rendering import annotated, heat_over, panels

#: In the expression map a movement of so many eye distances, or so much light, counts as 1.
FULL_MOVE, FULL_LIGHT = 0.1, 0.25
#: The distance between the pupils in a crop, as a share of its side.
EYE_DISTANCE = float(POINTS[1, 0] - POINTS[0, 0])


@dataclass(frozen=True, eq=False)
class Reading:
    """One face in a picture, with everything found for it."""

    source: str
    """Name of the picture, as it was given."""
    face: int
    """Which of the picture's faces, from 0, left to right."""
    box: tuple[int, int, int, int]
    """Left, top, width and height of the face in pixels of the picture."""
    score: float
    """How sure the detector is that this is a face, from 0 to 1."""
    landmarks: NDArray[np.float64] | None = field(repr=False)
    """[5, 2]: x and y of the eyes, nose and mouth corners in pixels of the picture, each pair from left to right as
    seen; None if the detector does not find them, or with `whole`."""
    frame: Frame | None = field(repr=False)
    """The square of the picture that was cut out: centre, side, roll; None with `whole`."""
    emotion: str
    """The most probable emotion."""
    probabilities: dict[str, float]
    """The probability of every emotion; they sum to 1."""
    crop: Pixels = field(repr=False)
    """uint8 [height, width, 3]: the face as it was cut out, upright."""
    generator: FaceGenerator = field(repr=False)
    picture_size: tuple[int, int] = field(repr=False)
    """Width and height of the picture."""
    drawings: dict[float, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    """What the generator has drawn so far, by strength."""
    reliability: float | None = field(default=None, kw_only=True)
    """Estimated probability that the emotion is right, from 0 to 1; low for unusual crops, as with a covered mouth.
    None for weight files without an estimate."""
    maps: list[tuple[NDArray[np.float32], float]] = field(default_factory=list, repr=False)
    """The photo model's maps and how far they can be trusted, once they are known; an empty list before."""

    @cached_property
    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """The emotional component and the residue, float32 [tokens, width] each; computed when first needed."""
        return self.generator.components([self.crop])[0]

    @property
    def entropy(self) -> float:
        """How spread the probabilities are: 0 when one emotion is certain, 1 when all are equally probable."""
        shares = np.array([share for share in self.probabilities.values() if share > 0])
        return float(-(shares * np.log(shares)).sum() / np.log(len(self.probabilities)))

    @property
    def unsure(self) -> bool:
        """Whether the answer is unreliable: the estimated risk that it is wrong is 25% or more.

        For weight files without an estimate: the two best are within 10 points, or none reaches 40%.
        """
        return bool(unsure(np.array(list(self.probabilities.values())), self.reliability))

    @property
    def embedding(self) -> NDArray[np.float32]:
        """A feature vector, float32 [2 * width]: class token and mean patch token of emotion plus residue."""
        whole = self.components[0] + self.components[1]
        return np.concatenate([whole[0], whole[1:].mean(0)])

    def poker_face(self, strength: float = 1.0) -> Pixels:
        """Return the crop with this share of its expression removed, uint8 [height, width, 3].

        A `strength` of 1 gives the poker face, 0 the crop itself, negative values to -1 exaggerate. Resolution
        and colour are the crop's own: its pixels are moved, not painted (`pfvit.inference.face_edit`).
        """
        _check_strength(strength)
        return self.crop.copy() if strength == 0 else apply_change(self.crop, self.change(strength))

    def paste_back(self, photo: Picture, strength: float = 1.0) -> Pixels:
        """Return a copy of the photo, uint8 [height, width, 3], with this share of this face's expression removed.

        The photo is the one that was read, in any form that `Reader.read` takes, or the result of pasting back another
        of its faces. InputError if it has another size, and so is another photo.
        """
        _check_strength(strength)
        pixels = load(photo).pixels
        self._check_photo(pixels)
        pixels = pixels.copy()
        self.paste_into(pixels, strength)
        return pixels

    def _check_photo(self, pixels: Pixels) -> None:
        """InputError if this face was read in a picture of another size."""
        high, wide = pixels.shape[:2]
        if (wide, high) != self.picture_size:
            own = "{} x {}".format(*self.picture_size)
            raise InputError(f"the photo has {wide} x {high} pixels, and this face was read in {own}: give that photo")

    def paste_into(self, pixels: Pixels, strength: float = 1.0) -> None:
        """Do as `paste_back`, but in place, in the photo's pixels, uint8 [height, width, 3]."""
        if strength != 0:
            paste_into(pixels, self.change(strength), self.frame)

    put_back = paste_back  # its name until version 0.2

    @property
    def points(self) -> NDArray[np.float64] | None:
        """The landmarks, by their name until version 0.2."""
        return self.landmarks

    @property
    def square(self) -> Frame | None:
        """The frame, by its name until version 0.2."""
        return self.frame

    def drawn(self, strength: float) -> Pixels:
        """Return the face as the generator draws it at its own small size: uint8 [size, size, 3]."""
        _check_strength(strength)
        drawn = self.generator.draw_photo(self.crop, strength) if self._moves else self.draw(strength)
        face = np.rint(drawn * 255).astype(np.uint8)
        return np.repeat(face, 3 // face.shape[2], axis=2)

    @property
    def reconstruction(self) -> Pixels:
        """The face as the generator draws it with its expression, uint8 [size, size, 3]."""
        return self.drawn(0.0)

    @property
    def expression_map(self) -> NDArray[np.float32]:
        """Where the expression is: float32 [size, size] over the crop, from 0 to 1.

        It is 1 where the face has to move by a tenth of the distance between the eyes or more to become its poker face,
        or to change its brightness by a quarter of the range. The map of a calm face is near 0.
        """
        if not self._moves:
            light = np.abs(self.draw(1.0) - self.draw(0.0)).mean(axis=2)
            return np.minimum(light / FULL_LIGHT, 1)
        return map_of(self._moved)

    @cached_property
    def movement(self) -> Movement | None:
        """How far each region of this face is from its place in the poker face; None without a photo model.

        The values are signed shares of the distance between the eyes; see `pfvit.inference.movement`. The rule that
        eases brows is left out: it goes by the probabilities, and not by where this face's brows are.
        """
        if not self._moves:
            return None
        corners = None
        if self.landmarks is not None and self.frame is not None:
            turn = np.exp(-1j * self.frame.roll) / self.frame.side
            place = ((self.landmarks[3:5] - [self.frame.x, self.frame.y]) @ [1, 1j]) * turn
            corners = np.stack([place.real, place.imag], axis=1) + 0.5
        return measure_movement(movement_change(self._maps[0]), corners)

    @property
    def affect(self) -> Affect | None:
        """An index of valence and arousal, -1 to 1 each, from the probabilities; None for other labels.

        It is not a measurement: see `pfvit.inference.affect`.
        """
        return affect_of(self.probabilities)

    def to_dict(self, movement: bool = False, affect: bool = False) -> dict[str, object]:
        """Return what `pfvit predict --json` prints, as plain numbers and text.

        `movement` adds `movement`: {region: share of the distance between the eyes}, or None without a photo model.
        `affect` adds `valence` and `arousal`, from -1 to 1; None for other emotions.
        """
        more: dict[str, object] = {}
        if affect:
            index = self.affect
            more |= dict.fromkeys(Affect._fields) if index is None else _rounded(index._asdict())
        if movement:
            more["movement"] = None if self.movement is None else _rounded(self.movement._asdict())
        return {
            "source": self.source,
            "face": self.face,
            "box": list(self.box),
            "score": round(self.score, 4),
            "landmarks": None if self.landmarks is None else np.round(self.landmarks, 1).tolist(),
            "emotion": self.emotion,
            "unsure": self.unsure,
            "entropy": round(self.entropy, 4),
            "probabilities": {name: round(share, 6) for name, share in self.probabilities.items()},
            **more,
        }

    def to_pil(self) -> Image.Image:
        """Return everything in one picture: face, reconstruction, poker face, expression map, probabilities."""
        shown = [
            (Image.fromarray(self.crop), "face"),
            (Image.fromarray(self.reconstruction), "reconstruction"),
            (Image.fromarray(self.poker_face()), "poker face"),
            (heat_over(self.crop, self.expression_map), "expression map"),
        ]
        return panels(shown, self.probabilities, self.emotion)

    def _repr_png_(self) -> bytes:
        """Show `to_pil` in notebooks."""
        file = io.BytesIO()
        self.to_pil().save(file, "PNG")
        return file.getvalue()

    @property
    def trust(self) -> float:
        """How far the movement of this face can be trusted, from 0 to 1; the change of the face is scaled with it.

        It is low if the photo model disagrees about a face and its mirror image, as for heads that are turned away,
        covered mouths, and things that are not faces, and if a wide mouth would not close. 1 without a photo model.
        """
        return self._maps[1] if self._moves else 1.0

    def change(self, strength: float = 1.0) -> FaceChange:
        """Return how this share of the expression's removal changes the crop, to be applied to it or to the photo."""
        if self._moves:
            return with_skin(self.crop, self._moved, self.probabilities, self.trust).times(strength)
        self.generator.check_neutral()
        before, after = self.draw(0.0), self.draw(strength)
        change = drawn_change(self.crop, before, after, self.generator.small_generator.emphasis)
        return change.times(neutral_damping(self.probabilities[NEUTRAL]))

    @property
    def _moved(self) -> FaceChange:
        """How the photo model changes the crop, without what is done about its skin."""
        return change_of(self.crop, *self._maps, self.probabilities)

    @property
    def _neutral(self) -> float:
        """The recogniser's probability of neutral; 1 if it knows no such class."""
        return self.probabilities.get(NEUTRAL, 1.0)

    @property
    def _moves(self) -> bool:
        return self.generator.moves

    @property
    def _maps(self) -> tuple[NDArray[np.float32], float]:
        if not self.maps:
            self.maps.extend(self.generator.careful_maps([self.crop], [self._neutral]))
        return self.maps[0]

    def draw(self, strength: float) -> NDArray[np.float32]:
        """Return the face as the generator draws it, float32 [size, size, channels] in [0, 1]; drawn only once."""
        strength = float(strength)
        if strength not in self.drawings:
            emotion, residue = self.components
            self.drawings[strength] = self.generator.generate(emotion[None], residue[None], strength)[0]
        return self.drawings[strength]


def map_of(change: FaceChange) -> NDArray[np.float32]:
    """Return where the photo model's change moves or lights a face, as `Reading.expression_map` does."""
    above = (change.height > 0)[..., None]
    flow = change.base + np.where(above, change.split, -change.split)
    moved = np.hypot(flow[..., 0], flow[..., 1]) / (EYE_DISTANCE * FULL_MOVE)
    return np.minimum(np.maximum(moved, np.abs(change.light).max(axis=2) / FULL_LIGHT), 1)


def annotate(photo: Picture, faces: Sequence[Reading]) -> Image.Image:
    """Return a copy of a photo with a box around each face, its emotion and probability, and `?` if it is unsure.

    The photo is the one that was read, in any form that `Reader.read` takes, or another one of its size. UsageError for
    a single face: give a list. InputError for a photo of another size, in which the boxes would lie elsewhere.
    """
    if isinstance(faces, Reading):
        raise UsageError("give several faces, as in [face], not one")
    pixels, faces = load(photo).pixels, list(faces)
    for face in faces:
        face._check_photo(pixels)
    return annotated(pixels, faces)


def prepare(readings: Sequence[Reading], strength: float) -> None:
    """Predict many faces' changes at once, which is faster than one by one when each is asked for."""
    moved = [reading for reading in readings if reading.generator.moves and not reading.maps]
    if moved:
        crops, neutral = [reading.crop for reading in moved], [reading._neutral for reading in moved]
        found = moved[0].generator.careful_maps(crops, neutral)
        for reading, maps in zip(moved, found, strict=True):
            reading.maps[:] = [maps]
    drawn = [reading for reading in readings if not reading.generator.moves]
    if drawn and strength:
        generator = drawn[0].generator
        parts = generator.components([reading.crop for reading in drawn])
        emotion, residue = map(np.stack, zip(*parts, strict=True))
        for share in (0.0, float(strength)):
            for reading, face in zip(drawn, generator.generate(emotion, residue, share), strict=True):
                reading.drawings[share] = face


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) + 0.0 for name, value in values.items()}  # which turns -0.0 into 0.0


def _check_strength(strength: float) -> None:
    try:
        fits = bool(-1 <= strength <= 1)
    except (TypeError, ValueError):  # text, None, a list, an array of several
        fits = False
    if not fits:
        raise InputError(f"strength must be from -1 to 1, not {strength!r}", status=2)

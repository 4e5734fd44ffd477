"""Make faces with less of their expression: by the photo model, or by the small generator if there is none."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pfvit.data.contrast import contrast_of, in_good_light
from pfvit.data.images import Pixels, at_size
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError
from pfvit.inference import network
from pfvit.inference.brows import ease_brows, furrowed, soften_furrows
from pfvit.inference.face_change import FaceChange, movement_change
from pfvit.inference.face_edit import apply_change
from pfvit.inference.lip_shade import shade_lips
from pfvit.inference.skin_colour import in_colour_of_skin
from pfvit.inference.smile_folds import SIDE, soften_folds
from pfvit.inference.smile_parts import keep_still

#: Gray crops up to this side, as FER2013's, get more light than the photo model asks for, which is too careful there.
SMALL_SIDE = 64
#: Faint light is multiplied by the first; light of the second, of 1 from black to white, by a third of the way from it
#: to 1, and so on: what fills a closing mouth is strong, and would glow. Chosen on training faces: docs/lab-book.md.
MORE_LIGHT, STRONG_LIGHT = 1.8, 0.15
#: A face that the recogniser calls neutral with probability 0 gets so much light.
MOST_LIGHT = 3.0
#: Below this agreement of a face's movement with its mirror image's nothing is changed, above the second all is: nine
#: frontal smiles in ten reach 0.94; pictures in which no face mesh was found have 0.67 in the middle, noise 0.8.
DISAGREE, AGREE = 0.80, 0.92
#: Flows of this size, root mean square in halves of the face's side, are noise, and those of the second a movement;
#: between them the change fades in. Of strictly neutral training faces four in five are below the second, of mildly
#: happy ones 1%: docs/lab-book.md, "Calm faces stay".
STILL, MOVING = 0.0005, 0.001
#: Lips that part by more, in halves of the face's side, are looked at again as they have closed: one look leaves wide
#: mouths a little open. Half of all clear smiles part by more.
WIDE = 0.07
#: Where a second look finds flows of more than the first, a third one decides whether the result can be believed: it
#: is, in full, if flows of no more than the second are left, and not at all from the third on. What is before the
#: mouth, as tongues, hands and microphones are, is bent and does not go: docs/lab-book.md, "Wide mouths".
MUCH_LEFT, CLOSED, NOT_CLOSED = 0.002, 0.0015, 0.0025
#: Channels of the maps that make up the flow, its split among them; the lip line and the gate; the light.
FLOW, SPLIT, LINE, LIGHT = slice(0, 4), slice(2, 4), slice(4, 6), slice(6, 9)
CALM: Mapping[str, float] = {NEUTRAL: 1.0}


class FaceGenerator:
    """Opens what it needs when it is first needed; one for each reader.

    There are two generators. The *photo model* (`NAME-photo.onnx` beside the recogniser) predicts how a face has to
    move to lose its expression; its own drawing (`NAME-photo-drawing.onnx`) shows what it saw. The *small generator*
    (`NAME-generator.onnx`) was trained with the recogniser and draws faces of its size from its components.
    """

    def __init__(self, recogniser: network.Network, threads: int | None = None, providers: Sequence[str] = ()):
        self.recogniser, self.threads, self.providers = recogniser, threads, providers

    @cached_property
    def encoder(self) -> network.Network:
        """The recogniser with its components, in full precision."""
        return network.open_whole(self.recogniser, self.threads, self.providers)

    @cached_property
    def small_generator(self) -> network.Network:
        """The small generator that was trained with the recogniser; InputError if it is not beside it."""
        return network.open_generator(self.recogniser, self.threads, self.providers)

    @cached_property
    def photo(self) -> network.Network | None:
        """The photo model, or None if there is none beside the recogniser."""
        return network.open_photo(self.recogniser, self.threads, self.providers)

    @cached_property
    def photo_drawing(self) -> network.Network:
        """What draws from the photo model's components; InputError if it is not beside the photo model."""
        return network.open_photo_drawing(self.recogniser, self.threads, self.providers)

    def check(self) -> None:
        """Open what a poker face needs, so that a missing file is known before any work; InputError if one is."""
        if self.photo is None:
            _ = self.small_generator
            self.check_neutral()

    def check_neutral(self) -> None:
        """Raise InputError if the recogniser has no class neutral, by which the small generator's change fades out."""
        if NEUTRAL not in self.recogniser.labels:
            raise InputError(f"{self.recogniser.path.name} has no class {NEUTRAL}, so it makes no poker faces")

    @property
    def moves(self) -> bool:
        """Whether the photo model moves the faces, rather than that the small generator draws them."""
        return self.photo is not None

    def components(self, crops: Sequence[Pixels]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the recogniser's emotional component and residue of each crop, float32 [tokens, width] each."""
        found = self.encoder.each([at_size(crop, self.encoder.size) for crop in crops], ("emotion", "residue"))
        return [(emotion, residue) for emotion, residue in found]

    def generate(self, emotion: np.ndarray, residue: np.ndarray, strength: float) -> NDArray[np.float32]:
        """Return the small generator's faces, float32 [batch, size, size, channels] in [0, 1].

        Components are [batch, tokens, width]; `strength` is from 0, the reconstruction, to 1, the poker face.
        """
        share = np.full(len(emotion), strength, dtype=np.float32)
        return self.small_generator.run(emotion=emotion, residue=residue, strength=share)["face"]

    def maps(self, crops: Sequence[Pixels]) -> list[NDArray[np.float32]]:
        """Return the photo model's maps of each crop, float32 [9, 56, 56]: `pfvit.inference.face_change.MAPS`."""
        return [maps for (maps,) in self._photo_each(crops, ("maps",), in_good_light)]

    def careful_maps(
        self, crops: Sequence[Pixels], neutral: Sequence[float] | None = None
    ) -> list[tuple[NDArray[np.float32], float]]:
        """Return each crop's maps averaged with those of its mirror image, and how far to trust them, from 0 to 1.

        Where a face is turned away, covered or no face at all, the two disagree. A calm face has maps of nothing.
        `neutral` is what the recogniser gives each crop for neutral. With it, small gray faces and wide mouths are
        looked at again as they have become: what is left of their expression is added, by as much as they were not
        neutral. Mouths that do not close are not trusted.
        """
        found = [(maps, trust_of(agreement)) for maps, agreement in self._both_ways(crops)]
        if neutral is None:
            return found
        again = [k for k, crop in enumerate(crops) if is_small_and_gray(crop) or is_wide(found[k][0])]
        left = self._left(crops, found, again)
        for k, (more, _) in left.items():
            maps, trust = found[k]
            more = np.float32(1 - neutral[k]) * more
            more[LINE] = 0  # the line of the closed lips stays
            found[k] = (maps + more).astype(np.float32, copy=False), trust
        doubtful = [k for k, one in left.items() if size_of(*one) > MUCH_LEFT and not is_small_and_gray(crops[k])]
        for k, one in self._left(crops, found, doubtful).items():
            maps, trust = found[k]
            found[k] = maps, trust * (1 - rising(size_of(*one), CLOSED, NOT_CLOSED))
        return found

    def _left(
        self, crops: Sequence[Pixels], found: Sequence[tuple[NDArray[np.float32], float]], which: Sequence[int]
    ) -> dict[int, tuple[NDArray[np.float32], float]]:
        """Return the maps of some crops as they have become, and how far those of both views agree."""
        calmer = []
        for k in which:
            crop, (maps, trust) = crops[k], found[k]
            if is_small_and_gray(crop):
                crop = in_good_light(crop)
                change = movement_change(maps).times(trust)
            else:
                crop = in_good_light(at_size(crop, SIDE))
                change = with_skin(crop, change_of(crop, maps, trust, {}), {}, trust)
            calmer.append(apply_change(crop, change))
        return dict(zip(which, self._both_ways(calmer), strict=True)) if calmer else {}

    def _both_ways(self, crops: Sequence[Pixels]) -> list[tuple[NDArray[np.float32], float]]:
        both = self.maps([view for crop in crops for view in (crop, crop[:, ::-1])])
        pairs = zip(both[::2], map(mirrored, both[1::2]), strict=True)
        return [together(one, other) for one, other in pairs]

    def draw_photo(self, crop: Pixels, strength: float) -> NDArray[np.float32]:
        """Return the crop as the photo model draws it, float32 [112, 112, 3] in [0, 1], with a share of its emotion."""
        ((emotion, residue),) = self._photo_each([crop], ("emotion", "residue"))
        return self.photo_drawing.run(tokens=(residue + np.float32(1 - strength) * emotion)[None])["face"][0]

    def _photo_each(
        self, crops: Sequence[Pixels], outputs: Sequence[str], lit: Callable[[Pixels], Pixels] = np.asarray
    ) -> list[tuple[np.ndarray, ...]]:
        photo = self.photo
        if photo is None:
            raise RuntimeError("there is no photo model: ask `moves` first")
        return photo.each([lit(at_size(crop, photo.size)) for crop in crops], outputs)


def change_of(crop: Pixels, maps: NDArray[np.float32], trust: float, shares: Mapping[str, float] = CALM) -> FaceChange:
    """Return how a crop, uint8 [height, width, 3], changes by its careful maps, as far as they are trusted.

    `shares` are the recogniser's probabilities, by which brows are eased (`pfvit.inference.brows`) and smiles are moved
    less where they hardly move a face (`pfvit.inference.smile_parts`). Small gray faces move in full, and with little
    of neutral get more light; light on others takes the colour of their skin (`pfvit.inference.skin_colour`).
    """
    change, small = movement_change(maps), is_small_and_gray(crop)
    if not small:
        change = in_colour_of_skin(crop, keep_still(change, shares))
    change = ease_brows(change, shares)
    if small:
        light = change.light.mean(axis=2, keepdims=True)
        more = MOST_LIGHT + (MORE_LIGHT - MOST_LIGHT) * shares.get(NEUTRAL, 1.0)
        light = light * (1 + (more - 1) * np.exp(-np.abs(light) / STRONG_LIGHT)).astype(np.float32)
        change = change._replace(light=light)
    return change.times(trust)


def with_skin(crop: Pixels, change: FaceChange, shares: Mapping[str, float], trust: float) -> FaceChange:
    """Return a change of `change_of` whose light sees to the skin that moves: furrows, folds, the shade of lips.

    A dark or faint crop is seen in good light until then; the light that is added is as faint as the crop.
    """
    contrast, small = contrast_of(crop), at_size(crop, SIDE)
    small = small if contrast is None else contrast.levels[small]
    change = soften_furrows(small, change, trust * furrowed(shares))
    change = shade_lips(small, soften_folds(small, change))
    return change if contrast is None else change._replace(light=change.light / np.float32(contrast.gain))


def is_small_and_gray(crop: Pixels) -> bool:
    """Say whether a crop is like FER2013's, of which the photo model is too careful."""
    small = max(crop.shape[:2]) <= SMALL_SIDE
    return small and bool((crop[..., 0] == crop[..., 1]).all() and (crop[..., 1] == crop[..., 2]).all())


def is_wide(maps: NDArray[np.float32]) -> bool:
    """Say whether lips part so far, by the maps of a crop, that they are looked at again."""
    return bool(np.abs(maps[SPLIT]).max() > WIDE)


def size_of(maps: NDArray[np.float32], agreement: float) -> float:
    """Return the root mean square of the flow of both looks whose mean and agreement these are, in halves of a side."""
    return float(np.sqrt(np.square(maps[FLOW]).mean() * 2 / (1 + agreement)))


def trust_of(agreement: float) -> float:
    """Return the share of a change that is applied, from 0 to 1, by how far a face and its mirror image agree."""
    return rising(agreement, DISAGREE, AGREE)


def together(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return the mean of two predictions, and how far they agree; nothing is left of a mean that is noise."""
    mean = np.float32(0.5) * (one + other)
    size = float(np.sqrt(np.square(mean[FLOW]).mean()))
    return faded(mean, rising(size, STILL, MOVING)), agreement_of(one, other)


def faded(maps: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return maps with a share of their flow, split and light; the lip line stays."""
    if share == 1:
        return maps
    maps = maps.copy()
    maps[FLOW] *= np.float32(share)
    maps[LIGHT] *= np.float32(share)
    return maps


def rising(value: float, start: float, end: float) -> float:
    """Return 0 below `start`, 1 above `end`, and smoothly between them."""
    share = float(np.clip((value - start) / (end - start), 0, 1))
    return share * share * (3 - 2 * share)


def mirrored(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the maps of a face, given those of its mirror image: x points the other way."""
    turned = maps[:, :, ::-1].copy()
    turned[[0, 2]] *= -1
    return turned


def agreement_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the cosine between two predictions of flow and split, at least 0; 1 where nothing moves."""
    a, b = one[FLOW].ravel(), other[FLOW].ravel()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 if size < MOVING**2 * a.size else max(0.0, float(a @ b) / size)

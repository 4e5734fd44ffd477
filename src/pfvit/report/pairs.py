"""Pairs of photos of the same person, with an expression and neutral."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pfvit.data.images import Pixels
from pfvit.detection.alignment import cut
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading

SIDE = 320  # pixels of the pictures that are compared
#: Share of a picture's side around the crop that the recogniser sees: a detector needs the whole head.
MARGIN = 0.15
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


class Pair(NamedTuple):
    """Pictures of one person, uint8 [SIDE, SIDE, 3], cut out alike."""

    name: str
    face: Pixels
    """With the expression."""
    neutral: Pixels
    half: Pixels
    """The face with half of its expression taken off."""
    poker: Pixels


def read_pairs(folder: Path, reader: Reader) -> list[Pair]:
    """Return the pairs in a folder of photos NAME_neutral.jpg and NAME_WHATEVER.jpg; InputError if there is none."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS)
    calm = {path.stem.removesuffix(f"_{NEUTRAL}"): path for path in files if path.stem.endswith(f"_{NEUTRAL}")}
    pairs = []
    for path in files:
        name = path.stem.rpartition("_")[0]
        if name in calm and path != calm[name]:
            pairs.append(_pair(path, calm[name], reader))
    if not pairs:
        raise InputError(f"{folder} has no pair of photos: NAME_{NEUTRAL}.jpg and NAME_happiness.jpg, for instance")
    return pairs


def _pair(expressive: Path, calm: Path, reader: Reader) -> Pair:
    face, neutral = _largest(expressive, reader), _largest(calm, reader)
    return Pair(
        expressive.stem,
        _cut(face.paste_back(expressive, 0.0), face),
        _cut(neutral.paste_back(calm, 0.0), neutral),
        _cut(face.paste_back(expressive, 0.5), face),
        _cut(face.paste_back(expressive), face),
    )


def _largest(path: Path, reader: Reader) -> Reading:
    faces = reader.read(path)
    if not faces:
        raise InputError(f"{path} shows no face: take it out of the folder of --pairs")
    return max(faces, key=lambda face: face.box[2] * face.box[3])


def _cut(photo: Pixels, face: Reading) -> Pixels:
    """Return a square around a face's crop, of which the crop is the middle without MARGIN."""
    assert face.frame is not None  # faces that were found have one
    wide = face.frame._replace(side=face.frame.side / (1 - 2 * MARGIN))
    return np.asarray(Image.fromarray(cut(photo, wide)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))

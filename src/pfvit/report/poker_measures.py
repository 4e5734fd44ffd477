"""What a picture made of a face is measured by, and whether controls say that a measure is worth anything.

A blur, a cross-fade and the face of someone else look calm to many measures. They are no poker faces, so a measure that
prefers them says nothing of poker faces either.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pfvit.data.images import Pixels, at_size
from pfvit.emotions import NEUTRAL
from pfvit.evaluation.measure import features
from pfvit.inference.network import Network
from pfvit.inference.reader import Reader
from pfvit.report.explanation import REGIONS
from pfvit.report.pairs import MARGIN

Array = NDArray[np.floating]
Means = Mapping[str, float]

QUALITY = 75  # of what is re-encoded
BLURS = (1, 2, 4)  # pixels of BLUR_SIDE
BLUR_SIDE = 256
AS_IS, FADED, ANOTHER = "the face as it is", "half the mean neutral face", "another's neutral face"
ENCODED, NEUTRAL_ENCODED = f"the face, JPEG {QUALITY}", f"own neutral photo, JPEG {QUALITY}"
HALF, POKER, DRAWN = "poker face, half", "poker face", "only reconstructed"
BLURRED = tuple(f"blurred by {radius} px of {BLUR_SIDE}" for radius in BLURS)
PROBABLY, PERSON, DETAIL, MOUTH = "p(neutral)", "same person", "fine detail", "mouth width"
#: A control that is no nearer to the goal than the face as it is may seem so by this share of the way.
SLACK = 0.1
FINE = 100  # pixels of a side in which a line of one pixel is fine
SHARP = 0.8  # likeness of fine detail that a re-encoded face keeps and a blurred one does not


class Case(NamedTuple):
    """An expressive face, and what it is compared with; pictures of one size."""

    pictures: Mapping[str, Pixels]
    """By kind, controls first."""
    reference: Pixels
    """What poker faces are to be like: the person's own neutral photo, or the face itself."""


class Judge(NamedTuple):
    """The networks that measure, and the mean residue [width], which is taken off before residues are compared."""

    recogniser: Network
    encoder: Network
    mean: Array


def measure(cases: Sequence[Case], judge: Judge, reader: Reader | None) -> dict[str, Array]:
    """Return each measure of each picture, [cases, kinds]; mouths by the detector of `reader`, if one is given.

    Cases in which the detector does not find the face in every picture are left out of that measure.
    """
    calm = judge.recogniser.labels.index(NEUTRAL) if NEUTRAL in judge.recogniser.labels else None
    margin = MARGIN if reader else 0.0
    inner = [[middle(picture, margin) for picture in case.pictures.values()] for case in cases]
    flat = [picture for row in inner for picture in row]
    shape = len(cases), len(inner[0])
    found: dict[str, Array] = {}
    if calm is not None:
        found[PROBABLY] = judge.recogniser.probabilities(flat)[:, calm].astype(float).reshape(shape)
    residues = _residues(flat, judge).reshape(*shape, -1)
    references = [middle(case.reference, margin) for case in cases]
    found[PERSON] = (residues * _residues(references, judge)[:, None]).sum(2)
    found[DETAIL] = np.array(
        [
            [likeness(picture, reference, regions(reader)) for picture in row]
            for row, reference in zip(inner, references, strict=True)
        ]
    )
    if reader:
        gaps = np.array([_mouth_gaps(case, reader) for case in cases])
        found[MOUTH] = gaps[~np.isnan(gaps).any(1)]
    return found


def middle(picture: Pixels, margin: float) -> Pixels:
    """Return a picture without this share of its side at each edge."""
    cut = round(margin * len(picture))
    return picture[cut : len(picture) - cut, cut : picture.shape[1] - cut] if cut else picture


def _residues(pictures: Sequence[Pixels], judge: Judge) -> Array:
    """Return directions of length 1, [pictures, width]."""
    found = judge.encoder.each([at_size(picture, judge.encoder.size) for picture in pictures], ("residue",))
    centred = features(np.stack([residue for (residue,) in found])).astype(float) - judge.mean
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def regions(reader: Reader | None) -> list[str]:
    """Return where fine detail is compared: a smiling mouth has more of it than a calm one, so not without pairs."""
    return [name for name in REGIONS if reader or name != "mouth"]


NOTHING = 1e-9  # so that two regions without any lines are alike


def likeness(picture: Pixels, reference: Pixels, where: Sequence[str]) -> float:
    """Return how like the energy of fine lines is in the worst of some regions: 1 is the same, 0 nothing alike."""
    one, other = _fine(picture), _fine(reference)
    worst = 1.0
    for name in where:
        left, right, top, bottom = REGIONS[name]
        high, wide = one.shape
        inside = (slice(int(top * high), int(bottom * high) + 1), slice(int(left * wide), int(right * wide) + 1))
        energy = float(one[inside].var()) + NOTHING, float(other[inside].var()) + NOTHING
        worst = min(worst, min(energy) / max(energy))
    return worst


def _fine(picture: Pixels) -> Array:
    gray = Image.fromarray(picture).convert("L")
    blurred = gray.filter(ImageFilter.GaussianBlur(max(1.0, len(picture) / FINE)))
    return np.asarray(gray, float) - np.asarray(blurred, float)


def _mouth_gaps(case: Case, reader: Reader) -> list[float]:
    goal = mouth_width(case.reference, reader)
    return [abs(mouth_width(picture, reader) - goal) for picture in case.pictures.values()]


def mouth_width(picture: Pixels, reader: Reader) -> float:
    """Return the distance of the mouth's corners in distances of the eyes; NaN where the detector finds no face."""
    found = [face for face in reader.detector.detect(picture) if face.points is not None]
    if not found:
        return float("nan")
    points = max(found, key=lambda face: face.box[2] * face.box[3]).points
    assert points is not None
    return float(np.linalg.norm(points[4] - points[3]) / np.linalg.norm(points[1] - points[0]))


def without_pairs(what: str, mean: Means) -> list[str]:
    """Return how a measure orders the controls wrongly, given its mean for each of them; empty if it does not."""
    if what == PROBABLY:
        gap = mean[ANOTHER] - mean[AS_IS]
        if gap <= 0:
            return ["neutral faces do not have more of it than expressive ones"]
        found = {kind: (mean[kind] - mean[AS_IS]) / gap for kind in (*BLURRED, ENCODED)}
        return [f"{kind} is called calmer" for kind, way in found.items() if way > SLACK]
    if what == PERSON:
        said = [f"{kind} is no better than {ANOTHER}" for kind in (*BLURRED, FADED) if mean[kind] <= mean[ANOTHER]]
        return said + [f"{kind} is as good as {ENCODED}" for kind in (FADED, ANOTHER) if mean[kind] >= mean[ENCODED]]
    falling = [mean[kind] for kind in (AS_IS, *BLURRED)]
    said = [f"{ENCODED} loses it"] if mean[ENCODED] < SHARP else []
    if falling != sorted(falling, reverse=True) or falling[-1] >= SHARP:
        said.append("a blur does not lose it")
    return said


def with_pairs(what: str, mean: Means) -> list[str]:
    """Return how a measure orders the controls of pairs wrongly; empty if it does not."""
    if (mean[NEUTRAL_ENCODED] - mean[AS_IS]) * (-1 if what == MOUTH else 1) <= 0:
        return ["the own neutral photo is no better than the face as it is"]
    if ANOTHER not in mean:
        return ["there is one person alone, and nobody to compare with"]
    most = dict.fromkeys(BLURRED, SLACK) | {FADED: 1.0, ANOTHER: 1.0}
    if what in (PERSON, DETAIL):
        most[FADED] = 0.5
    if what == PERSON:
        most[ANOTHER] = 0.0
    return [f"{kind} is too good" for kind, share in most.items() if way(mean, kind) > share]


def way(mean: Means, kind: str) -> float:
    """Return how far a picture is on the way from the expressive face, 0, to the own neutral photo, 1."""
    return (mean[kind] - mean[AS_IS]) / (mean[NEUTRAL_ENCODED] - mean[AS_IS])

"""Ease brows that frown or are raised, which the photo model leaves nearly as they are.

The model's teacher takes off what neutral faces do not vary by, and the height of their brows varies as much as a frown
lowers it. So brows are moved back by as much as they are lower, or higher, on average in faces to which the recogniser
gives as much of anger, or of surprise and fear. Furrows between the brows, as sad faces have them too, are softened as
the folds of a smile are. The numbers are means over mesh points of training faces: docs/lab-book.md, "Frowns".
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels, at_size
from pfvit.detection.alignment import POINTS
from pfvit.inference.face_change import FaceChange, enlarged
from pfvit.inference.smile_folds import SIDE, light_at_side, moved, without_lines

Array = NDArray[np.float32]

#: The emotions that lower brows, and those that raise them.
FROWNS, RAISES = ("anger",), ("surprise", "fear")
#: Those that draw brows together, whose height may differ: a sad face's is that of its head, which is bent, too.
FURROWS = ("anger", "sadness", "disgust", "fear")
#: Probabilities up to the first move nothing, so that calm faces stay as they are. From the second on brows of photos
#: are, on average, about as low, or as high, as they get: docs/lab-book.md, "Frowns by probability".
LEAST, FULL = 0.05, 0.3
#: Surer frowns move back by more than the mean, up to so much at this probability: furrows stay, and glares.
SURE, MOST = 0.7, 1.6
#: From the middle of the face outwards, in shares of the crop's side: between the brows, their inner ends, their
#: middles, their outer ends, temples.
PLACES = (0.0, 0.09, 0.17, 0.27, 0.36)
#: How much lower an angry face's brows are there, and how much higher a surprised one's, in shares of the side.
LOWERED = (0.0163, 0.0255, 0.0214, 0.0102, 0.0)
RAISED = (0.0153, 0.023, 0.0204, 0.0112, 0.0)
#: A frown draws the inner ends of the brows together: each by so much, around so far from the middle, over so much.
TOGETHER, INNER, AROUND = 0.0025, 0.07, 0.05
#: Brows lie so far above the eyes. What lies above them moves along over a width of the first, what lies below over
#: one of the second: forehead is free to move, lids are not.
ABOVE_EYES, UPWARD, DOWNWARD = 0.105, 0.075, 0.055
EYES = float(POINTS[0, 1])
#: Furrows are finer than this blur, in pixels of SIDE, and lie within so much of the middle and of the brows' height.
BROAD = 6.0
WIDE, HIGH = 0.065, 0.075
#: Below this row of a crop at SIDE there are none.
BOTTOM = round((EYES + 0.1) * SIDE)


def frown_and_raise(shares: Mapping[str, float]) -> tuple[float, float]:
    """Return by which share of the mean brows frown, up to MOST, and by which they are raised, up to 1, given the
    recogniser's probabilities."""
    frown, raised = (sum(shares.get(name, 0.0) for name in names) for names in (FROWNS, RAISES))
    places = LEAST, FULL, SURE
    return float(np.interp(frown, places, (0, 1, MOST))), float(np.interp(raised, places, (0, 1, 1)))


def furrowed(shares: Mapping[str, float]) -> float:
    """Return which share of the furrows between the brows is softened, given the recogniser's probabilities."""
    return float(np.interp(sum(shares.get(name, 0.0) for name in FURROWS), (LEAST, FULL), (0, 1)))


def ease_brows(change: FaceChange, shares: Mapping[str, float]) -> FaceChange:
    """Return a change that moves brows back too, by the recogniser's probabilities."""
    frown, raised = frown_and_raise(shares)
    if not frown and not raised:
        return change
    up, down = _flows(len(change.base))
    base = change.base + np.float32(frown) * up + np.float32(raised) * down
    return change._replace(base=base.astype(np.float32, copy=False))


def soften_furrows(crop: Pixels, change: FaceChange, share: float) -> FaceChange:
    """Return a change of a crop, uint8 [height, width, 3], whose light softens this share of the furrows between the
    brows: light [SIDE, SIDE, 3]."""
    if share <= 0:
        return change
    light = light_at_side(change)
    shown = moved(at_size(crop, SIDE), enlarged(change.base, SIDE), 0)[:BOTTOM] + light[:BOTTOM]
    taken = np.full_like(_between_brows(), share)
    return without_lines(change._replace(light=light), shown, taken, _between_brows(), BROAD, np.s_[:BOTTOM])


@cache
def _flows(size: int) -> tuple[Array, Array]:
    """Return the flows [size, size, 2] that take off a whole frown, and wholly raised brows."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    out, over = np.abs(x - 0.5), y - (EYES - ABOVE_EYES)
    near = np.exp(-((over / np.where(over < 0, UPWARD, DOWNWARD)) ** 2))
    up, down = (np.interp(out, PLACES, heights) * near for heights in (LOWERED, RAISED))
    inner = np.exp(-(((out - INNER) / AROUND) ** 2)) * np.exp(-((over / AROUND) ** 2))
    apart = np.sign(x - 0.5) * TOGETHER * inner
    frown = np.stack([-apart, up], axis=2).astype(np.float32)
    raised = np.stack([np.zeros_like(x), -down], axis=2).astype(np.float32)
    return frown, raised


@cache
def _between_brows() -> Array:
    """Return where furrows are softened, from 0 to 1: [BOTTOM, SIDE, 1]."""
    y, x = (np.mgrid[:BOTTOM, :SIDE] + 0.5) / SIDE
    where = np.exp(-(((x - 0.5) / WIDE) ** 4) - ((y - EYES + ABOVE_EYES) / HIGH) ** 4)
    return where[..., None].astype(np.float32)

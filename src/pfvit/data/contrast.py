"""Give pictures that are dark or faint the contrast of those that the networks were trained on.

In the dark and in mist the detector misses faces that it finds in good light, and the recogniser is more often wrong.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels

#: A picture is as bright, from and to, as these shares of about so many of its pixels.
ENDS, SAMPLED = (0.01, 0.99), 1_000
#: What spans less than the first, of 255, is brought to all of it; what spans the second stays as it is.
FAINT, CLEAR = 80, 130
#: Noise grows too; and what spans less than this shows nothing.
MOST_GAIN, NOTHING = 8.0, 6


class Contrast(NamedTuple):
    """How a picture gets its contrast."""

    levels: NDArray[np.uint8]
    """[256]: what each value becomes."""
    gain: float
    """By how much differences grow: more than 1."""


def contrast_of(picture: Pixels) -> Contrast | None:
    """Return how uint8 [height, width, channels] gets more contrast; None if it has enough, or none."""
    step = max(1, math.isqrt(picture.shape[0] * picture.shape[1] // SAMPLED))
    counts = np.bincount(picture[::step, ::step].ravel(), minlength=256).cumsum()
    dark, bright = np.searchsorted(counts, np.array(ENDS) * counts[-1]).tolist()
    share = min((CLEAR - bright + dark) / (CLEAR - FAINT), 1)
    if share <= 0 or bright - dark < NOTHING:
        return None
    gain = 1 + share * (min(255 / (bright - dark), MOST_GAIN) - 1)
    levels = (np.arange(256) - dark) * gain + dark * (1 - share)
    return Contrast(np.rint(levels).clip(0, 255).astype(np.uint8), gain)


def in_good_light(picture: Pixels) -> Pixels:
    """Return a picture with more contrast if it is dark or faint, else itself."""
    contrast = contrast_of(picture)
    return picture if contrast is None else contrast.levels[picture]

"""Give lips that close the shade of closed lips.

Where teeth showed, the lower lip lay in the light. When the mouth closes, its pixels move up to the line of the lips,
and stay as bright as they were; closed lips are dark on both sides of their line, as the upper lip hangs over the lower
one. So the brightness across the line is brought to that of closed lips, as far as the lips were parted. Nothing is
learnt but CLOSED, the median over faces that are neutral as they are: experiments/measure_lip_shade.py.
"""

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels, at_size
from pfvit.inference.face_change import FaceChange, enlarged
from pfvit.inference.smile_folds import SIDE, light_at_side, moved

Array = NDArray[np.float32]

#: How bright closed lips are, in red, green and blue, as shares of what they are at BESIDE: from 0.04 of the crop's
#: side below the line to 0.04 above it, in steps of STEP.
CLOSED = np.array([
    [1.03, 1.04, 1.03, 1.01, 0.97, 0.91, 0.85, 0.79, 0.76, 0.76, 0.80, 0.85, 0.90, 0.95, 0.98, 1.01, 1.03],
    [1.03, 1.03, 1.02, 0.99, 0.93, 0.85, 0.75, 0.67, 0.62, 0.64, 0.70, 0.78, 0.86, 0.93, 0.99, 1.04, 1.08],
    [1.04, 1.05, 1.04, 1.02, 0.96, 0.87, 0.76, 0.66, 0.60, 0.62, 0.68, 0.76, 0.84, 0.90, 0.96, 1.02, 1.05],
]).T  # fmt: skip
STEP, MIDDLE = 0.005, 8
#: Lips whose red is by so much brighter than their green have these colours; lips in a gray picture stay gray.
RED = 0.15
#: What has less than the first of the skin's own ratio of red to green is no lips but a mask or a glove, and is not
#: shaded; from the second on it is, in full. The skin is what lies at SKIN. Chosen on clear smiles: docs/lab-book.md.
COVERED, BARE = 0.85, 0.95
SKIN = np.s_[round(0.3 * SIDE) : round(0.6 * SIDE), round(0.25 * SIDE) : round(0.75 * SIDE)]
#: The places in CLOSED to which a face's own brightness is fitted: beyond the shade, and still lips.
BESIDE = np.array([1, 2, 3, 13, 14, 15])
#: Brightness is multiplied by at least and at most so much: teeth are brighter, and a moustache is darker, than lips.
LEAST, MOST = 0.6, 1.3
#: Where lips part by so much, in shares of the side, and by this share of the most they part by, they get all of it.
#: Lips that nowhere part by LEAST_PARTED get nothing.
PARTED, PARTED_MOST, LEAST_PARTED = 0.005, 0.25, 0.0005
#: So far from the line it ends, in shares of the side, and fades over the last part of it.
REACH, FADE = 0.04, 0.01
#: What fewer pixels than this show is not counted; darker than DARKEST, of 1, is treated as this.
LEAST_WEIGHT, DARKEST = 0.5, 0.01
#: Pixels that are so much brighter than the others at their height are less and less taken for lips: what is behind a
#: face in profile is not shaded.
LIKE, UNLIKE = 1.4, 1.8
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
#: Mouths lie below this row and between these columns.
TOP, LEFT, RIGHT = round(0.55 * SIDE), round(0.15 * SIDE), round(0.85 * SIDE)


def shade_lips(crop: Pixels, change: FaceChange) -> FaceChange:
    """Return a change of a crop, uint8 [height, width, 3], whose light shades closing lips, [SIDE, SIDE, 3]."""
    parted = np.abs(change.split).max(axis=2)
    if parted.max() < LEAST_PARTED:
        return change
    here = np.s_[TOP:, LEFT:RIGHT]
    height = enlarged(change.height[..., None], SIDE)[*here, 0]
    full = max(PARTED, PARTED_MOST * float(parted.max()))
    share = (enlarged(parted[..., None], SIDE)[*here, 0] / np.float32(full)).clip(0, 1)
    share *= ((np.float32(REACH) - np.abs(height)) / np.float32(FADE)).clip(0, 1)
    base, split = enlarged(change.base, SIDE), enlarged(change.split, SIDE)[here]
    base[here] += np.where(height[..., None] > 0, split, -split)
    light = light_at_side(change)
    small = at_size(crop, SIDE)
    shown = moved(small, base, TOP, LEFT, RIGHT) + light[here]
    light[here] += shown * share[..., None] * _shade(shown, share, height, small[SKIN].mean((0, 1)) + 1)
    return change._replace(light=light)


def _shade(shown: Array, share: Array, height: Array, skin: NDArray[np.floating]) -> Array:
    """Return by which share of itself each pixel, [high, wide, 3], has to become brighter.

    `share` and `height` are [high, wide]; `skin` is the colour of the face, [3].
    """
    steps = np.arange(len(CLOSED))
    place = (height / np.float32(STEP) + MIDDLE).clip(0, steps[-1])
    near = np.rint(place).astype(np.intp).ravel()
    weight = _smooth(np.bincount(near, share.ravel(), len(CLOSED)))[:, None]
    known = BESIDE[weight[BESIDE, 0] > LEAST_WEIGHT]
    if not len(known):
        return np.zeros_like(shown)
    sums = [_smooth(np.bincount(near, (share * shown[..., c]).ravel(), len(CLOSED))) for c in range(3)]
    own = (np.stack(sums, axis=1) / np.maximum(weight, LEAST_WEIGHT)).clip(DARKEST)
    level = own[known].sum(0)
    redness = level[0] / level[1]
    bare = (redness / (skin[0] / skin[1]) - COVERED) / (BARE - COVERED)
    red = min(max((redness - 1) / RED, 0.0), 1.0)
    closed = (1 - red) * (CLOSED @ LUMINANCE)[:, None] + red * CLOSED
    closed = closed * level / closed[known].sum(0)
    wanted = np.where(weight > LEAST_WEIGHT, closed / own, 1).clip(LEAST, MOST)
    shade = np.stack([np.interp(place, steps, wanted[:, c]) - 1 for c in range(3)], axis=2)
    strange = (shown @ LUMINANCE / np.interp(place, steps, own @ LUMINANCE) - LIKE) / (UNLIKE - LIKE)
    return (shade * (min(max(bare, 0.0), 1.0) * (1 - strange.clip(0, 1)))[..., None]).astype(np.float32)


def _smooth(values: NDArray[np.integer | np.floating]) -> NDArray[np.float64]:
    """Return values with each averaged over itself, twice, and its neighbours."""
    padded = np.pad(values.astype(np.float64), 1)
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4

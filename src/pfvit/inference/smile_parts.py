"""Leave what a smile hardly moves nearer to where it is.

The photo model moves eyes, nose and chin of a smiling face too, by what faces with such a smile show on average. With
about half of that faces are called neutral as often or more often, and are nearer to the person's own neutral photo:
docs/lab-book.md, "What a smile hardly moves". Nothing is learnt. A face that is called neutral and moves all the same
smiles faintly, as in many portraits.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pfvit.emotions import NEUTRAL
from pfvit.inference.face_change import FaceChange
from pfvit.inference.smile_folds import NOSE, rising

SMILES = ("happiness", NEUTRAL)
#: So much of the flow is kept in a smile: around the eyes and above, at the nose, at the chin.
EYES_KEPT, NOSE_KEPT, CHIN_KEPT = 0.6, 0.5, 0.5
#: Between these heights, in shares of the side, the eyes' part ends, and the chin's begins.
EYES, CHIN = (0.42, 0.5), (0.8, 0.88)


def keep_still(change: FaceChange, shares: Mapping[str, float]) -> FaceChange:
    """Return a change whose flow moves eyes, nose and chin less, by the recogniser's probability of a smile or less."""
    smile = sum(shares.get(name, 0.0) for name in SMILES)
    if not smile:
        return change
    kept = 1 - np.float32(smile) * _less(len(change.base))
    return change._replace(base=(change.base * kept).astype(np.float32, copy=False))


@cache
def _less(size: int) -> NDArray[np.float32]:
    """Return which share of the flow a whole smile loses, [size, size, 1]."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    nose = np.exp(-(((x - 0.5) / NOSE[0]) ** 4) - ((y - NOSE[1]) / NOSE[2]) ** 4)
    kept = 1 - (1 - EYES_KEPT) * (1 - rising(y, EYES))
    kept *= (1 - (1 - NOSE_KEPT) * nose) * (1 - (1 - CHIN_KEPT) * rising(y, CHIN))
    return (1 - kept)[..., None].astype(np.float32)

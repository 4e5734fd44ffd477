"""When an answer is no name for an expression, and how a doubtful face is looked at again."""

import numpy as np
from numpy.typing import NDArray

#: The output of a recogniser that says how probable it is that its answer is right (`pfvit.export.reliability`).
RELIABILITY = "reliability"
#: An answer is unsure that is right less often than this.
LEAST_RELIABLE = 0.75
#: Of files that do not say: an answer below this share, or with so little between the two best.
FLAT, CLOSE = 0.4, 0.1


def unsure(
    probabilities: NDArray[np.floating], reliability: float | NDArray[np.floating] | None = None
) -> NDArray[np.bool_]:
    """Return which answers are unsure, bool [...], given probabilities [..., labels] and, if known, reliability [...].

    With reliability, those that are probably wrong once in four times or more often; else those whose probabilities are
    too flat: the two best nearly equal, or none above 40%.
    """
    if reliability is not None:
        return np.asarray(reliability) < LEAST_RELIABLE
    second, best = np.moveaxis(np.partition(probabilities, -2, axis=-1)[..., -2:], -1, 0)
    return (best < FLAT) | (best - second < CLOSE)


#: How many of a crop's sides are added to them when it is looked at again.
WIDER = 0.1


def second_look(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a crop, uint8 [height, width, 3], as it is looked at again: its mirror image, and a little wider.

    What is not in the crop is its edge, repeated.
    """
    down, across = (round(side * WIDER / 2) for side in crop.shape[:2])
    return np.pad(crop[:, ::-1], ((down, down), (across, across), (0, 0)), mode="edge")


def of_both(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what two looks say together, [faces, labels]: the mean of the log probabilities, normalised."""
    together = np.sqrt(first * second) + np.finfo(first.dtype).tiny
    return together / together.sum(axis=-1, keepdims=True)

"""Targets from ten annotators' votes: the four schemes of the FER+ paper (Barsoum et al., arXiv 1608.01041, section 4).

The paper leaves the details open; they are those of the authors' code (github.com/microsoft/FERPlus), whose names for
the schemes are majority, multi_target, probability and crossentropy.
"""

import numpy as np
from numpy.typing import NDArray

#: Majority voting, multi-label learning, probabilistic label drawing, cross-entropy loss. The paper's test accuracies
#: with its VGG13 are about 83.9, 84.0, 85.0 and 84.7.
SCHEMES = ("mv", "ml", "pld", "cel")
OUTLIER = 1  # an emotion that one annotator alone saw is dropped
ENOUGH, MOST_EMOTIONS = 0.75, 3  # pld and cel take emotions until they hold this share of the votes
LEAST = 0.5  # what is taken must hold more than this share, or the face is left out
AGREED = 0.3  # ml: emotions with this share of the votes all count


def scheme_targets(votes: NDArray[np.number], classes: int, scheme: str) -> NDArray[np.float32]:
    """Turn votes [rows, 10] in FER+'s columns into distributions [rows, classes]; all zeros where the scheme discards.

    For ml every emotion above zero is right; for pld one is to be drawn in each epoch. Faces that most call unknown or
    no face are discarded, and where an emotion outside the label set comes first.
    """
    targets = np.zeros((len(votes), classes), dtype=np.float32)
    for row, counted in enumerate(np.where(votes > OUTLIER, votes, 0).astype(np.float64)):
        taken = {"mv": _majority, "ml": _agreed}.get(scheme, _distribution)(counted)
        if taken.sum() > LEAST * counted.sum() and taken.argmax() < classes:
            emotions = taken[:classes]
            targets[row] = emotions / emotions.sum()
    return targets


def _majority(counted: NDArray[np.float64]) -> NDArray[np.float64]:
    taken = np.zeros_like(counted)
    taken[counted.argmax()] = counted.max()
    return taken


def _agreed(counted: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((counted >= AGREED * counted.sum()) & (counted > 0), counted, 0)


def _distribution(counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the largest counts, equal ones together, until they are enough; nothing if that takes too many."""
    left, taken, count, ended = counted.copy(), np.zeros_like(counted), 0, False
    while left.any() and taken.sum() < ENOUGH * counted.sum() and count < MOST_EMOTIONS and not ended:
        for place in np.flatnonzero(left == left.max()):
            ended = place >= len(counted) - 2  # unknown or no face: it counts only if nothing came before
            if ended and taken.any():
                break
            taken[place], left[place] = left[place], 0
            count += 1
            if ended:
                break
    return taken if count <= MOST_EMOTIONS else np.zeros_like(counted)

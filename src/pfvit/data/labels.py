"""From votes and label columns to target distributions."""

import numpy as np

from pfvit.emotions import EIGHT, ORDERS, label_set
from pfvit.errors import InputError

SINGLE_VOTE = 1  # FER+'s own code drops an emotion that one annotator alone saw


def vote_targets(votes: np.ndarray, classes: int, hard: bool) -> np.ndarray:
    """Turn votes [rows, 10] in FER+'s columns into target distributions [rows, classes].

    Rows whose majority is `unknown`, `NF` or an emotion outside the label set get all zeros. Ties go to the first
    column. Soft targets leave out single votes, as FER+'s own preparation does.
    """
    winner = votes.argmax(axis=1)
    emotions = votes[:, :classes].astype(np.float32)
    if hard:
        targets = np.eye(votes.shape[1], dtype=np.float32)[winner][:, :classes]
    else:
        targets = np.where(emotions > SINGLE_VOTE, emotions, 0)
        bare = targets.sum(axis=1) == 0
        targets[bare] = emotions[bare]
        targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1)
    targets[winner >= classes] = 0
    return targets


def agreed(votes: np.ndarray) -> np.ndarray:
    """Return which faces the papers' protocol keeps, bool [rows], of votes [rows, 10] in FER+'s columns.

    As FER+'s own code, mode `majority` (Barsoum et al., arXiv 1608.01041): single votes are dropped, and then one
    emotion must have more than half of the votes that remain.
    """
    counted = np.where(votes > SINGLE_VOTE, votes, 0)
    return (counted.max(axis=1) > counted.sum(axis=1) / 2) & (counted.argmax(axis=1) < len(EIGHT))


def label_targets(labels: np.ndarray, order: str, classes: int) -> np.ndarray:
    """Turn integer labels in a data set's order into one-hot targets [rows, classes] in ours."""
    names = ORDERS[order]
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(f"labels of {order} go from 0 to {len(names) - 1}, found {labels.min()} to {labels.max()}")
    ours = label_set(classes)
    index = np.array([ours.index(name) if name in ours else classes for name in names])
    return np.eye(classes + 1, dtype=np.float32)[index[labels]][:, :classes]

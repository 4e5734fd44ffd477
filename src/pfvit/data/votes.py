"""FER+'s votes: what ten annotators saw in a face, as targets and as the papers' protocol reads them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.data.label_cells import Cells, point
from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.errors import UsageError

ANNOTATORS, SHARE_EPS = 10, 1e-3  # of FER+; how far from 1 shares may add up to
SINGLE_VOTE = 1  # FER+'s own code drops an emotion that one annotator alone saw


def votes_of(
    rows: Sequence[Sequence[Any]] | NDArray[Any], place: str, called: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Return the cells of FER+'s ten columns as counts, [rows, 10]: none is 0, and shares are those of ten annotators.

    `called` are the rows' names, for messages. UsageError for what is no number, or less than 0.
    """
    if not isinstance(rows, np.ndarray):
        rows = [[0 if cell is None else point(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    try:
        votes = np.asarray(rows, dtype=np.float64).reshape(-1, len(FERPLUS_VOTES))  # of no rows, too
    except (TypeError, ValueError) as problem:
        raise UsageError(f"{place}: its ten vote columns hold something else than numbers") from problem
    votes = np.where(np.isnan(votes), 0, votes)
    if (wrong := (votes < 0) | np.isinf(votes)).any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        where = Cells((), place, rows=called).at(row)
        raise UsageError(f"{where}: votes are 0 or more, not {votes[row][wrong[row]][0]:g}")
    shares = len(votes) > 0 and votes.sum(axis=1).max() < 1 + SHARE_EPS and (votes % 1 > 0).any()
    return votes * ANNOTATORS if shares else votes


def vote_targets(votes: NDArray[Any], classes: int, hard: bool) -> NDArray[np.float32]:
    """Turn votes [rows, 10] in FER+'s columns into target distributions over the first 7 or 8, [rows, classes].

    Rows whose majority is `unknown`, `NF` or an emotion outside the label set get all zeros. Ties go to the first
    column. Soft targets leave out single votes, as FER+'s own preparation does.
    """
    winner = votes.argmax(axis=1)
    emotions = votes[:, :classes].astype(np.float32)
    if hard:
        targets = np.eye(votes.shape[1], dtype=np.float32)[winner][:, :classes]
        targets[votes.sum(axis=1) == 0] = 0
    else:
        targets = np.where(emotions > SINGLE_VOTE, emotions, 0)
        bare = targets.sum(axis=1) == 0
        targets[bare] = emotions[bare]
        targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1)
    targets[winner >= classes] = 0
    return targets


def agreed(votes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which faces the papers' protocol keeps, bool [rows], of votes [rows, 10] in FER+'s columns.

    As FER+'s own code, mode `majority` (Barsoum et al., arXiv 1608.01041): single votes are dropped, and then one
    emotion must have more than half of the votes that remain.
    """
    counted = np.where(votes > SINGLE_VOTE, votes, 0)
    return (counted.max(axis=1) > counted.sum(axis=1) / 2) & (counted.argmax(axis=1) < len(EIGHT))

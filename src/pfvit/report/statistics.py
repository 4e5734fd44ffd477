"""Intervals and tests on plain arrays, beyond `pfvit.evaluation.metrics`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pfvit.evaluation import metrics

Array = NDArray[np.floating]
Counts = NDArray[np.integer]
PANELS = 200


class PerClass(NamedTuple):
    """Figures of each class, [classes]; intervals are [classes, 2]. NaN where there is nothing to count."""

    recall: Array
    recall_ends: Array
    precision: Array
    precision_ends: Array
    f1: Array
    f1_ends: Array


def per_class(confusion: Counts, draws: int = metrics.DRAWS, seed: int = 0) -> PerClass:
    """Return recall, precision and F1 of each class with 95% bootstrap intervals.

    Rows that are drawn again fall into the cells of the confusion matrix as a multinomial says.
    """
    drawn = redrawn(confusion, draws, seed)
    turned, drawn_turned = confusion.T, drawn.transpose(0, 2, 1)
    return PerClass(
        metrics.recalls(confusion), ends(metrics.recalls(drawn)),
        metrics.recalls(turned), ends(metrics.recalls(drawn_turned)),
        metrics.f1_scores(confusion), ends(metrics.f1_scores(drawn)),
    )  # fmt: skip


def redrawn(confusion: Counts, draws: int = metrics.DRAWS, seed: int = 0) -> Counts:
    """Return confusion matrices of as many faces that are drawn again, [draws, classes, classes]."""
    total = int(confusion.sum())
    cells = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, draws)
    return cells.reshape(draws, *confusion.shape)


def uar_ends(confusion: Counts) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean recall of the classes that occur."""
    return metrics.interval(np.nanmean(metrics.recalls(redrawn(confusion)), axis=1))


def ends(values: Array) -> Array:
    """Return the middle 95% of drawn values [draws, classes] as [classes, 2]; NaN for a class that never occurs."""
    found = np.full((values.shape[1], 2), np.nan)
    for place, column in enumerate(values.T):
        if not np.isnan(column).all():
            found[place] = metrics.interval(column)
    return found


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share; (NaN, NaN) of nothing."""
    if not total:
        return float("nan"), float("nan")
    low, high = stats.binomtest(right, total).proportion_ci(method="wilson")
    return float(low), float(high)


class Paired(NamedTuple):
    """Two recognisers on the same faces. Differences are the second's figure less the first's."""

    first_alone: int
    """Faces that only the first has right."""
    second_alone: int
    p: float
    """Of McNemar's test (exact): how often chance alone would divide these faces so unevenly."""
    war: float
    war_ends: tuple[float, float]
    uar: float
    uar_ends: tuple[float, float]


def paired(truth: Counts, first: Counts, second: Counts, classes: int, draws: int = metrics.DRAWS) -> Paired:
    """Compare two recognisers' answers to the same faces: McNemar's exact test, and bootstrap of the differences."""
    a, b = first == truth, second == truth
    alone = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(stats.binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else 1.0

    def differences(rows: Counts | slice) -> tuple[float, float]:
        old, new = (metrics.confusion_matrix(truth[rows], answer[rows], classes) for answer in (first, second))
        return metrics.war(new) - metrics.war(old), metrics.uar(new) - metrics.uar(old)

    rng = np.random.default_rng(0)
    drawn = np.array([differences(rng.integers(0, len(truth), len(truth))) for _ in range(draws)])
    war, uar = differences(slice(None))
    return Paired(*alone, p, war, metrics.interval(drawn[:, 0]), uar, metrics.interval(drawn[:, 1]))


class Ceiling(NamedTuple):
    """How often the labels themselves would be met, if each face's votes were given anew."""

    one: float
    """By one more annotator: the mean share of votes for the label."""
    panel: float
    """By the majority of a second panel of as many annotators."""
    reader: float
    """By a reader who knows each face's true shares and names the largest."""


def noise_ceiling(votes: Array, panels: int = PANELS, seed: int = 0) -> Ceiling:
    """Return the ceiling of labels that are majorities of `votes`, counts [faces, classes].

    The votes' shares are taken for the true ones. They are more extreme than these, so that the ceiling is a little
    high. Ties go to the first class, as in the labels.
    """
    count = np.rint(votes.sum(1)).astype(int)
    shares = votes / votes.sum(1, keepdims=True)
    drawn = np.random.default_rng(seed).multinomial(count, shares, (panels, len(votes))).argmax(2)
    best = shares.argmax(1)
    # How often panels have each majority; two panels agree with the sum of squares.
    majority = np.stack([(drawn == place).mean(0) for place in range(votes.shape[1])], axis=1)
    reader = np.take_along_axis(majority, best[:, None], 1).mean()
    # Squares of means over few panels are too large by their variance.
    agree = ((majority**2).sum(1) * panels - 1) / (panels - 1)
    return Ceiling(float(np.take_along_axis(shares, best[:, None], 1).mean()), float(agree.mean()), float(reader))


def likely_mislabelled(probabilities: Array, truth: Counts) -> Counts:
    """Return faces whose label is likely wrong, the likeliest first (confident learning: Northcutt et al., 2021).

    Those that are answered otherwise, and for which another class is at least as probable as it is, in the mean, for
    the faces labelled with it.
    """
    classes = probabilities.shape[1]
    usual = np.array([probabilities[truth == k, k].mean() if (truth == k).any() else np.inf for k in range(classes)])
    above = np.where(probabilities >= usual, probabilities, -1)
    best = above.argmax(1)
    rows = np.flatnonzero((above.max(1) >= 0) & (best != truth) & (probabilities.argmax(1) != truth))
    margin = probabilities[rows, best[rows]] - probabilities[rows, truth[rows]]
    return rows[np.argsort(-margin, kind="stable")]


def untempered(probabilities: Array, temperature: float) -> Array:
    """Return what the probabilities were before they were divided by a temperature: softmax(T log p)."""
    logits = temperature * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)

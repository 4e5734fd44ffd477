"""How well emotions are read and faces drawn: the field's standard measures, on plain arrays.

`confusion` is always [classes, classes] with rows the truth and columns the answer.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Counts = NDArray[np.integer]

BINS = 15  # of the calibration error (Guo et al., arXiv 1706.04599)
DRAWS = 1000
WINDOW, SIGMA = 11, 1.5  # of SSIM (Wang et al., 2004)
K1, K2 = 0.01, 0.03


def confusion_matrix(truth: Counts, answer: Counts, classes: int) -> Counts:
    """Count how often each class was taken for each."""
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: NDArray) -> Array:
    """Return each class's share of right answers over the last two axes; NaN where the class does not occur."""
    total = confusion.sum(-1)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.where(total > 0, right / np.maximum(total, 1), np.nan)


def war(confusion: NDArray) -> float:
    """Return the weighted average recall, which is the accuracy."""
    return float(np.trace(confusion) / confusion.sum())


def uar(confusion: NDArray) -> float:
    """Return the unweighted average recall, over the classes that occur."""
    return float(np.nanmean(recalls(confusion)))


def f1_scores(confusion: NDArray) -> Array:
    """Return each class's F1 over the last two axes; NaN where the class neither occurs nor is answered."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(-1) + confusion.sum(-2)
    return np.where(total > 0, 2 * right / np.maximum(total, 1), np.nan)


def macro_f1(confusion: NDArray) -> float:
    """Return the mean F1 over the classes that occur."""
    return float(np.nanmean(np.where(confusion.sum(-1) > 0, f1_scores(confusion), np.nan)))


def confidence_bins(probabilities: Array, truth: Counts, bins: int = BINS) -> tuple[Counts, Array, Array]:
    """Return count, mean confidence and accuracy of the answers in equal-width bins of confidence; 0 where none is."""
    confidence = probabilities.max(1)
    right = (probabilities.argmax(1) == truth).astype(float)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    mean = [np.bincount(place, values, minlength=bins) / np.maximum(count, 1) for values in (confidence, right)]
    return count, mean[0], mean[1]


def calibration_error(probabilities: Array, truth: Counts, bins: int = BINS) -> float:
    """Return the expected calibration error: mean |accuracy - confidence| over equal-width bins of confidence."""
    count, confidence, accuracy = confidence_bins(probabilities, truth, bins)
    return float((count * np.abs(accuracy - confidence)).sum() / len(truth))


def js_distance(p: Array, q: Array) -> Array:
    """Return the Jensen-Shannon distance of each pair of distributions, in [0, 1] (square root, base 2)."""
    middle = (p + q) / 2

    def divergence(a: Array) -> Array:
        ratio = np.log2(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1))
        return np.where(a > 0, a * ratio, 0).sum(-1)

    return np.sqrt(np.maximum(0, (divergence(p) + divergence(q)) / 2))


def _blur(images: Array) -> Array:
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    for axis in (1, 2):
        windows = np.lib.stride_tricks.sliding_window_view(images, WINDOW, axis=axis)
        images = windows @ kernel
    return images


def ssim(a: Array, b: Array) -> Array:
    """Return the structural similarity of each pair of images [batch, height, width] in [0, 1].

    Wang et al., 2004: Gaussian window of 11 pixels, sigma 1.5, the mean over positions where it fits.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    c1, c2 = K1**2, K2**2
    score = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return score.mean((1, 2))


def interval(values: Array) -> tuple[float, float]:
    """Return the middle 95% of bootstrap values."""
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def bootstrap(truth: Counts, probabilities: Array, draws: int = DRAWS, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return 95% intervals of war, uar, macro_f1 and ece over redrawn rows; the same for the same input."""
    rng = np.random.default_rng(seed)
    classes = probabilities.shape[1]
    answer = probabilities.argmax(1)
    values: dict[str, list[float]] = {"war": [], "uar": [], "macro_f1": [], "ece": []}
    for _ in range(draws):
        rows = rng.integers(0, len(truth), len(truth))
        confusion = confusion_matrix(truth[rows], answer[rows], classes)
        values["war"].append(war(confusion))
        values["uar"].append(uar(confusion))
        values["macro_f1"].append(macro_f1(confusion))
        values["ece"].append(calibration_error(probabilities[rows], truth[rows]))
    return {name: interval(np.array(v)) for name, v in values.items()}


def bootstrap_mean(values: Array, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return the 95% interval of the mean of `values` [rows] over redrawn rows; (NaN, NaN) of nothing."""
    if not len(values):
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    return interval(np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(draws)]))


def linear_probe(features: Array, truth: Counts, classes: int, decay: float = 1e-2, steps: int = 300) -> float:
    """Return the accuracy of a linear classifier of `features` [rows, width] on rows it was not fitted to.

    Multinomial logistic regression on standardised features with L2, by full-batch Nesterov descent; fitted on the
    even rows and measured on the odd ones, and the other way around. NaN for fewer than two rows.
    """
    if len(truth) < 2:
        return math.nan
    halves = (np.arange(len(truth)) % 2 == 0, np.arange(len(truth)) % 2 == 1)
    right = 0
    for fit, test in (halves, halves[::-1]):
        mean, scale = features[fit].mean(0), features[fit].std(0) + 1e-6
        x, z = (features[fit] - mean) / scale, (features[test] - mean) / scale
        x, z = (np.hstack([m, np.ones((len(m), 1))]).astype(np.float64) for m in (x, z))
        target = np.eye(classes)[truth[fit]]
        # Softmax regression's curvature is at most half the largest eigenvalue of the Gram matrix.
        step = 1 / (0.5 * np.linalg.norm(x, 2) ** 2 / len(x) + decay)
        weight = np.zeros((x.shape[1], classes))
        ahead, momentum = weight, 1.0
        for _ in range(steps):
            scores = x @ ahead
            guess = np.exp(scores - scores.max(1, keepdims=True))
            guess /= guess.sum(1, keepdims=True)
            new = ahead - step * (x.T @ (guess - target) / len(x) + decay * ahead)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - weight)
            weight, momentum = new, following
        right += int(((z @ weight).argmax(1) == truth[test]).sum())
    return right / len(truth)

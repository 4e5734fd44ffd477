"""The measures against values worked out by hand, or by another way to compute them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfvit.evaluation import metrics

# Three classes: 4 of class 0 (3 right), 2 of class 1 (1 right), none of class 2, which is answered once.
CONFUSION = np.array([[3, 1, 0], [0, 1, 1], [0, 0, 0]])


def test_confusion_has_the_truth_in_rows():
    truth, answer = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2])
    assert metrics.confusion_matrix(truth, answer, 3).tolist() == CONFUSION.tolist()


def test_recall_and_f1_by_hand():
    assert metrics.war(CONFUSION) == pytest.approx(4 / 6)
    assert metrics.recalls(CONFUSION)[:2] == pytest.approx([3 / 4, 1 / 2])
    assert np.isnan(metrics.recalls(CONFUSION)[2])
    assert metrics.uar(CONFUSION) == pytest.approx((3 / 4 + 1 / 2) / 2)
    # F1 = 2 right / (truth + answers): 6 / (4 + 3), 2 / (2 + 2), 0 / (0 + 1).
    assert metrics.f1_scores(CONFUSION) == pytest.approx([6 / 7, 1 / 2, 0])
    assert metrics.macro_f1(CONFUSION) == pytest.approx((6 / 7 + 1 / 2) / 2)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.38, 0.62]])
    truth = np.array([0, 1, 1, 1])
    # Of 15 bins, 0.9 is in the 13th (right 1 of 2), and 0.6 and 0.62 in the 9th (2 of 2).
    expected = (2 * abs(0.5 - 0.9) + 2 * abs(1 - 0.61)) / 4
    assert metrics.calibration_error(probabilities, truth) == pytest.approx(expected)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert metrics.calibration_error(certain, np.array([0, 1])) == 0
    assert metrics.calibration_error(certain, np.array([1, 0])) == 1


def test_js_distance_by_hand():
    p = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]])
    q = np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    # Last: middle (3/4, 1/4); KL(p||m) = log2(4/3), KL(q||m) = (log2(2/3) + log2(2)) / 2.
    last = np.sqrt((np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2)
    assert metrics.js_distance(p, q) == pytest.approx([1, 0, last])


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al.'s sum, written out window by window."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weight = np.outer(line, line) / np.outer(line, line).sum()
    scores = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (weight * p).sum(), (weight * q).sum()
            vp, vq = (weight * (p - mp) ** 2).sum(), (weight * (q - mq) ** 2).sum()
            both = (weight * (p - mp) * (q - mq)).sum()
            scores.append((2 * mp * mq + 1e-4) * (2 * both + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(scores))


def test_ssim_is_the_published_sum():
    rng = np.random.default_rng(0)
    a = rng.random((2, 16, 14))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    assert metrics.ssim(a, b) == pytest.approx([slow_ssim(*pair) for pair in zip(a, b, strict=True)])
    assert metrics.ssim(a, a) == pytest.approx([1, 1])
    # Constant images have no variance: only the luminance factor remains.
    black, gray = np.zeros((1, 12, 12)), np.full((1, 12, 12), 0.5)
    assert metrics.ssim(black, gray)[0] == pytest.approx(1e-4 / (0.25 + 1e-4))


def test_bootstrap_intervals_hold_the_value_and_shrink_with_rows():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 2000)
    probabilities = rng.dirichlet(np.ones(4), 2000) + 0.5 * np.eye(4)[truth]
    probabilities /= probabilities.sum(1, keepdims=True)
    few = metrics.bootstrap(truth[:200], probabilities[:200], draws=200)
    many = metrics.bootstrap(truth, probabilities, draws=200)
    for name in ("war", "uar", "macro_f1", "ece"):
        assert few[name][1] - few[name][0] > many[name][1] - many[name][0]
    right = (probabilities.argmax(1) == truth).mean()
    low, high = many["war"]
    assert low < right < high
    # The standard error of a share gives the width that the interval should have.
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(right * (1 - right) / 2000), rel=0.25)
    assert many == metrics.bootstrap(truth, probabilities, draws=200)


def test_bootstrap_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, 4000)
    low, high = metrics.bootstrap_mean(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / np.sqrt(4000), rel=0.15)
    assert np.isnan(metrics.bootstrap_mean(values[:0])).all()


def test_a_linear_probe_finds_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    told = np.hstack([rng.normal(0, 1, (600, 8)), 3 * np.eye(3)[truth] + rng.normal(0, 0.3, (600, 3))])
    assert metrics.linear_probe(told, truth, 3) > 0.97
    assert metrics.linear_probe(rng.normal(0, 1, (600, 8)), truth, 3) < 0.45


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_confusion_agrees_with_counting(pairs):
    truth, answer = (np.array(side) for side in zip(*pairs, strict=True))
    confusion = metrics.confusion_matrix(truth, answer, 5)
    assert confusion.sum() == len(pairs)
    assert metrics.war(confusion) == pytest.approx((truth == answer).mean())
    present = [k for k in range(5) if (truth == k).any()]
    assert metrics.uar(confusion) == pytest.approx(np.mean([(answer[truth == k] == k).mean() for k in present]))

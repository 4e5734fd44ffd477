"""The baseline: what a person's calm face looks like is taken off, and only from those of whom it is known."""

import numpy as np
import pytest

from pfvit.video.baseline import AT_REST, FRAMES, Baseline

LABELS = ["neutral", "happiness", "sadness"]
AT_EASE, SMILING = np.array([0.6, 0.01, 0.39]), np.array([0.1, 0.8, 0.1])


def seen(*runs: tuple[np.ndarray, int]) -> Baseline:
    baseline = Baseline(LABELS)
    for shares, count in runs:
        for _ in range(count):
            baseline.add(1, shares)
    return baseline


def test_a_face_that_looks_sad_at_rest_is_calm_then_and_its_smile_stays():
    baseline = seen((AT_EASE, 20), (SMILING, 20))
    calm = baseline.correct(1, AT_EASE)
    assert calm.sum() == pytest.approx(1)
    assert calm[2] / calm[0] == pytest.approx(AT_REST)
    assert calm[1] / calm[0] == pytest.approx(0.01 / 0.6), "what is rare at rest is not made rarer"
    smile = baseline.correct(1, SMILING)
    assert smile[1] > 0.8
    assert smile[1] / smile[0] == pytest.approx(8)


@pytest.mark.parametrize(
    "runs", [((AT_EASE, FRAMES - 1),), ((SMILING, 50),), ()], ids=["too few", "never calm", "never seen"]
)
def test_without_calm_frames_nothing_changes(runs):
    baseline = seen(*runs)
    assert baseline.of(1) is None
    assert np.array_equal(baseline.correct(1, AT_EASE), AT_EASE)


def test_without_neutral_among_the_names_nothing_changes():
    baseline = Baseline(["smile", "no smile"])
    for _ in range(20):
        baseline.add(1, np.array([0.5, 0.5]))
    assert baseline.of(1) is None


def test_each_person_has_their_own():
    baseline = seen((AT_EASE, 20))
    for _ in range(20):
        baseline.add(2, np.array([0.98, 0.01, 0.01]))
    assert not baseline.of(2).any()
    assert baseline.of(1).any()

"""Faces that are changed more and more."""

from itertools import pairwise

import numpy as np
import pytest

from pfvit.data.views import SHADE, cover
from pfvit.report.changes import CHANGES, add_noise, brighten, cover_somewhere, gray, shift


@pytest.fixture
def face():
    return np.random.default_rng(0).integers(40, 200, (48, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", CHANGES)
def test_a_stronger_change_changes_more(name, face):
    change = CHANGES[name]
    size = [
        np.abs(change.apply(face, strength, np.random.default_rng(0)).astype(float) - face).mean()
        for strength in change.strengths
    ]
    assert len(size) == 5 and size[-1] > 0
    if name not in ("turned", "shifted", "framed tighter", "framed wider"):  # noise looks as different at any distance
        assert all(weak <= strong for weak, strong in pairwise(size)), size
    for strength in change.strengths:
        changed = change.apply(face, strength, np.random.default_rng(0))
        assert changed.shape == face.shape and changed.dtype == np.uint8


def test_changes_by_hand(face):
    moved = shift(face, 3)
    assert (moved[:, 3:] == face[:, :-3]).all() and (moved[:, :3] == face[:, :1]).all()
    assert (gray(face, 0) == face).all()
    assert np.ptp(gray(face, 1), axis=2).max() == 0
    assert (brighten(np.full((2, 2, 3), 100, np.uint8), 1.5) == 150).all()
    assert (brighten(np.full((2, 2, 3), 200, np.uint8), 1.5) == 255).all()
    assert (brighten(np.full((2, 2, 3), 200, np.uint8), 2) == 255).all()  # a whole number of times, too
    noise = add_noise(np.full((200, 200, 3), 128, np.uint8), 10, np.random.default_rng(0)).astype(float)
    assert noise.std() == pytest.approx(10, rel=0.05) and np.ptp(noise, axis=2).max() == 0
    covered = (cover_somewhere(face, 0.5, np.random.default_rng(0)) == SHADE).all(2)
    assert covered.sum() == pytest.approx(24 * 24, abs=2)


def test_a_part_is_covered_about_its_middle(face):
    whole, half = ((cover(face, "eyes", share) == SHADE).all(2) for share in (1.0, 0.5))
    assert half.sum() == pytest.approx(whole.sum() / 4, rel=0.15) and (whole | ~half).all()
    middles = [np.argwhere(one).mean(0) for one in (whole, half)]
    assert middles[0] == pytest.approx(middles[1], abs=1)
    assert (cover(face, "mouth", 0) == face).all()

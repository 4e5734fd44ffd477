"""Valence and arousal: the weighted mean of published values, and nothing where they are not known."""

import pytest

from pfvit.emotions import EIGHT
from pfvit.inference.affect import OF_EMOTIONS, affect_of


def test_by_hand():
    assert affect_of({"neutral": 0.5, "happiness": 0.5}) == pytest.approx((0.405, 0.255))
    assert affect_of({"sadness": 0.2, "fear": 0.6}) == pytest.approx(
        (-0.63 / 4 - 0.64 * 3 / 4, -0.27 / 4 + 0.6 * 3 / 4)
    )
    assert affect_of(dict.fromkeys(OF_EMOTIONS, 0.0) | {"neutral": 1.0}) == (0, 0)
    assert set(OF_EMOTIONS) == set(EIGHT)


def test_other_names_have_none():
    assert affect_of({"smile": 0.9, "no smile": 0.1}) is None

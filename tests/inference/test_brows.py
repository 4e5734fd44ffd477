"""Frowning brows rise and spread, raised ones come down, and furrows between them soften."""

import numpy as np
import pytest

from pfvit.inference.brows import (
    ABOVE_EYES,
    EYES,
    FULL,
    LEAST,
    LOWERED,
    MOST,
    SURE,
    ease_brows,
    frown_and_raise,
    furrowed,
    soften_furrows,
)
from pfvit.inference.face_change import FaceChange
from pfvit.inference.face_edit import apply_change

SIZE, SIDE = 56, 224
BROWS = EYES - ABOVE_EYES


def still() -> FaceChange:
    flow, light = np.zeros((SIZE, SIZE, 2), np.float32), np.zeros((SIZE, SIZE, 3), np.float32)
    return FaceChange(flow, flow, np.ones((SIZE, SIZE), np.float32), light)


def face() -> np.ndarray:
    """A gray crop with two dark brows, and a furrow between them."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    brow = (np.abs(y - BROWS) < 0.015) & (np.abs(np.abs(x - 0.5) - 0.17) < 0.1)
    furrow = np.exp(-(((x - 0.5) / 0.008) ** 2) - ((y - BROWS) / 0.05) ** 4)
    return np.repeat(np.rint(170 - 120 * brow - 60 * furrow).astype(np.uint8)[..., None], 3, axis=2)


def brow_at(picture: np.ndarray, x: float) -> float:
    """The height of the brow at a column, in shares of the side from the top."""
    column = 170 - picture[:, round(x * SIDE)].mean(1).clip(max=170)
    return float((column * np.arange(SIDE)).sum() / column.sum() / SIDE)


@pytest.mark.parametrize(("shares", "expected"), [
    ({"anger": 1.0}, (MOST, 0)), ({"anger": (FULL + SURE) / 2}, ((1 + MOST) / 2, 0)), ({"anger": FULL}, (1, 0)),
    ({"surprise": 0.4, "fear": 0.6}, (0, 1)), ({"anger": (LEAST + FULL) / 2}, (0.5, 0)),
    ({"fear": FULL}, (0, 1)),
    ({"neutral": 1.0}, (0, 0)), ({"happiness": 0.9, "anger": LEAST}, (0, 0)), ({"cheerful": 1.0}, (0, 0)),
])  # fmt: skip
def test_what_the_recogniser_says_decides(shares, expected):
    assert frown_and_raise(shares) == pytest.approx(expected)


@pytest.mark.parametrize(("shares", "expected"), [
    ({"anger": 1.0}, 1), ({"sadness": (LEAST + FULL) / 2}, 0.5), ({"disgust": FULL / 2, "fear": FULL / 2}, 1),
    ({"surprise": 0.9, "fear": LEAST}, 0), ({"happiness": 1.0}, 0), ({"cheerful": 1.0}, 0),
])  # fmt: skip
def test_furrows_are_of_all_emotions_that_draw_brows_together(shares, expected):
    assert furrowed(shares) == pytest.approx(expected)


def test_brows_move_back_by_what_an_emotion_moves_them():
    calm, before = face(), brow_at(face(), 0.33)
    for shares, way in (({"anger": FULL}, -1), ({"surprise": 1.0}, 1)):
        moved = apply_change(calm, ease_brows(still(), shares))
        assert way * (brow_at(moved, 0.33) - before) == pytest.approx(LOWERED[2], rel=0.25), shares
        assert np.array_equal(moved[round(0.5 * SIDE) :], calm[round(0.5 * SIDE) :]), "below the eyes nothing moves"
    apart = ease_brows(still(), {"anger": 1.0}).base[round(BROWS * SIZE)]
    assert apart[round(0.43 * SIZE), 0] > 0 > apart[round(0.57 * SIZE), 0], "each is read from nearer the middle"


def test_calm_faces_stay_bit_for_bit():
    change = still()
    assert ease_brows(change, {"neutral": 0.9, "anger": LEAST}) is change
    assert soften_furrows(face(), change, 0.0) is change


@pytest.mark.parametrize(("share", "left"), [(0.5, 0.8), (1.0, 0.6)])
def test_a_furrow_loses_its_contrast_and_brows_do_not(share, left):
    picture = face()
    soft = apply_change(picture, soften_furrows(picture, still(), share))
    row = round((BROWS - 0.03) * SIDE)
    depth = [float(170 - one[row, SIDE // 2].mean()) for one in (picture, soft)]
    assert 0 < depth[1] < left * depth[0]
    beside = np.s_[:, : round(0.4 * SIDE)]
    assert np.abs(soft[beside].astype(int) - picture[beside]).max() <= 12


def test_the_dial_exaggerates_a_frown_too():
    change = soften_furrows(face(), ease_brows(still(), {"anger": 1.0}), 1.0)
    more = apply_change(face(), change.times(-1.0))
    assert brow_at(more, 0.33) > brow_at(face(), 0.33) + 0.5 * LOWERED[2]

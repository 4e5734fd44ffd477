"""Folds soften where skin is stretched, and nowhere else."""

import numpy as np
import pytest

from pfvit.inference.face_change import FaceChange
from pfvit.inference.face_edit import apply_change
from pfvit.inference.smile_folds import BROAD, SIDE, soften_folds

SIZE = 56


def change_with(stretch: float, split: float = 0.0) -> FaceChange:
    """A change whose skin around (0.5, 0.75) is read from a smaller or larger part: 1 + stretch of its width."""
    x, y = ((np.mgrid[:SIZE, :SIZE][::-1] + 0.5) / SIZE).astype(np.float32)
    near = np.exp(-(((x - 0.5) / 0.2) ** 4) - ((y - 0.75) / 0.15) ** 4)
    base = np.stack([(x - 0.5) * stretch * near, np.zeros_like(x)], axis=2)
    parted = np.full((SIZE, SIZE, 2), split, np.float32)
    return FaceChange(base, parted, np.ones((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE, 3), np.float32))


def lined(width: float = 1.5, place: float = 0.75, side: int = 224) -> np.ndarray:
    """A gray crop with a soft dark line across it at a height; its standard deviation is in pixels of SIDE."""
    away = (np.arange(side) + 0.5 - place * side) / (side / SIDE)
    column = 150 - 60 * np.exp(-0.5 * (away / width) ** 2)
    return np.broadcast_to(np.rint(column).astype(np.uint8)[:, None, None], (side, side, 3)).copy()


def depth(change: FaceChange, crop: np.ndarray) -> float:
    """How much darker the line is than the skin around it, in the middle of the changed crop."""
    column = apply_change(crop, change)[:, crop.shape[1] // 2].mean(1)
    return float(np.median(column) - column.min())


def test_a_fold_in_stretched_skin_loses_its_contrast():
    crop, change = lined(), change_with(-0.4)
    before, after = depth(change, crop), depth(soften_folds(crop, change), crop)
    assert before == pytest.approx(60, abs=2) and after < 0.7 * before


@pytest.mark.parametrize("stretch", [0.0, 0.4])
def test_skin_that_is_not_stretched_keeps_its_folds(stretch):
    crop, change = lined(), change_with(stretch)
    soft = soften_folds(crop, change)
    assert depth(soft, crop) == pytest.approx(depth(change, crop), abs=3)


def test_a_calm_face_is_left_alone():
    crop, calm = lined(), change_with(0.0)
    assert soften_folds(crop, calm) is calm


def test_eyes_stay():
    crop = lined(place=0.35)
    change = change_with(-0.4)
    moved = change._replace(base=np.roll(change.base, -round(0.4 * SIZE), axis=0))
    assert soften_folds(crop, moved).light[: round(0.44 * SIDE)] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("place", [(0.5, 0.54), (0.08, 0.75), (0.5, 0.96)], ids=["nose", "outline", "chin"])
def test_what_is_no_cheek_stays(place):
    """All skin is stretched, and there are lines everywhere."""
    x, y = ((np.mgrid[:SIZE, :SIZE][::-1] + 0.5) / SIZE).astype(np.float32)
    change = change_with(0.0)._replace(base=np.stack([(0.5 - x) * 0.4, np.zeros_like(y)], axis=2))
    crop = np.where(np.arange(224)[:, None, None] % 12 < 3, 90, 160).astype(np.uint8) * np.ones((224, 224, 3), np.uint8)
    soft = soften_folds(crop, change)
    row, column = (round(share * SIDE) for share in place[::-1])
    for changed in (np.abs(soft.light).max(axis=2), soft.smooth):
        assert changed[row - 3 : row + 3, column - 3 : column + 3].max() < 0.01
        assert changed[round(0.7 * SIDE), round(0.27 * SIDE)] > 0.02, "the cheek softens"


def test_lips_stay():
    crop, change = lined(), change_with(-0.4)
    y = np.broadcast_to((np.arange(SIZE)[:, None] + 0.5) / SIZE, (SIZE, SIZE))
    soft = soften_folds(crop, change._replace(height=(0.75 - y).astype(np.float32)))
    line = np.s_[round(0.75 * SIDE) - 2 : round(0.75 * SIDE) + 2]
    folded = soften_folds(crop, change)
    assert np.abs(soft.light[line, 45:67]).max() < 0.1 * np.abs(folded.light[line, 45:67]).max()
    assert soft.smooth[line, 45:67].max() < 0.2 < 0.9 < folded.smooth[line, 45:67].max()


def test_strong_lines_lose_more_and_their_grain():
    faint, strong = (np.clip(150 + (lined().astype(int) - 150) * share, 0, 255).astype(np.uint8) for share in (0.1, 1))
    change = change_with(-0.15)
    left = []
    for crop in (faint, strong):
        soft = soften_folds(crop, change)
        left.append(depth(soft, crop) / depth(change, crop))
        grain = soft.smooth[round(0.75 * SIDE), SIDE // 2]
        assert grain < 0.05 if crop is faint else grain > 0.5
    assert left[1] < left[0] - 0.15


def test_what_is_much_broader_than_a_fold_stays():
    shaded = np.repeat(np.linspace(80, 170, 224, dtype=np.float32)[:, None, None], 224, axis=1)
    crop = np.repeat(np.rint(shaded).astype(np.uint8), 3, axis=2)
    light = soften_folds(crop, change_with(-0.4)).light
    inside = round(3 * BROAD)
    assert np.abs(light[:-inside]).max() < 1.5 / 255


def test_between_parted_lips_nothing_softens():
    crop = lined()
    parted = change_with(-0.4, split=0.02)
    assert soften_folds(crop, parted) is parted


def test_gray_faces_stay_gray_and_light_is_kept():
    crop, change = lined(), change_with(-0.4)
    lit = change._replace(light=np.full((SIZE, SIZE, 1), 0.1, np.float32))
    light = soften_folds(crop, lit).light
    assert light.shape == (SIDE, SIDE, 3)
    assert np.ptp(light, axis=2).max() < 1e-6 and light[0, 0] == pytest.approx([0.1] * 3, abs=1e-3)


def test_a_share_of_the_change_softens_a_share_and_the_opposite_deepens():
    crop, change = lined(), change_with(-0.4)
    soft = soften_folds(crop, change)
    still = soft._replace(base=np.zeros_like(soft.base))
    depths = [depth(still.times(share), crop) for share in (-1, 0, 0.5, 1)]
    assert depths == sorted(depths, reverse=True) and depths[0] > depths[1] + 10 > depths[3] + 20

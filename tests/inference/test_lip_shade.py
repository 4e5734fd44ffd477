"""Closing lips get the shade of closed lips, and nothing else gets any."""

import numpy as np
import pytest

from pfvit.inference import lip_shade
from pfvit.inference.face_change import FaceChange
from pfvit.inference.lip_shade import LEAST, LUMINANCE, MIDDLE, STEP, shade_lips
from pfvit.inference.smile_folds import SIDE

SIZE, LINE = 56, 0.75
CLOSED = lip_shade.CLOSED @ LUMINANCE


def closing(parted: float = 0.02) -> FaceChange:
    """A change that parts a mouth around (0.5, LINE) in halves which move by so much, though by nothing to be seen."""
    x, y = ((np.mgrid[:SIZE, :SIZE][::-1] + 0.5) / SIZE).astype(np.float32)
    near = np.exp(-(((x - 0.5) / 0.2) ** 4) - ((y - LINE) / 0.15) ** 4)
    split = np.stack([parted * near, np.zeros_like(x)], axis=2)  # along the line, where all pixels are alike
    return FaceChange(np.zeros_like(split), split, LINE - y, np.zeros((SIZE, SIZE, 3), np.float32))


def lips(profile: np.ndarray, level: float = 150) -> np.ndarray:
    """A gray crop as bright across its lip line as a profile says, uint8 [SIDE, SIDE, 3]."""
    height = LINE - (np.arange(SIDE) + 0.5) / SIDE
    column = level * np.interp(height / STEP + MIDDLE, np.arange(len(profile)), profile)
    return np.broadcast_to(np.rint(column).astype(np.uint8)[:, None, None], (SIDE, SIDE, 3)).copy()


def middle(crop: np.ndarray, change: FaceChange) -> np.ndarray:
    """The lit crop's brightness at each of the heights that CLOSED has, in the middle of the mouth."""
    rows = (LINE - (np.arange(len(CLOSED)) - MIDDLE) * STEP) * SIDE - 0.5
    light = change.light if len(change.light) == SIDE else np.zeros((SIDE, SIDE, 3))
    return np.interp(rows, np.arange(SIDE), (crop / 255 + light)[:, SIDE // 2].mean(axis=1))


def test_evenly_bright_lips_become_as_dark_as_closed_ones():
    crop = lips(np.ones_like(CLOSED))
    shaded = middle(crop, shade_lips(crop, closing()))
    inside = np.s_[3:-3]  # it fades out beyond
    assert shaded[inside] / shaded[inside].mean() == pytest.approx(CLOSED[inside] / CLOSED[inside].mean(), abs=0.05)


def test_lips_with_the_shade_of_closed_ones_stay():
    crop = lips(CLOSED)
    assert np.abs(shade_lips(crop, closing()).light).max() < 0.04


@pytest.mark.parametrize("parted", [0.0, 0.0004])
def test_lips_that_were_closed_are_left_alone(parted):
    change = closing(parted)
    assert shade_lips(lips(np.ones_like(CLOSED)), change) is change


def test_lips_that_part_by_little_get_a_part():
    crop = lips(np.ones_like(CLOSED))
    little, much = (np.abs(shade_lips(crop, closing(parted)).light).max() for parted in (0.002, 0.02))
    assert 0.2 * much < little < 0.6 * much


def test_only_the_mouth_is_shaded_and_gray_stays_gray():
    crop = lips(np.ones_like(CLOSED))
    light = shade_lips(crop, closing()).light
    away = np.abs((np.arange(SIDE) + 0.5) / SIDE - LINE) > 0.05
    assert light[away] == pytest.approx(0, abs=1e-6) and light[:, : round(0.2 * SIDE)] == pytest.approx(0, abs=0.01)
    assert np.ptp(light, axis=2).max() < 1e-6


def test_what_is_much_brighter_than_lips_is_not_shaded():
    crop = lips(np.ones_like(CLOSED), level=60)
    crop[:, : round(0.35 * SIDE)] = 250  # behind a face in profile
    light = np.abs(shade_lips(crop, closing()).light)
    assert light[:, : round(0.33 * SIDE)].max() < 0.02 and light[:, round(0.5 * SIDE)].max() > 0.05


def test_light_that_was_there_is_kept():
    crop = lips(np.ones_like(CLOSED))
    lit = closing()._replace(light=np.full((SIZE, SIZE, 1), 0.1, np.float32))
    light = shade_lips(crop, lit).light
    assert light.shape == (SIDE, SIDE, 3) and light[0, 0] == pytest.approx([0.1] * 3, abs=1e-3)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_crops_are_no_trouble(level):
    crop = np.full((SIDE, SIDE, 3), level, np.uint8)
    light = shade_lips(crop, closing()).light
    assert np.isfinite(light).all() and light.min() >= LEAST - 1


def test_a_face_without_a_lip_line_is_no_trouble():
    change = closing()._replace(height=np.full((SIZE, SIZE), -0.5, np.float32))
    assert np.abs(shade_lips(lips(np.ones_like(CLOSED)), change).light).max() < 1e-6


def test_lips_that_are_red_get_redder_towards_their_line():
    crop = lips(np.ones_like(CLOSED))
    red = (crop * [1, 0.7, 0.6]).astype(np.uint8)
    shaded = red / 255 + shade_lips(red, closing()).light
    ratio = (shaded[..., 0] / shaded[..., 1])[:, SIDE // 2]
    assert ratio[round(LINE * SIDE)] > 1.1 * ratio[round((LINE - 0.1) * SIDE)]


def test_what_has_not_the_colour_of_lips_is_not_shaded():
    crop = (lips(np.ones_like(CLOSED)) * [1, 0.7, 0.6]).astype(np.uint8)
    shaded = np.abs(shade_lips(crop, closing()).light).max()
    for mask in ([60, 60, 62], [120, 160, 200], [235, 235, 235]):
        covered = crop.copy()
        covered[round(0.6 * SIDE) :] = mask
        assert np.abs(shade_lips(covered, closing()).light).max() < 0.01 < 0.1 < shaded, mask

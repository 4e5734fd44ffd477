"""Light takes the colour of the skin that it falls on, and keeps its brightness."""

import numpy as np
import pytest

from pfvit.inference.face_change import FaceChange
from pfvit.inference.skin_colour import OWN, SHARE, in_colour_of_skin

SIZE = 56
BROWN, PALE = (100, 60, 40), (220, 190, 175)


def lit(crop: np.ndarray, colour=(0.1, 0.1, 0.1)) -> np.ndarray:
    flow = np.zeros((SIZE, SIZE, 2), np.float32)
    light = np.broadcast_to(np.float32(colour), (SIZE, SIZE, 3))
    return in_colour_of_skin(crop, FaceChange(flow, flow, flow[..., 0], light)).light


def skin(colour: tuple[int, int, int], side: int = 200) -> np.ndarray:
    """Skin with black hair to one side and white cloth to the other."""
    crop = np.full((side, side, 3), colour, np.uint8)
    crop[:, : side // 20], crop[:, -side // 20 :] = 0, 255
    return crop


def test_gray_light_on_brown_skin_is_brown():
    light, colour = lit(skin(BROWN))[20, 20], np.array(BROWN) / np.mean(BROWN)
    assert light == pytest.approx(0.1 * (1 + SHARE * (colour - 1)), rel=0.02)
    assert light.mean() == pytest.approx(0.1), "as bright as it was"


def test_light_on_pale_skin_stays_and_in_between_it_changes_gradually():
    own = np.array([0.12, 0.1, 0.08])
    assert lit(skin(PALE), own)[20, 20] == pytest.approx(own, abs=1e-6)
    spread = [np.ptp(lit(skin((grey + 30, grey, grey - 30)))[20, 20]) * grey for grey in range(80, 160, 5)]
    assert np.all(np.diff(spread) <= 0.01) and spread[-1] == pytest.approx(0, abs=1e-3) and spread[0] > 3


def test_half_of_its_own_colour_stays():
    own = np.array([0.14, 0.1, 0.06])
    assert lit(skin((80, 80, 80)), own)[30, 30] == pytest.approx(0.1 + OWN * (own - 0.1), rel=1e-4)


def test_each_place_has_the_colour_around_it():
    half = np.concatenate([skin(BROWN)[:100], skin((90, 90, 90))[:100]])
    light = lit(half)
    assert np.ptp(light[5, 30]) > 0.04 and np.ptp(light[50, 30]) < 1e-3


def test_in_mist_it_is_as_in_good_light():
    photo = skin(BROWN)
    misty = np.rint(photo * 0.2 + 150).astype(np.uint8)
    assert lit(misty)[28, 28] == pytest.approx(lit(photo)[28, 28], abs=0.02)


def test_there_is_no_colour_of_black():
    assert lit(np.zeros((60, 60, 3), np.uint8)) == pytest.approx(0.1)

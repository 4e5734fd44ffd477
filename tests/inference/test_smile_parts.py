"""Eyes, nose and chin move less in a smile, the mouth as before, and other expressions as before."""

import numpy as np
import pytest

from pfvit.inference.face_change import FaceChange
from pfvit.inference.smile_parts import CHIN_KEPT, EYES_KEPT, NOSE_KEPT, keep_still

SIZE = 56
EYES, NOSE, MOUTH, CHIN = (0.3, 0.35), (0.5, 0.54), (0.36, 0.73), (0.3, 0.95)  # x and y, in shares of the side


def change() -> FaceChange:
    flow, flat = np.full((SIZE, SIZE, 2), 0.02, np.float32), np.ones((SIZE, SIZE), np.float32)
    return FaceChange(flow, flow, flat, np.full((SIZE, SIZE, 3), 0.1, np.float32))


def kept_at(place: tuple[float, float], shares: dict[str, float]) -> float:
    x, y = (int(share * SIZE) for share in place)
    return float(keep_still(change(), shares).base[y, x, 1]) / 0.02


@pytest.mark.parametrize(("place", "kept"), [(EYES, EYES_KEPT), (NOSE, NOSE_KEPT), (CHIN, CHIN_KEPT), (MOUTH, 1)])
def test_a_smile_moves_the_mouth(place, kept):
    assert kept_at(place, {"happiness": 1.0}) == pytest.approx(kept, abs=0.02)
    assert kept_at(place, {"happiness": 0.3, "neutral": 0.7}) == pytest.approx(kept, abs=0.02), "or less than a smile"
    assert kept_at(place, {"happiness": 0.5}) == pytest.approx((1 + kept) / 2, abs=0.02)


def test_other_expressions_and_all_but_the_flow_stay():
    whole = change()
    assert keep_still(whole, {"surprise": 1.0}) is whole
    less = keep_still(whole, {"happiness": 1.0})
    assert less.split is whole.split and less.light is whole.light and less.height is whole.height

"""Movement by region, read off maps whose movement is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pfvit
from pfvit.detection.alignment import POINTS
from pfvit.inference.face_change import FaceChange
from pfvit.inference.movement import EYE_DISTANCE, measure_movement

SIZE = 56
Y, X = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
LIP_LINE = float(POINTS[3:5, 1].mean())


def change(base=None, split=None) -> FaceChange:
    still = np.zeros((SIZE, SIZE, 2), np.float32)
    height = (LIP_LINE - Y).astype(np.float32)
    return FaceChange(still if base is None else base, still if split is None else split, height, still[..., :1])


def test_a_face_that_does_not_move_measures_nothing():
    assert measure_movement(change()) == pytest.approx((0, 0, 0, 0, 0))


def test_each_region_by_itself():
    """A smile of a tenth of the side more width, corners 0.02 higher, brows 0.01 higher, lips 0.03 apart."""
    base = np.zeros((SIZE, SIZE, 2), np.float32)
    mouth = Y > 0.6
    base[..., 0] = np.where(mouth, np.clip(X - 0.5, -0.05, 0.05), 0)
    base[..., 1] = np.where(mouth, -0.02 * np.clip(np.abs(X - 0.5) / 0.1, 0, 1), np.where(Y < 0.3, -0.01, 0))
    split = np.zeros_like(base)
    split[..., 1] = np.where(mouth, -0.015, 0)
    seen = measure_movement(change(base, split))
    assert seen.mouth_width * EYE_DISTANCE == pytest.approx(0.1, abs=0.01)
    assert seen.mouth_corners * EYE_DISTANCE == pytest.approx(0.02, abs=0.003)
    assert seen.brows * EYE_DISTANCE == pytest.approx(0.01, abs=0.001)
    assert seen.mouth_opening * EYE_DISTANCE == pytest.approx(0.03, abs=0.001)
    assert seen.lids == pytest.approx(0)


def test_the_mouth_is_looked_for_where_the_detector_saw_it():
    base = np.zeros((SIZE, SIZE, 2), np.float32)
    base[..., 0] = np.where(X < 0.3, -0.05, 0)
    aside = np.array([[0.2, LIP_LINE], [0.5, LIP_LINE]])
    assert measure_movement(change(base), aside).mouth_width * EYE_DISTANCE == pytest.approx(0.05, abs=0.005)
    assert measure_movement(change(base)).mouth_width == pytest.approx(0, abs=1e-3)


def test_it_is_of_what_the_photo_model_sees_and_not_of_what_the_recogniser_calls_it():
    (face,) = pfvit.read(Path(__file__).parents[2] / "assets" / "astronaut.jpg")
    angry = replace(face, probabilities={**face.probabilities, "anger": 0.9}, maps=[face._maps])
    assert not np.array_equal(angry.change().base, face.change().base), "its brows are eased"
    assert angry.movement == face.movement

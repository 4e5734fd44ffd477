"""Mesh points and the teacher of neutral faces, on faces whose neutral form is known because we made them."""

import numpy as np
import pytest
from helpers import plain_face

from pfvit.datasets import mesh_points as mesh
from pfvit.errors import InputError

HAPPY, SURPRISED = 1, 2


def people(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Neutral faces of many people, and the same people smiling by some amount: [count, 478, 2] each."""
    basis = np.random.default_rng(6).normal(0, 1, (12, mesh.POINTS, 2)) * 0.02
    rng = np.random.default_rng(seed)
    basis[:, list(mesh.EYES)] = 0
    basis[:, 14] = basis[:, 13]  # closed mouths
    neutral = plain_face() + np.einsum("nk,kij->nij", rng.normal(0, 0.3, (count, 12)), basis)
    smile = np.zeros((mesh.POINTS, 2))
    lips = [*mesh.OUTER_UPPER, *mesh.INNER_UPPER, *mesh.INNER_LOWER, *mesh.OUTER_LOWER]
    smile[lips, 0] = 0.45 * plain_face()[lips, 0]
    smile[list(mesh.CORNERS)] = [[-0.13, -0.09], [0.13, -0.09]]
    strength = rng.uniform(0.4, 1.3, (count, 1, 1))
    return neutral, neutral + strength * smile


def shares(count: int, kind: int) -> np.ndarray:
    rows = np.full((count, 8), 0.0005, np.float32)
    rows[:, kind] = 0.99
    return rows


@pytest.fixture(scope="module")
def teacher() -> mesh.NeutralTeacher:
    neutral, smiling = people(600)
    return mesh.NeutralTeacher(
        np.concatenate([neutral[:300], smiling[300:]]), np.concatenate([shares(300, 0), shares(300, HAPPY)])
    )


def test_face_units_lead_there_and_back():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (5, mesh.POINTS, 2))
    units, origin, axis = mesh.to_face_units(points)
    assert units[:, list(mesh.EYES)] == pytest.approx(np.broadcast_to([[-0.5, 0], [0.5, 0]], (5, 2, 2)))
    assert mesh.from_face_units(units, origin, axis) == pytest.approx(points)
    moved = points * 3 @ np.array([[0, 1], [-1, 0]]) + 7  # three times as large, and turned
    assert mesh.to_face_units(moved)[0] == pytest.approx(units)


def test_measures_by_hand():
    face = plain_face()[None].copy()
    face[0, 14, 1] += 0.1
    assert mesh.mouth_opening(face) == pytest.approx([0.1])
    assert mesh.mouth_width(face) == pytest.approx([0.56])
    assert mesh.corner_drop(face) == pytest.approx([0.84 - (0.83 + 0.93) / 2])
    assert mesh.turn(face) == pytest.approx([0])


def test_a_smile_is_taken_off_people_it_has_never_seen(teacher):
    neutral, smiling = people(80, seed=9)
    guess = teacher(smiling, shares(80, HAPPY))
    before = np.abs(smiling - neutral)[:, mesh.LIPS].mean()
    after = np.abs(guess - neutral)[:, mesh.LIPS].mean()
    assert after < before / 5
    assert mesh.mouth_width(guess).mean() == pytest.approx(mesh.mouth_width(neutral).mean(), abs=0.01)


def test_a_smile_that_a_recogniser_calls_neutral_is_taken_off_too(teacher):
    neutral, smiling = people(80, seed=9)
    assert (teacher.smile(smiling) > 0.9).mean() > 0.9 and (teacher.smile(neutral) < 0.5).mean() > 0.8
    guess = teacher(smiling, shares(80, 0))
    assert mesh.mouth_width(guess).mean() < mesh.mouth_width(smiling).mean() - 0.15


def test_neutral_faces_nearly_stay(teacher):
    neutral, smiling = people(80, seed=3)
    moved = np.abs(teacher(neutral, shares(80, 0)) - neutral)[:, mesh.LIPS].mean()
    assert moved < np.abs(smiling - neutral)[:, mesh.LIPS].mean() / 8


def test_the_jaw_follows_by_a_third_unless_the_mouth_is_open(teacher):
    _, smiling = people(20, seed=4)
    smiling[:, mesh.JAW] += [0.0, 0.1]
    whole = smiling.copy()
    shut = teacher(smiling, shares(20, HAPPY)) - smiling
    opened = smiling.copy()
    opened[:, 14, 1] += mesh.JAW_OPENING
    free = teacher(opened, shares(20, HAPPY)) - opened
    assert np.array_equal(smiling, whole), "the points given are left as they are"
    ratio = np.linalg.norm(shut[:, mesh.JAW], axis=2).mean() / np.linalg.norm(free[:, mesh.JAW], axis=2).mean()
    assert ratio == pytest.approx(mesh.JAW_FOLLOWS, abs=0.06)


def test_an_emotion_with_too_few_faces_has_no_filter_and_too_few_faces_are_refused(teacher):
    assert set(teacher.filters) == {HAPPY} and teacher.counts["happiness"] == 300
    neutral, smiling = people(40)
    with pytest.raises(InputError, match="too few"):
        mesh.NeutralTeacher(np.concatenate([neutral, smiling]), np.concatenate([shares(40, 0), shares(40, HAPPY)]))


def test_points_are_read_from_components(tmp_path):
    neutral, _ = people(6)
    flat = neutral.reshape(6, -1)
    mean = flat.mean(0)
    _, _, v = np.linalg.svd(flat - mean, full_matrices=False)
    place = np.tile([0.5, 0.4, 0.36, 0.0], (6, 1)).astype(np.float32)
    np.savez(
        tmp_path / "points.npz", mean=mean, V=v.T, utk_coef=(flat - mean) @ v.T, utk_oa=place,
        utk_ok=np.ones(6, bool), utk_share=shares(6, 0), utk_row=np.arange(6, dtype=np.int32),
    )  # fmt: skip
    read = mesh.load_mesh_points(tmp_path / "points.npz", "utk")
    assert read.points == pytest.approx(neutral, abs=1e-5) and read.found.all() and read.rows.tolist() == list(range(6))
    assert read.origin[0] == pytest.approx([0.5, 0.4]) and read.axis[0] == pytest.approx([0.36, 0])
    with pytest.raises(InputError, match="no mesh points of 'fer'"):
        mesh.load_mesh_points(tmp_path / "points.npz", "fer")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "points.npz").read_bytes()[:200])
    for name in ("torn.npz", "absent.npz"):
        with pytest.raises(InputError, match="cannot be read as mesh points"):
            mesh.load_mesh_points(tmp_path / name, "utk")

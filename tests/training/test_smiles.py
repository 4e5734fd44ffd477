"""The face's shape has a say between neutral and happiness, and nowhere else."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pfvit
from pfvit.config import Train
from pfvit.datasets import mesh_points as mesh
from pfvit.errors import InputError
from pfvit.training import checkpoint, resume, smiles
from pfvit.training.faces import check_places


class Shapes:
    """Says of each face with how large odds it smiles: as its first point lies to the right."""

    def smile_odds(self, points: np.ndarray) -> np.ndarray:
        return points[:, 0, 0] + mesh.SMILE_ODDS


@pytest.fixture
def four(monkeypatch):
    points = np.zeros((4, mesh.POINTS, 2))
    points[:, 0, 0] = [50.0, -50.0, 50.0, 50.0]
    points[3, 1, 0] = 0.5  # the tip of the nose: a head turned far
    found = np.array([True, True, True, True])
    held = mesh.MeshPoints(points, np.zeros((4, 2)), np.zeros((4, 2)), found, np.zeros((4, 8), np.float32), None)
    monkeypatch.setattr(mesh, "load_mesh_points", lambda path, name: held)
    monkeypatch.setattr(mesh, "NeutralTeacher", lambda points, shares: Shapes())
    return held


def test_a_smile_by_shape_is_no_longer_neutral_beyond_doubt(four):
    answer = np.zeros((4, 8), np.float32)
    answer[:, 0], answer[:, 1] = 0.9, 0.1
    answer[2] = np.array([0.3, 0.1, 0.6, 0, 0, 0, 0, 0])  # mostly surprise
    groups = {f"a#{n}": SimpleNamespace(path=Path("faces_color.parquet"), index=n) for n in (0, 1)}
    others = {"b#0": np.full((2, 8), 0.125, np.float32)}
    mixed = smiles.with_shape({"a#0": answer[:1], "a#1": answer[1:], **others}, groups, Path("points.npz"))
    assert mixed["a#0"][0, :2] == pytest.approx([0, 1], abs=1e-6), "the shape decides"
    assert mixed["a#1"][0, :2] == pytest.approx([1, 0], abs=1e-6)
    np.testing.assert_array_equal(mixed["a#1"][1:], answer[2:], "other emotions and turned heads keep theirs")
    np.testing.assert_array_equal(mixed["b#0"], others["b#0"])
    assert mixed["a#1"].sum(1) == pytest.approx(np.ones(3))


def test_points_of_other_faces_are_refused(four):
    answer = {"a#0": np.full((3, 8), 0.125, np.float32)}
    with pytest.raises(InputError, match="has 4 faces of faces_color"):
        smiles.with_shape(answer, {"a#0": SimpleNamespace(path=Path("faces_color.parquet"), index=0)}, Path("p.npz"))
    with pytest.raises(InputError, match="has no mesh points of other"):
        smiles.with_shape(answer, {"a#0": SimpleNamespace(path=Path("other.parquet"), index=0)}, Path("p.npz"))


def test_points_that_are_not_there_are_told_before_the_teachers_are_asked(made_up, tmp_path):
    config = Train(
        data=(made_up,), out=tmp_path / "run", teacher=(made_up,), unlabelled=(made_up,), mesh_points=tmp_path / "p.npz"
    )
    with pytest.raises(InputError, match="is not there; give the mesh points of the unlabelled faces"):
        check_places(config)


def test_points_may_be_named_as_text_from_python(made_up, tmp_path):
    more = {"teacher": made_up, "unlabelled": made_up, "mesh_points": str(tmp_path / "p.npz")}
    with pytest.raises(InputError, match="is not there; give the mesh points of the unlabelled faces"):
        pfvit.train("nano", data=made_up, out=tmp_path / "run", **more)


def test_a_run_with_points_goes_on_from_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "p.npz").touch()
    config = Train(
        data=(Path("faces.parquet"),),
        out=tmp_path / "run",
        teacher=(Path("teacher.onnx"),),
        unlabelled=(Path("more.parquet"),),
        mesh_points=Path("p.npz"),
    )
    record = {"stage": "train", "step": 1, "config": asdict(config), resume.STARTED_IN: tmp_path}
    (tmp_path / "elsewhere").mkdir()
    config.out.mkdir()
    plain = json.loads(json.dumps(record, default=str))
    checkpoint.save(config.out / checkpoint.LAST, {"weight": torch.zeros(1)}, plain)
    monkeypatch.chdir(tmp_path / "elsewhere")
    found, _ = resume.settings_of(config.out, Train)
    assert found.mesh_points == tmp_path / "p.npz" and found.data == config.data and found.teacher == config.teacher

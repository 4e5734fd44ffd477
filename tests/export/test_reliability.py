"""How reliable an answer is: fitted on held-out faces, and written into the file."""

import numpy as np
import onnx
import pytest

from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.views import cover
from pfvit.export.calibration import as_bytes
from pfvit.export.reliability import Reliability, fit_reliability, write_reliability
from pfvit.inference.network import int8_path, open_answering, open_recogniser
from pfvit.inference.unsure import LEAST_RELIABLE, unsure


def test_the_file_says_what_the_formula_says(nano, tmp_path):
    """Both files of an export get the same weights; the tokens are those that the components add up to."""
    path, width = tmp_path / "x.onnx", 32
    model = onnx.load(nano / "nano.onnx")
    assert model.graph.output.pop().name == "reliability"
    del model.graph.node[[n.output[0] for n in model.graph.node].index("reliability/count") :]
    kept = [one for one in model.graph.initializer if not one.name.startswith("reliability/")]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, path)
    assert "reliability" not in open_recogniser(path).gives
    rng = np.random.default_rng(0)
    fitted = Reliability(0.3, 0.8, rng.normal(0, 0.3, 2 * width).astype(np.float32))
    plain = path.read_bytes()
    write_reliability(path, fitted)
    images = rng.integers(0, 256, (24, 30, 30, 3), dtype=np.uint8)
    out = open_recogniser(path).run(image=images)
    tokens = out["emotion"] + out["residue"]
    best = out["probabilities"].max(1)
    odds = np.log(best / (1 - best)) * 0.8 + np.concatenate([tokens[:, 0], tokens[:, 1:].mean(1)], 1) @ fitted.weight
    assert out["reliability"] == pytest.approx(1 / (1 + np.exp(-odds - 0.3)), abs=1e-4)
    assert np.ptp(out["reliability"]) > 0.01

    # With a say for mild smiles, only answers of neutral change, and at the share that was named they are just unsure.
    shares = out["probabilities"]
    lowered = 0
    for first in range(shares.shape[1]):
        names = [f"other {k}" for k in range(shares.shape[1])]
        second = (first + 1) % len(names)
        names[first], names[second] = "neutral", "happiness"
        path.write_bytes(plain)
        write_reliability(path, fitted, names, mild_smiles=0.02)
        told = open_recogniser(path).run(image=images)["reliability"]
        trusted = 1 / (1 + (shares[:, second] / shares[:, first]) * (1 / 0.75 - 1) * 0.98 / 0.02)
        called = shares.argmax(1) == first
        expected = np.where(called, np.minimum(out["reliability"], trusted), out["reliability"])
        assert told == pytest.approx(expected, abs=1e-4)
        lowered += (told < out["reliability"] - 0.01).sum()
    assert lowered
    path.write_bytes(plain)
    write_reliability(path, fitted, ["other"] * shares.shape[1], mild_smiles=0.2)
    assert open_recogniser(path).run(image=images)["reliability"] == pytest.approx(out["reliability"], abs=1e-6)


def test_it_falls_where_faces_are_covered(nano, made_up):
    """In made-up faces the mouth tells the emotion, so with it covered the answers are no better than chance."""
    network = open_answering(nano / "nano.onnx")
    assert network.path == int8_path(nano / "nano.onnx")
    faces = as_bytes(read_all(FaceDataset([made_up]), 24, 1).image)
    plain = network.answers(list(faces))[1]
    covered = network.answers([cover(face, "lower") for face in faces])[1]
    assert plain is not None and covered is not None and plain.shape == (len(faces),)
    assert covered.min() >= 0 and plain.max() <= 1 and covered.mean() < plain.mean()


def test_the_fit_finds_what_makes_answers_wrong(nano, made_up, monkeypatch):
    """Answers that are right by their own odds alone: the slope is found and the tokens get no weight."""
    rng = np.random.default_rng(1)
    best = rng.uniform(0.3, 0.99, 4000)
    right = rng.uniform(size=4000) < best
    tokens = rng.normal(2, 3, (4000, 64)).astype(np.float32)
    monkeypatch.setattr("pfvit.export.reliability._answers", lambda *_: iter([(best, tokens, right)]))
    fitted = fit_reliability(nano / "nano.onnx", np.zeros((4000, 2, 2, 3), np.uint8), np.zeros(4000, int))
    assert fitted.slope == pytest.approx(1, abs=0.1) and fitted.bias == pytest.approx(0, abs=0.1)
    assert np.abs(fitted.weight).max() < 0.05


def test_what_is_unsure():
    shares = np.array([[0.7, 0.2, 0.1], [0.41, 0.33, 0.26], [0.39, 0.2, 0.2], [0.5, 0.3, 0.2]])
    assert unsure(shares).tolist() == [False, True, True, False]
    assert unsure(shares, np.array([0.7, 0.8, 0.75, 0.2])).tolist() == [True, False, False, True]
    assert bool(unsure(shares[0], LEAST_RELIABLE - 0.01)) and not bool(unsure(shares[1], LEAST_RELIABLE))

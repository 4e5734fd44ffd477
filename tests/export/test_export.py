import json
import math

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from conftest import pfvit
from PIL import Image

from pfvit.config import Export, Train
from pfvit.config.presets import NANO
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.errors import InputError
from pfvit.export.calibration import as_bytes, fit
from pfvit.export.graphs import FaceGraph, Preprocess, Recogniser
from pfvit.export.onnx import _without_paths, checkpoint_path, data_seen, export_run, load_model
from pfvit.inference.network import generator_path, int8_path, open_answering, open_recogniser, open_whole
from pfvit.training import checkpoint
from pfvit.training.initialise import both_sides
from pfvit.training.resume import STARTED_IN

OUTPUTS = ["logits", "probabilities", "emotion", "residue"]


@pytest.fixture(scope="module")
def both(nano):
    """The exported sessions and the same modules in torch."""
    recogniser = ort.InferenceSession(nano / "nano.onnx")
    generator = ort.InferenceSession(generator_path(nano / "nano.onnx"))
    model, record = load_model(nano / "two")
    sizes = checkpoint.architecture_of(record)
    temperature = float(recogniser.get_modelmeta().custom_metadata_map["pfvit.temperature"])
    preprocess = Preprocess(sizes.image_size, sizes.channels)
    reference = Recogniser(model.encoder, model.separator, model.classifier, preprocess, temperature)
    return recogniser, generator, reference, FaceGraph(model.generator)


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 48, 48), (8, 61, 37), (1, 1, 1), (3, 301, 200), (8, 7, 90)])
def test_the_files_do_what_torch_does(both, shape):
    recogniser, generator, reference, face_graph = both
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    answers = recogniser.run(OUTPUTS, {"image": image})
    strength = np.linspace(0, 1, shape[0], dtype=np.float32)
    (face,) = generator.run(None, {"emotion": answers[2], "residue": answers[3], "strength": strength})
    with torch.no_grad():
        expected = reference(torch.from_numpy(image))
        drawn = face_graph(*expected[2:], torch.from_numpy(strength))
    for ours, theirs in zip((*answers, face), (*expected, drawn), strict=True):
        assert np.abs(ours - theirs.numpy()).max() < 1e-4
    np.testing.assert_allclose(answers[1].sum(1), 1, rtol=1e-5)
    assert face.shape == (shape[0], 24, 24, 1) and face.min() >= 0 and face.max() <= 1


def test_the_files_describe_themselves(both):
    recogniser, generator, _, _ = both
    said = [session.get_modelmeta().custom_metadata_map for session in (recogniser, generator)]
    assert [about["pfvit.kind"] for about in said] == ["recogniser", "generator"]
    assert said[0]["pfvit.pair"] == said[1]["pfvit.pair"] and len(said[0]["pfvit.pair"]) == 16
    assert json.loads(said[0]["pfvit.labels"])[0] == "neutral"
    assert said[0]["pfvit.format"] == "1" and said[0]["pfvit.size"] == "24"
    assert [i.name for i in recogniser.get_inputs()] == ["image"]
    assert [o.name for o in recogniser.get_outputs()] == [*OUTPUTS, "reliability"]


def test_the_files_do_not_tell_where_they_were_made(nano):
    for path in (nano / "nano.onnx", generator_path(nano / "nano.onnx")):
        content = path.read_bytes()
        assert b".py" not in content and str(nano).encode() not in content


@pytest.mark.parametrize("size", [(112, 112), (211, 300), (13, 10), (48, 48), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resampling_equals_pillow_s_within_rounding(size, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    ours = (Preprocess(48, channels)(torch.from_numpy(pixels)[None])[0] + 1) * 127.5
    picture = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    theirs = np.asarray(picture.resize((48, 48), Image.Resampling.BILINEAR), dtype=np.float32).reshape(48, 48, -1)
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() < 1.6  # Pillow rounds gray, rows and columns


def test_training_can_start_from_what_was_exported(nano, made_up, tmp_path):
    """At half precision, so nearly where the run ended; and nothing in it tells where it was made."""
    path = checkpoint_path(nano / "nano.onnx")
    assert str(nano).encode() not in path.read_bytes()
    assert checkpoint.load(path)[1]["config"]["out"] == "two"
    ended, _ = load_model(nano / "two")
    model, _ = both_sides(Train(data=(made_up,), out=tmp_path, model=NANO, start=path))
    for name, weight in ended.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=1e-3, rtol=1e-3)


def test_only_a_run_of_stage_two_can_be_exported(nano, tmp_path):
    done = pfvit("export", nano / "one", "--out", tmp_path / "x.onnx")
    assert done.returncode == 1 and "those of `pfvit train` can be measured, exported" in done.stderr
    done = pfvit("export", nano / "two", "--out", tmp_path / "x.bin")
    assert done.returncode == 2 and "must name an .onnx file" in done.stderr
    assert not list(tmp_path.iterdir())


def test_temperature_and_logit_adjustment_are_fitted():
    generator = torch.Generator().manual_seed(0)
    truth = torch.multinomial(torch.tensor([0.9, 0.1]), 4000, replacement=True, generator=generator)
    # The best that can be known of two overlapping classes, said three times too loudly.
    seen = torch.randn(4000, generator=generator) + truth
    logits = torch.stack([torch.zeros(4000), seen - 0.5 - math.log(9)], dim=1).double()
    temperature, lift = fit(3 * logits, truth, adjustment=0)
    assert temperature == pytest.approx(3, rel=0.1) and lift is None

    def recall(scores):
        return [float((scores.argmax(1)[truth == k] == k).float().mean()) for k in (0, 1)]

    shares = []
    for adjustment in (0.5, 1.0):
        temperature, lift = fit(3 * logits, truth, adjustment)
        shares.append(recall(3 * logits + lift)[1])
    assert recall(logits)[1] < shares[0] < shares[1]


def test_only_rare_emotions_are_favoured():
    generator = torch.Generator().manual_seed(0)
    prior = torch.tensor([0.4, 0.29, 0.29, 0.02])
    truth = torch.multinomial(prior, 4000, replacement=True, generator=generator)
    logits = (
        prior.log() + 2 * torch.nn.functional.one_hot(truth, 4) + torch.randn(4000, 4, generator=generator)
    ).double()
    lift = fit(logits, truth, adjustment=0.5)[1]
    assert lift is not None
    temperature = fit(logits, truth, adjustment=0)[0]
    lift, mean = lift / temperature, (logits / temperature).softmax(1).mean(0)
    assert lift[0] == lift[1] == lift[2] == pytest.approx(-0.5 * math.log(0.8 / 4), abs=0.05)
    assert mean[3] < 0.02 and lift[3] == pytest.approx(-0.5 * math.log(mean[3]), abs=0.01)


def test_logit_adjustment_needs_faces_to_calibrate_on(nano, tmp_path):
    done = pfvit("export", nano / "two", "--out", tmp_path / "x.onnx", "--logit-adjustment", "0.5")
    assert done.returncode == 2 and "--logit-adjustment needs --calibrate" in done.stderr


def test_a_recogniser_that_averages_over_the_mirror_image(nano, both, made_up, tmp_path):
    path = tmp_path / "m.onnx"
    done = pfvit(
        "export", nano / "two", "--out", path, "--flip-tta", "--logit-adjustment", "0.3", "--calibrate", made_up
    )
    assert done.returncode == 0, done.stderr
    image = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    session = ort.InferenceSession(path)
    logits, _, emotion, residue = session.run(OUTPUTS, {"image": image})
    turned = session.run(None, {"image": image[:, :, ::-1].copy()})[0]
    np.testing.assert_allclose(logits, turned, atol=1e-4)  # the same answer for a face and its mirror image
    recogniser = both[0]
    one, _, *parts = recogniser.run(OUTPUTS, {"image": image})
    other = recogniser.run(None, {"image": image[:, :, ::-1].copy()})[0]
    lift = logits - (one + other) / 2
    np.testing.assert_allclose(lift, np.broadcast_to(lift[0], lift.shape), atol=1e-4)
    assert np.abs(lift).max() > 0.05
    for mine, theirs in zip((emotion, residue), parts, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_eight_bits_answer_nearly_the_same(nano, both, made_up):
    path = int8_path(nano / "nano.onnx")
    assert path.stat().st_size < 0.6 * (nano / "nano.onnx").stat().st_size
    quick = open_answering(nano / "nano.onnx")
    assert quick.path == path and quick.gives == {"logits", "probabilities", "reliability"}
    assert quick.pair == both[0].get_modelmeta().custom_metadata_map["pfvit.pair"]
    faces = as_bytes(read_all(FaceDataset([made_up]), 24, 1).image)
    eight, full = (
        network.run(["probabilities"], image=faces)["probabilities"] for network in (quick, open_whole(quick))
    )
    assert 0 < np.abs(eight - full).mean() < 0.02
    assert np.mean(eight.argmax(1) == full.argmax(1)) > 0.95


def test_eight_bits_of_another_export_are_refused(nano, tmp_path):
    for path in (nano / "nano.onnx", int8_path(nano / "nano.onnx")):
        (tmp_path / path.name.replace("nano", "x")).write_bytes(path.read_bytes())
    model = onnx.load(tmp_path / "x.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, about | {"pfvit.pair": "other"})
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(InputError, match="is not the 8-bit form of"):
        open_whole(open_answering(tmp_path / "x.onnx"))


def test_an_export_without_faces_leaves_no_eight_bits_of_an_earlier_one(nano, tmp_path):
    int8_path(tmp_path / "x.onnx").write_bytes(b"old")
    assert pfvit("export", nano / "two", "--out", tmp_path / "x.onnx", "--license", "CC0").returncode == 0
    assert open_recogniser(tmp_path / "x.onnx").about["pfvit.license"] == "CC0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-generator.onnx", "x.onnx", "x.safetensors"]


def test_a_file_names_all_data_that_its_weights_have_seen(nano, tmp_path):
    tensors, one = checkpoint.load(nano / "one")
    _, two = checkpoint.load(nano / "two")
    one["config"]["data"] = ["/b/unlabelled.parquet", "/b/both.parquet"]
    two["config"] |= {"data": ["/a/both.parquet", "/a/labelled.parquet"], "start": str(tmp_path / "one")}
    assert data_seen(two) == ["both.parquet", "labelled.parquet"]  # the earlier run is gone
    (tmp_path / "one").mkdir()
    checkpoint.save(tmp_path / "one" / checkpoint.LAST, tensors, one)
    assert data_seen(two) == ["both.parquet", "labelled.parquet", "unlabelled.parquet"]
    one["config"]["start"] = str(tmp_path / "one")  # names that have been used twice do not go round for ever
    checkpoint.save(tmp_path / "one" / checkpoint.LAST, tensors, one)
    assert data_seen(two) == ["both.parquet", "labelled.parquet", "unlabelled.parquet"]
    assert checkpoint.load(checkpoint_path(nano / "nano.onnx"))[1]["config"]["data"] == ["faces.parquet"]
    two["config"] |= {"unlabelled": ["/c/more.parquet"], "teacher": ["/d/teacher.onnx"], "mesh_points": "/e/points.npz"}
    assert STARTED_IN in two and STARTED_IN not in _without_paths(two)
    kept = _without_paths(two)["config"]
    assert kept["data"] == ["both.parquet", "labelled.parquet", "more.parquet", "unlabelled.parquet"]
    assert kept["unlabelled"] == ["more.parquet"] and kept["teacher"] == ["teacher.onnx"]
    assert kept["mesh_points"] == "points.npz"


def test_figures_that_cannot_be_read_are_told_before_the_export(tmp_path):
    with pytest.raises(InputError, match=r"no\.json cannot be read as what `pfvit evaluate --json` prints"):
        export_run(Export(tmp_path / "run", tmp_path / "x.onnx", metrics=tmp_path / "no.json"))

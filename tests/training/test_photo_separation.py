"""What the photo model's components hold, and what recognisers say of its poker faces."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import pfvit
from helpers import plain_face
from safetensors.torch import save_file

from pfvit.config.presets import NANO
from pfvit.errors import InputError
from pfvit.inference import network
from pfvit.model.leace_axes import leace_axes, logistic_regression
from pfvit.model.photo import SIZE, WIDTH, PhotoPFViT, is_former
from pfvit.training import checkpoint, photo_recognisers
from pfvit.training.build import build_pfvit
from pfvit.training.photo_recognisers import NeutralRecognisers, framed


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def moving_model() -> PhotoPFViT:
    """A fresh photo model whose last layer is not zero, so that it moves faces."""
    model = PhotoPFViT().eval()
    torch.nn.init.normal_(model.movement.head.weight, std=0.05)
    return model


@torch.no_grad()
def test_other_axes_leave_maps_and_reconstruction_as_they_were():
    model, face = moving_model(), torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    before, drawn = model(face), model.drawing(sum(model.separate(face)))
    assert float(before.maps.base.abs().max()) > 0.01
    axes = torch.linalg.qr(torch.randn(WIDTH, 64)).Q
    model.set_emotion_axes(axes)
    after = model(face)
    for old, new in zip(before.maps, after.maps, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.drawing(sum(model.separate(face))), drawn, rtol=1e-4, atol=1e-5)
    assert float((after.emotion - before.emotion).abs().max()) > 0.01
    torch.testing.assert_close(after.emotion @ axes @ axes.T, after.emotion, rtol=1e-4, atol=1e-5)
    assert float((after.residue @ axes).abs().max()) < 1e-5


def test_the_classifier_in_closed_form_tells_what_can_be_told():
    label = torch.arange(600) % 3
    features = torch.randn(600, 5) * torch.tensor([1.0, 50.0, 0.01, 1.0, 1.0]) + 100
    features[:, 0] += 6 * label
    weight, bias = logistic_regression(features, torch.eye(3)[label])
    assert float(((features @ weight.T + bias).argmax(1) == label).float().mean()) > 0.95
    axes = leace_axes([(features[:, None].repeat(1, 2, 1), torch.eye(3)[label])], rank=4)
    weight, bias = logistic_regression(features - features @ axes @ axes.T, torch.eye(3)[label])
    assert float(((features - features @ axes @ axes.T) @ weight.T + bias).argmax(1).eq(label).float().mean()) < 0.45


def test_a_former_run_can_be_exported_but_not_trained_on(tmp_path):
    model = PhotoPFViT(former=True)
    assert is_former(model.state_dict()) and not is_former(PhotoPFViT().state_dict())
    record = {"stage": "photo", "step": 3, "config": {"data": ["faces.parquet"]}}
    (tmp_path / "run").mkdir()
    save_file(
        checkpoint.prefixed("average", model.state_dict()), tmp_path / "run" / checkpoint.LAST,
        metadata={"format": checkpoint.FORMAT, "record": json.dumps(record)},
    )  # fmt: skip
    done = pfvit("export", tmp_path / "run", "--out", tmp_path / "old-photo.onnx", timeout=600)
    assert done.returncode == 0, done.stderr
    photo = network._open(tmp_path / "old-photo.onnx", "photo", 1, network.OUTPUTS["photo"], ())
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        emotion = model.eval().separate(torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1).emotion
    np.testing.assert_allclose(photo.run(image=image)["emotion"], emotion, atol=0.05)


def square_points(count: int = 1) -> torch.Tensor:
    """Points of plain faces in pictures: eyes at (0.25, 0.4) and (0.75, 0.4)."""
    place = plain_face() * 0.5 + [0.5, 0.4]
    return torch.from_numpy(place.astype(np.float32))[None].repeat(count, 1, 1)


def test_recognisers_see_eyes_where_the_detector_puts_them(monkeypatch):
    for name in ("SHIFT", "SCALE", "TURN"):
        monkeypatch.setattr(photo_recognisers, name, 0.0)
    q = square_points(8)
    ramp = (torch.arange(112) + 0.5) / 112  # a picture whose pixels are their places: red across, green down
    face = torch.stack([ramp[None].expand(112, 112), ramp[:, None].expand(112, 112), torch.zeros(112, 112)])
    seen = framed(face.expand(8, -1, -1, -1), q, torch.ones(8), 48, torch.Generator().manual_seed(0))
    side, (middle, height) = 0.5 / photo_recognisers.CORNERS, photo_recognisers.MIDDLE
    places = (torch.arange(48) + 0.5) / 48
    inside = ((places > 0.1) & (places < 0.9)).nonzero()[:, 0]  # elsewhere the picture's border is repeated
    across = 0.5 + (places - middle) * side
    kinds = set()
    for one in seen:
        mirrored = float(one[0, 24, 40]) < float(one[0, 24, 8])
        kinds.add(mirrored)
        wanted = 0.5 + ((1 - places) - middle) * side if mirrored else across
        torch.testing.assert_close(one[0, 24, inside], wanted[inside], rtol=0, atol=5e-3)
        torch.testing.assert_close(one[1, inside, 24], (0.4 + (places - height) * side)[inside], rtol=0, atol=5e-3)
    assert kinds == {False, True}


def test_frames_are_disturbed_and_follow_mirrored_views():
    face, q = torch.rand(1, 3, 112, 112), square_points()
    mirrored = q.clone()
    mirrored[..., 0] = 1 - q[..., 0]
    one = framed(face, q, torch.ones(1), 48, torch.Generator().manual_seed(3))
    other = framed(face, q, torch.ones(1), 48, torch.Generator().manual_seed(4))
    assert float((one - other).abs().max()) > 0.1
    flipped = framed(face.flip(3), mirrored, -torch.ones(1), 48, torch.Generator().manual_seed(3))
    assert flipped.shape == one.shape
    # Eyes stay level and upright: the mean of the upper half is that of the same places.
    assert float((flipped.mean() - one.mean()).abs()) < 0.02


class Fixed(torch.nn.Module):
    """A recogniser whose neutral logit is the brightness of the face, times 10."""

    def recognise(self, face: torch.Tensor) -> torch.Tensor:
        calm = 10 * face.mean((1, 2, 3))
        return torch.stack([calm, torch.zeros_like(calm)], 1)


def test_enough_neutral_costs_nothing_and_the_rest_leads_there():
    judges = NeutralRecognisers((), torch.device("cpu"))
    judges.models, judges.places, judges.sizes = [Fixed(), Fixed()], [0, 0], [(48, 1), (48, 3)]
    q, flip, generator = square_points(2), torch.ones(2), torch.Generator().manual_seed(0)
    assert float(judges(torch.full((2, 3, 112, 112), 0.9), q, flip, generator)) == 0
    dark = torch.full((2, 3, 112, 112), -0.5, requires_grad=True)
    loss = judges(dark, q, flip, generator)
    assert loss.item() == pytest.approx(np.log(0.8) - np.log(1 / (1 + np.exp(5))), abs=0.01)
    loss.backward()
    assert float(dark.grad.max()) <= 0 and float(dark.grad.sum()) < 0  # brighter is calmer here


def recogniser_run(folder, classes):
    """A run of stage two with fresh weights that tells `classes` apart."""
    folder.mkdir()
    model = build_pfvit(NANO)
    record = {"stage": "train", "step": 1, "classes": classes, "config": {"model": asdict(NANO)}}
    save_file(
        checkpoint.prefixed("average.module", model.state_dict()), folder / checkpoint.LAST,
        metadata={"format": checkpoint.FORMAT, "record": json.dumps(record)},
    )  # fmt: skip
    return folder


def test_recognisers_are_opened_frozen_and_must_know_neutral(tmp_path):
    names = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    run = recogniser_run(tmp_path / "eight", names[1:] + names[:1])
    judges = NeutralRecognisers((run,), torch.device("cpu"))
    assert judges.places == [7] and not any(p.requires_grad for p in judges.models[0].parameters())
    strange = recogniser_run(tmp_path / "strange", ("calm", *names[1:]))
    with pytest.raises(InputError, match="has no class neutral"):
        NeutralRecognisers((strange,), torch.device("cpu"))

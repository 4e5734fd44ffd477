"""What the photo model's components hold."""

import json

import pytest
import torch
import torch.nn.functional as F
from conftest import pfvit
from safetensors.torch import save_file

from pfvit.model.leace_axes import leace_axes, logistic_regression
from pfvit.model.photo import SIZE, WIDTH, PhotoPFViT, is_former, of_former
from pfvit.training import checkpoint, photo_trainer


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


def former_weights() -> dict[str, torch.Tensor]:
    """Weights as earlier photo models had them, with an unconstrained separator."""
    weights = {k: v for k, v in moving_model().state_dict().items() if "deep_merge" not in k and "separator" not in k}
    for layer in ("0", "2"):
        weights[f"separator.{layer}.weight"] = torch.randn(WIDTH, WIDTH) / 16
        weights[f"separator.{layer}.bias"] = torch.randn(WIDTH)
    return weights


@torch.no_grad()
def test_a_former_models_separator_goes_on_inside_the_movement():
    weights = former_weights()
    assert is_former(weights) and not is_former(PhotoPFViT().state_dict())
    model, tokens = PhotoPFViT(), torch.randn(2, 5, WIDTH)
    model.load_state_dict(of_former(weights))

    def layer(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    emotion = layer("separator.2", F.gelu(layer("separator.0", tokens)))
    wanted = layer("movement.merge", torch.cat([tokens - emotion, emotion], 2))
    emotion, residue = model.separator(tokens)
    both = torch.cat([residue, emotion], 2)
    merged = model.movement.merge(both) + model.movement.deep_merge(both)
    torch.testing.assert_close(merged, wanted, rtol=1e-4, atol=1e-4)


def test_a_former_run_is_not_exported_but_can_be_gone_on_from(tmp_path):
    record = {"stage": "photo", "step": 3, "config": {"data": ["faces.parquet"]}}
    (tmp_path / "run").mkdir()
    save_file(
        checkpoint.prefixed("average", former_weights()), tmp_path / "run" / checkpoint.LAST,
        metadata={"format": checkpoint.FORMAT, "record": json.dumps(record)},
    )  # fmt: skip
    done = pfvit("export", tmp_path / "run", "--out", tmp_path / "old-photo.onnx", timeout=600)
    assert done.returncode == 1 and "train-photo --start" in done.stderr
    assert not (tmp_path / "old-photo.onnx").exists()
    weights, discriminators = photo_trainer._photo_weights(tmp_path / "run")
    PhotoPFViT().load_state_dict(weights)
    assert discriminators == {}

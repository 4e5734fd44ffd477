"""Weights that timm itself wrote; skipped where it is not installed, as it is no dependency of ours."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from test_pretrained import LEARNED, draw, faces, load

from pfvit.errors import InputError

timm = pytest.importorskip("timm", reason="timm is not installed: it is tried in an environment of its own")


def theirs(**more):
    """Return timm's model of our sizes with random weights; it was made for pixels in [-1, 1], as ours are."""
    sizes = {"img_size": LEARNED.image_size, "patch_size": LEARNED.patch_size, "embed_dim": LEARNED.width}
    sizes |= {"depth": LEARNED.depth, "num_heads": LEARNED.heads, "num_classes": 5}
    model = timm.create_model("vit_tiny_patch16_224", **sizes, **more).eval()
    draw(model)
    return model


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_answers_of_the_encoder_are_timm_s(suffix, tmp_path):
    model, path = theirs(), tmp_path / f"vit{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, path)
    else:
        save_file(model.state_dict(), path)
    ours, said = load(path, LEARNED)
    torch.testing.assert_close(ours.encoder(faces()), model.forward_features(faces()), rtol=1e-4, atol=1e-4)
    assert "encoder taken" in said and "decoder fresh" in said
    with pytest.raises(InputError, match=r"learned positions.*--model\.positions learned"):
        load(path, replace(LEARNED, positions="fixed"))


@torch.no_grad()
def test_a_norm_of_averaged_tokens_is_taken_and_told(tmp_path):
    model, path = theirs(global_pool="avg"), tmp_path / "vit.safetensors"
    save_file(model.state_dict(), path)
    ours, said = load(path, LEARNED)
    assert "its fc_norm (of averaged tokens) taken as the last norm" in said
    expected = model.fc_norm(model.forward_features(faces()))
    torch.testing.assert_close(ours.encoder(faces()), expected, rtol=1e-4, atol=1e-4)

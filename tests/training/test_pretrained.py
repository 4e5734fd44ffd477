"""Public checkpoints give the outputs that their own software gives, both ways."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import pfvit
from public_weights import COLOUR, LEARNED, draw, fresh, load, timm_file

from pfvit.config import Train
from pfvit.config.presets import NANO
from pfvit.errors import InputError
from pfvit.export import huggingface
from pfvit.model import mask_patches
from pfvit.training import checkpoint, pretrained
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.initialise import both_sides

MEAN, STD = (torch.tensor(values).reshape(3, 1, 1) for values in pretrained.STATISTICS["imagenet"])


def faces(count: int = 2, channels: int = 3, size: int = 24) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def imagenet(face: torch.Tensor) -> torch.Tensor:
    return ((face + 1) / 2 - MEAN) / STD


def theirs(kind: str, sizes=COLOUR, **more):
    """Return transformers' model of our sizes with random weights."""
    transformers = pytest.importorskip("transformers")
    common = {
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "intermediate_size": 4 * sizes.width,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "num_channels": sizes.channels,
        "layer_norm_eps": 1e-6,
    }
    if kind == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(**common, **more))
    else:
        wide = {
            "decoder_hidden_size": sizes.decoder_width,
            "decoder_num_hidden_layers": sizes.decoder_depth,
            "decoder_num_attention_heads": sizes.decoder_heads,
            "decoder_intermediate_size": 4 * sizes.decoder_width,
        }
        model = transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**common, **wide, **more))
    draw(model)
    if kind == "mae":  # its sines stay what they are
        with torch.no_grad():
            model.vit.embeddings.position_embeddings.copy_(build_encoder(sizes).pos_embed)
            model.decoder.decoder_pos_embed.copy_(build_decoder(sizes).pos_embed)
    return model.eval()


@torch.no_grad()
def test_hugging_face_mae_draws_the_same(tmp_path):
    model = theirs("mae")
    model.save_pretrained(tmp_path / "mae")
    ours, told = load(tmp_path / "mae", COLOUR)
    assert "decoder taken" in told and "0.485" in told
    face, noise = faces(), torch.rand(2, 16, generator=torch.Generator().manual_seed(2))
    drawn = ours(face, mask_patches(noise, 0.75)).reshape(2, 16, -1, 3)
    expected = model(imagenet(face), noise=noise).logits.reshape(2, 16, -1, 3)
    expected = (expected * STD.flatten() + MEAN.flatten()) * 2 - 1
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("normalised", [False, True])
def test_our_autoencoder_draws_the_same_in_hugging_face_and_comes_back(normalised, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours = fresh(COLOUR)
    draw(ours)
    huggingface.write(ours, COLOUR, normalised, tmp_path / "out")
    model = transformers.ViTMAEForPreTraining.from_pretrained(tmp_path / "out").eval()
    face, noise = faces(), torch.rand(2, 16, generator=torch.Generator().manual_seed(2))
    expected = ours(face, mask_patches(noise, 0.75))
    torch.testing.assert_close(model(face, noise=noise).logits, expected, rtol=1e-4, atol=1e-5)
    again, told = load(tmp_path / "out", COLOUR, norm_pix_loss=normalised)
    assert "decoder taken" in told
    torch.testing.assert_close(again(face, mask_patches(noise, 0.75)), expected, rtol=1e-4, atol=1e-5)
    assert "decoder fresh" in load(tmp_path / "out", COLOUR, norm_pix_loss=not normalised)[1]
    with pytest.raises(InputError, match="exists already"):
        huggingface.write(ours, COLOUR, normalised, tmp_path / "out")


@torch.no_grad()
@pytest.mark.parametrize("heads", [2, 4])
def test_hugging_face_vit_with_learned_positions(heads, tmp_path):
    sizes = replace(LEARNED, heads=heads)
    model = theirs("vit", sizes)
    model.save_pretrained(tmp_path / "vit")
    ours, _ = load(tmp_path / "vit", sizes)
    expected = model(faces()).last_hidden_state  # pixels in [-1, 1] are half
    torch.testing.assert_close(ours.encoder(faces()), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"learned positions.*--model\.positions learned"):
        load(tmp_path / "vit", replace(sizes, positions="fixed"))
    with pytest.raises(InputError, match=r"heads \d \(here 1\).*model=\{'heads': \d\}"):
        load(tmp_path / "vit", replace(sizes, heads=1))


@torch.no_grad()
def test_learned_positions_are_resampled_for_another_side(tmp_path):
    model = theirs("vit")
    model.save_pretrained(tmp_path / "vit")
    ours, _ = load(tmp_path / "vit", replace(LEARNED, image_size=36))
    grid = model.embeddings.position_embeddings[:, 1:].reshape(1, 4, 4, -1)
    here = ours.encoder.pos_embed
    assert torch.equal(here[:, 0], model.embeddings.position_embeddings[:, 0])
    assert here.shape[1] == 37
    torch.testing.assert_close(here[:, 1:].mean(), grid.mean(), rtol=0.3, atol=0.02)
    ramp = torch.arange(4.0).reshape(1, 1, 4, 1).expand(1, 4, 4, 2).reshape(1, 16, 2)
    wide = pretrained.resized(torch.cat([torch.zeros(1, 1, 2), ramp], dim=1), 8)[0, 1:, 0].reshape(8, 8)
    assert (wide.diff(dim=1) > 0).all() and wide.diff(dim=0).abs().max() < 1e-5
    assert torch.equal(pretrained.resized(here, 6), here)


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_files_with_timm_names(suffix, tmp_path):
    model = fresh(LEARNED)
    draw(model)
    path = timm_file(model, tmp_path, suffix)
    ours, told = load(path, LEARNED)
    torch.testing.assert_close(ours.encoder(faces()), model.encoder(faces()), rtol=1e-4, atol=1e-5)
    assert "0.5" in told and "decoder fresh" in told
    folder = tmp_path / "folder"  # what a file cannot say, its preprocessor_config.json in a folder can
    folder.mkdir()
    path.rename(folder / ("model.safetensors" if suffix == ".safetensors" else "pytorch_model.bin"))
    mean, std = pretrained.STATISTICS["imagenet"]
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    ours, _ = load(folder, LEARNED)
    torch.testing.assert_close(ours.encoder(faces()), model.encoder(imagenet(faces())), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_gray_preset_sums_the_colours_and_mae_s_file_means_imagenet_pixels(tmp_path):
    model = fresh(COLOUR)
    draw(model)
    path = timm_file(model, tmp_path, ".pth")
    ours, told = load(path, NANO)
    gray = faces(channels=1)
    expected = model.encoder(imagenet(gray.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(ours.encoder(gray), expected, rtol=1e-4, atol=1e-5)
    assert "0.485" in told


def test_a_run_starts_from_a_public_file_and_learned_positions_learn(made_up, tmp_path):
    model = fresh(LEARNED)
    draw(model)
    path = timm_file(model, tmp_path, ".safetensors")
    words = ("train", "nano", "--data", made_up, "--model.channels", 3, "--epochs", 0.1)
    done = pfvit(*words, "--out", tmp_path / "run", "--start", path, "--model.positions", "learned")
    assert done.returncode == 0 and "encoder taken" in done.stderr, done.stderr
    tensors, _ = checkpoint.load(tmp_path / "run")
    moved = (tensors["model.encoder.pos_embed"] - model.encoder.pos_embed).abs().max()
    assert 0 < moved < 0.1
    again = Train(data=(made_up,), out=tmp_path, model=LEARNED, start=tmp_path / "run")
    assert torch.equal(both_sides(again)[0].encoder.pos_embed, tensors["average.module.encoder.pos_embed"])
    done = pfvit(
        "pretrain",
        "nano",
        "--data",
        made_up,
        "--model.channels",
        3,
        "--epochs",
        0.1,
        "--out",
        tmp_path / "one",
        "--start",
        path,
    )
    assert done.returncode == 1 and "--model.positions learned" in done.stderr and "Traceback" not in done.stderr


def test_convert_writes_what_pretrain_starts_from(nano, made_up, tmp_path):
    done = pfvit("convert", nano / "one", "--out", tmp_path / "hf")
    assert done.returncode == 0 and (tmp_path / "hf" / "config.json").is_file(), done.stderr
    done = pfvit("convert", nano / "two", "--out", tmp_path / "no")
    assert done.returncode == 1 and "stage one alone" in done.stderr
    _, record = checkpoint.load(nano / "one")
    assert record["config"]["model"]["channels"] == 1
    ours, told = load(tmp_path / "hf", NANO)
    assert "encoder taken" in told
    saved = checkpoint.part_of(checkpoint.load(nano / "one")[0], "model.encoder")
    torch.testing.assert_close(ours.encoder.state_dict()["cls_token"], saved["cls_token"])
    torch.testing.assert_close(ours.encoder.patch_embed.proj.weight, saved["patch_embed.proj.weight"])

"""Public checkpoints give the outputs that their own software gives, both ways; what does not fit is said."""

import json
import pickle
import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import pfvit
from safetensors.torch import save_file

from pfvit.config import Train
from pfvit.config.presets import NANO
from pfvit.errors import InputError
from pfvit.export import huggingface
from pfvit.model import Autoencoder, mask_patches
from pfvit.training import checkpoint, pretrained
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.faces import check_places
from pfvit.training.initialise import both_sides

COLOUR = replace(NANO, channels=3)
LEARNED = replace(COLOUR, positions="learned")
MEAN, STD = (torch.tensor(values).reshape(3, 1, 1) for values in pretrained.STATISTICS["imagenet"])


def faces(count: int = 2, channels: int = 3, size: int = 24) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def imagenet(face: torch.Tensor) -> torch.Tensor:
    return ((face + 1) / 2 - MEAN) / STD


def draw(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)


def fresh(sizes) -> Autoencoder:
    return Autoencoder(build_encoder(sizes), build_decoder(sizes))


def load(path: Path, sizes, norm_pix_loss: bool = False) -> tuple[Autoencoder, str]:
    made = fresh(sizes)
    return made, pretrained.start(path, sizes, made.encoder, made.decoder, norm_pix_loss)


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


def timm_file(model: Autoencoder, folder: Path, suffix: str) -> Path:
    """Write weights as timm (and facebookresearch's MAE) name them: joined qkv, a head, nested for .pth."""
    tensors = {**model.encoder.state_dict(), "pos_embed": model.encoder.pos_embed.detach()}
    tensors |= {"head.weight": torch.ones(10, 32), "head.bias": torch.ones(10)}
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "vit.safetensors")
        return folder / "vit.safetensors"
    torch.save({"model": tensors}, folder / f"vit{suffix}")
    return folder / f"vit{suffix}"


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


class Code:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_what_cannot_be_loaded_is_said_and_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"model": Code()}))
    with pytest.raises(InputError, match="pickled code is never run"):
        pretrained.read(tmp_path / "code.pth")
    torch.save({"model": Code()}, tmp_path / "code2.pth")
    with pytest.raises(InputError, match="pickled code is never run"):
        pretrained.read(tmp_path / "code2.pth")
    assert not (tmp_path / "executed").exists()
    torch.save({"a": torch.ones(1)}, tmp_path / "cnn.pth")
    with pytest.raises(InputError, match=r"no vision transformer.*cls_token"):
        pretrained.read(tmp_path / "cnn.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="no table of named tensors"):
        pretrained.read(tmp_path / "list.pth")


def test_other_sizes_are_named_with_the_flags_that_fit(tmp_path):
    path = timm_file(fresh(COLOUR), tmp_path, ".pth")
    with pytest.raises(InputError, match=r"width 32 \(here 48\), depth 2 \(here 3\).*model=\{'width': 32, 'depth': 2"):
        load(path, replace(COLOUR, width=48, depth=3))
    with pytest.raises(InputError, match=r"patch_size 6 \(here 8\)"):
        load(path, replace(COLOUR, patch_size=8))
    with pytest.raises(InputError, match="convolutional stem"):
        plain = timm_file(fresh(replace(COLOUR, patch_size=8)), tmp_path, ".bin")
        load(plain, replace(COLOUR, patch_size=8, stem=(4, 8, 16)))
    extra = torch.load(path, weights_only=True)["model"] | {"blocks.0.ls1.gamma": torch.ones(32)}
    torch.save(extra, tmp_path / "scaled.pth")
    with pytest.raises(InputError, match=r"scaled\.pth does not hold the weights.*ls1"):
        load(tmp_path / "scaled.pth", COLOUR)
    two = torch.load(path, weights_only=True)["model"]
    two["patch_embed.proj.weight"] = two["patch_embed.proj.weight"][:, :2]
    torch.save(two, tmp_path / "two.pth")
    with pytest.raises(InputError, match="made for 2 channels"):
        load(tmp_path / "two.pth", COLOUR)


def vit(old: str = "", new: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a ViT under timm's names, `old` at the beginning of a name replaced by `new`."""
    encoder = build_encoder(COLOUR)
    draw(encoder)
    tensors = {**encoder.state_dict(), "pos_embed": encoder.pos_embed}
    return {new + name.removeprefix(old) if name.startswith(old) else name: tensor for name, tensor in tensors.items()}


class Settings:
    """Of a training program; what is written of it must not be run."""

    def __init__(self, number: int):
        self.number = number

    def __setstate__(self, state: object) -> None:
        raise AssertionError("it was run")


WRAPPED = {
    "compiled": lambda tensors: {f"_orig_mod.{name}": t for name, t in tensors.items()},
    "compiled in DDP": lambda tensors: {f"module._orig_mod.{name}": t for name, t in tensors.items()},
    "a wrapper in DDP": lambda tensors: {f"module.model.{name}": t for name, t in tensors.items()},
    "Lightning": lambda tensors: {"epoch": 3, "state_dict": {f"model.{name}": t for name, t in tensors.items()}},
    "DINO": lambda tensors: {"epoch": 3, "teacher": {f"backbone.{name}": t for name, t in tensors.items()}},
    "MAE": lambda tensors: {"epoch": 3, "model": tensors, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "an averaged copy beside the last weights": lambda tensors: {
        "state_dict": {name: torch.zeros_like(t) for name, t in tensors.items()},
        "state_dict_ema": tensors,
    },
    "settings beside them": lambda tensors: {"model": tensors, "args": Namespace(lr=1.0, out=Path("x"))},
    "figures of NumPy beside them": lambda tensors: {"model": tensors, "best": np.float64(0.5), "log": np.zeros(3)},
    "objects of classes that are not here": lambda tensors: {"model": tensors, "settings": Settings(3)},
    "FSDP": lambda tensors: {f"_fsdp_wrapped_module.{name}": t for name, t in tensors.items()},
    "compiled and checkpointed blocks": lambda tensors: {
        re.sub(r"^(blocks\.\d+\.)", r"\1_orig_mod._checkpoint_wrapped_module.", name): t for name, t in tensors.items()
    },
    "nested twice": lambda tensors: {"model": {"state_dict": tensors}},
    "DeepSpeed": lambda tensors: {"module": {f"_forward_module.module.{name}": t for name, t in tensors.items()}},
    "a part of a network": lambda tensors: {
        **{f"model.image.vision_tower.{name}": t for name, t in tensors.items()},
        "model.projector.weight": torch.ones(3),
    },
    "MoCo": lambda tensors: {
        "state_dict": {
            f"module.{network}.{name}": t * times
            for network, times in (("base_encoder", 1), ("momentum_encoder", 0))
            for name, t in {**tensors, "head.0.weight": torch.ones(3)}.items()
        }
    },
    "student and teacher": lambda tensors: {
        f"{network}.backbone.{name}": t * times
        for network, times in (("student", 0), ("teacher", 1))
        for name, t in tensors.items()
    },
    "an averaged network beside the last one": lambda tensors: {
        f"{network}.{name}": t * times
        for network, times in (("model", 0), ("ema_model", 1))
        for name, t in tensors.items()
    },
    "an autoencoder's part": lambda tensors: {f"encoder.{name}": t for name, t in tensors.items()},
}


@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".ckpt"])
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_what_wrappers_put_around_the_weights_is_taken_off(wrapped, suffix, tmp_path):
    tensors = vit()
    path = tmp_path / f"w{suffix}"
    torch.save(WRAPPED[wrapped](tensors), path)
    assert pretrained.is_public(path)
    made, _ = load(path, COLOUR)
    torch.testing.assert_close(made.encoder.blocks[1].mlp.fc1.weight, tensors["blocks.1.mlp.fc1.weight"])


def test_the_norm_of_a_network_that_averages_its_tokens_is_taken_and_told(tmp_path):
    torch.save({"model": vit("norm.", "fc_norm.")}, tmp_path / "finetuned.pth")
    made, said = load(tmp_path / "finetuned.pth", COLOUR)
    torch.testing.assert_close(made.encoder.norm.weight, vit()["norm.weight"])
    assert (
        "its fc_norm (of averaged tokens) taken as the last norm" in said and "2 heads (the file does not say" in said
    )


def test_files_with_other_endings_and_old_ones(tmp_path):
    torch.save({"model": vit(), "args": Namespace(lr=1.0)}, tmp_path / "new")
    torch.save({"model": vit(), "args": Namespace(lr=1.0)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for path in (tmp_path / "new", tmp_path / "old.pth"):
        assert pretrained.is_public(path)
        made, _ = load(path, COLOUR)
        torch.testing.assert_close(made.encoder.norm.weight, vit()["norm.weight"])


def test_weights_that_are_not_finite_are_told_before_the_first_step(tmp_path):
    torch.save(vit() | {"norm.bias": torch.full((32,), torch.nan)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth holds numbers that are not finite \(norm\.bias\)"):
        load(tmp_path / "w.pth", COLOUR)


def test_an_address_to_start_from_is_told(tmp_path):
    config = Train(data=(), out=tmp_path, model=COLOUR, start=Path("https://a.example/w.pth"))
    with pytest.raises(InputError, match=r"w\.pth is an address: download it first"):
        check_places(config)


def test_weights_in_several_files(tmp_path):
    folder, tensors = tmp_path / "hub", vit()
    folder.mkdir()
    names = sorted(tensors)
    weight_map = {name: f"model-{1 + place % 2}-of-2.safetensors" for place, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file in set(weight_map.values()):
        save_file({name: tensors[name].contiguous() for name in names if weight_map[name] == file}, folder / file)
    assert pretrained.is_public(folder)
    made, _ = load(folder, COLOUR)
    torch.testing.assert_close(made.encoder.norm.weight, tensors["norm.weight"])
    made, _ = load(folder / "model.safetensors.index.json", COLOUR)
    torch.testing.assert_close(made.encoder.norm.weight, tensors["norm.weight"])
    with pytest.raises(InputError, match=r"model-1-of-2\.safetensors holds a part of the weights: name the folder"):
        load(folder / "model-1-of-2.safetensors", COLOUR)
    (folder / "model-2-of-2.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"lacks model-2-of-2\.safetensors, which model\.safetensors\.index\.json lists"
    ):
        load(folder, COLOUR)


def cut(suffix: str, path: Path) -> None:
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in vit().items()}, path)
    else:
        torch.save(vit(), path)
    path.write_bytes(path.read_bytes()[:-3000])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid 0"), "a pointer of Git LFS"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>Not found</html>"), "is a web page"),
        (lambda path: path.write_bytes(b""), "is empty: download it again"),
        (lambda path: cut(path.suffix, path), "is cut short or damaged"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_called_by_its_name(make, what, suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    make(path)
    with pytest.raises(InputError, match=what):
        both_sides(Train(data=(), out=tmp_path, model=COLOUR, start=path))


def test_the_network_that_is_taken_of_several_is_told(tmp_path):
    tensors = {f"{network}.{name}": t for network in ("base_encoder", "other") for name, t in vit().items()}
    torch.save(tensors, tmp_path / "two.pth")
    assert ", its base_encoder taken, its other left out" in load(tmp_path / "two.pth", COLOUR)[1]


def test_other_networks_are_refused_with_some_of_the_names_that_they_have(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2), "bn1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"it has no cls_token, .*; it has conv1\.weight, bn1\.weight$"):
        load(tmp_path / "resnet.pth", COLOUR)


SMALL = {
    "image_size": 12,
    "width": 8,
    "depth": 1,
    "heads": 1,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 1,
}


def run_record(model: object = SMALL, **more: object) -> str:
    return json.dumps({"stage": "train", "step": 3, "classes": ["a", "b"], "config": {"model": model}, **more})


@pytest.mark.parametrize(
    "record",
    [None, "", "[]", "{}", "[" * 5000, '{"config": 3}', '{"config": []}', '{"config": {}, "stage": "train", "step": 3}']
    + [run_record(SMALL | odd) for odd in (
        {"width": "8"}, {"width": 10**400}, {"width": 8.5}, {"depth": True}, {"depth": 10**9}, {"separator": "x"},
        {"stem": 5}, {"stem": [8, "a"]}, {"heads": 0}, {"patch_size": 1, "image_size": 8192})]
    + [run_record([]), run_record(classes=3), run_record(classes=[1]), run_record(stage=None), run_record(step="x")],
)  # fmt: skip
@pytest.mark.parametrize("form", ["pfvit-run-1", "pfvit-run-2"])
def test_a_checkpoint_with_a_damaged_record_is_told(record, form, tmp_path):
    path = tmp_path / "last.safetensors"
    metadata = {"format": form} | ({} if record is None else {"record": record})
    save_file({"step": torch.zeros(1)}, path, metadata)
    for read in (checkpoint.load, checkpoint.record_of):
        with pytest.raises(InputError, match=r"last\.safetensors is no checkpoint of pfvit, or is damaged"):
            read(path)


def test_a_record_may_not_ask_for_more_weights_than_its_file_holds(tmp_path):
    path = tmp_path / "last.safetensors"
    save_file({"a": torch.zeros(200)}, path, {"format": "pfvit-run-2", "record": run_record()})
    checkpoint.load(path)
    record = run_record(SMALL | {"width": 8192, "depth": 8192})  # 8 TB
    save_file({"a": torch.zeros(200)}, path, {"format": "pfvit-run-2", "record": record})
    with pytest.raises(InputError, match="is damaged: it holds fewer weights than a model of the sizes that it says"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("model.safetensors.index.json", '{"weight_map": {"a": 3}}', "is no list of files with weights"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../w.safetensors"}}', "is no list of files with weigh"),
        ("model.safetensors.index.json", json.dumps({"weight_map": {"a": "w" * 300}}), "lacks w*, which"),
        ("config.json", '[["a", 3]]', "is damaged .it is no table"),
        ("preprocessor_config.json", '{"image_mean": "half"}', "image_mean or image_std make no sense"),
        ("preprocessor_config.json", f'{{"image_mean": [{10**400}, 0, 0]}}', "image_mean or image_std make no sense"),
        ("preprocessor_config.json", '{"image_std": [0, 1, 1]}', "image_mean or image_std make no sense"),
        ("preprocessor_config.json", '{"image_mean": [0.5]}', "image_mean or image_std make no sense"),
        ("config.json", '{"pretrained_cfg": ["mean"]}', ""),
    ],
)
def test_damaged_descriptions_of_a_hugging_face_folder_are_told(name, text, what, tmp_path):
    folder = tmp_path / "hub"
    folder.mkdir()
    weights = {name: tensor.contiguous() for name, tensor in vit().items()}
    if name != "model.safetensors.index.json":
        save_file(weights, folder / "model.safetensors")
    (folder / name).write_text(text)
    if not what:
        pretrained.read(folder).statistics()
        return
    with pytest.raises(InputError, match=what):
        pretrained.read(folder).statistics()


def test_damaged_files_of_others_are_told_and_no_table_is_followed_without_end(tmp_path):
    loop: dict[str, object] = {"epoch": 3}
    loop["model"] = loop
    torch.save(loop, tmp_path / "loop.pth")
    with pytest.raises(InputError, match="is no table of named tensors"):
        pretrained.read(tmp_path / "loop.pth")
    (tmp_path / "disks.pth").write_bytes(b"PK" + bytes(60) + b"PK\6\7" + b"\1" * 16 + b"PK\5\6" + bytes(18))
    with pytest.raises(InputError, match="is cut short or damaged"):
        pretrained.read(tmp_path / "disks.pth")
    save_file({"cls_token": torch.zeros([1] * 200)}, tmp_path / "deep.safetensors")
    with pytest.raises(InputError, match="is no vision transformer: its cls_token has 200 dimensions"):
        pretrained.read(tmp_path / "deep.safetensors")
    save_file({str(number): torch.zeros(0) for number in range(20_001)}, tmp_path / "many.safetensors")
    with pytest.raises(InputError, match="is no vision transformer: it holds 20,001 tensors"):
        pretrained.read(tmp_path / "many.safetensors")
    save_file({"cls_token": torch.zeros(1, 1, 4).to(torch.float8_e4m3fn)}, tmp_path / "eight.safetensors")
    with pytest.raises(InputError, match="it has no pos_embed, patch_embed"):
        pretrained.read(tmp_path / "eight.safetensors")
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file({name: torch.zeros(1, 5, 4) for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")},
              folder / "model.safetensors")  # fmt: skip
    (folder / "config.json").write_text("[" * 5000)
    with pytest.raises(InputError, match=r"config\.json is damaged .*: download it again"):
        pretrained.read(folder)

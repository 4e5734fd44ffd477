"""Public weights that do not fit or are damaged are refused with what to do, and code in them is never run."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from public_weights import COLOUR, fresh, load, timm_file, vit
from safetensors.torch import save_file

from pfvit.config import Train
from pfvit.errors import InputError
from pfvit.training import pretrained
from pfvit.training.faces import check_places
from pfvit.training.initialise import both_sides


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


def test_weights_that_are_not_finite_are_told_before_the_first_step(tmp_path):
    torch.save(vit() | {"norm.bias": torch.full((32,), torch.nan)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth holds numbers that are not finite \(norm\.bias\)"):
        load(tmp_path / "w.pth", COLOUR)


def test_an_address_to_start_from_is_told(tmp_path):
    config = Train(data=(), out=tmp_path, model=COLOUR, start=Path("https://a.example/w.pth"))
    with pytest.raises(InputError, match=r"w\.pth is an address: download it first"):
        check_places(config)


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


def test_other_networks_are_refused_with_some_of_the_names_that_they_have(tmp_path):
    torch.save({"conv1.weight": torch.zeros(2), "bn1.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"it has no cls_token, .*; it has conv1\.weight, bn1\.weight$"):
        load(tmp_path / "resnet.pth", COLOUR)


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

"""What training programs and wrappers put around public weights is taken off."""

import json
import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from public_weights import COLOUR, load, vit
from safetensors.torch import save_file

from pfvit.errors import InputError
from pfvit.training import pretrained


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


def test_the_network_that_is_taken_of_several_is_told(tmp_path):
    tensors = {f"{network}.{name}": t for network in ("base_encoder", "other") for name, t in vit().items()}
    torch.save(tensors, tmp_path / "two.pth")
    assert ", its base_encoder taken, its other left out" in load(tmp_path / "two.pth", COLOUR)[1]


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

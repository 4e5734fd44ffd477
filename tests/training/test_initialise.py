"""The weights that a run starts from: stage one, stage two, the shipped ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import inside
from safetensors.torch import load_file

from pfvit.config import Train
from pfvit.config.presets import NANO
from pfvit.errors import InputError
from pfvit.training import checkpoint
from pfvit.training.initialise import both_sides
from pfvit.weights import CHECKPOINT


def test_what_a_run_starts_from(made_up, nano, tmp_path):
    def built(start: str) -> dict:
        model, _ = both_sides(Train(data=(made_up,), out=tmp_path, model=NANO, start=nano / start))
        return model.state_dict()

    one, two = built("one"), built("two")
    saved = checkpoint.part_of(load_file(nano / "one" / checkpoint.LAST), "model")
    assert torch.equal(one["encoder.cls_token"], saved["encoder.cls_token"])
    assert torch.equal(one["generator.decoder.pred.weight"], saved["decoder.pred.weight"])
    average = checkpoint.part_of(load_file(nano / "two" / checkpoint.LAST), "average.module")
    assert two.keys() == average.keys() and all(torch.equal(two[name], average[name]) for name in two)


def test_a_run_can_start_from_the_weights_that_ship(made_up, tmp_path, monkeypatch):
    tensors, record = checkpoint.load(CHECKPOINT)
    assert not any("/" in str(value) for value in record["config"].values()), "a place on some machine"
    config = Train(data=(made_up,), out=tmp_path, model=checkpoint.architecture_of(record), start=Path("shipped"))
    model, _ = both_sides(config)
    weights = checkpoint.part_of(tensors, "average.module")
    assert all(torch.equal(value, weights[name].to(value.dtype)) for name, value in model.state_dict().items())
    monkeypatch.setattr("pfvit.training.initialise.CHECKPOINT", tmp_path / "pfvit.safetensors")
    with pytest.raises(InputError, match=r"in the repository, not in the wheel.*--start"):
        both_sides(config)


@pytest.mark.parametrize("classes", [7, 8])
def test_seven_and_eight_emotions_share_what_they_have_in_common(classes, made_up, nano, tmp_path):
    tensors, record = checkpoint.load(nano / "two")
    other = tmp_path / "other.safetensors"
    if classes == 8:  # the run has eight: make it one of seven
        for name in ("weight", "bias"):
            full = f"average.module.classifier.head.{name}"
            tensors[full] = tensors[full][:7].contiguous()
    checkpoint.save(other, tensors, record)
    said: list[str] = []
    sizes = replace(NANO, classes=classes)
    model, _ = both_sides(Train(data=(made_up,), out=tmp_path, model=sizes, start=other), said.append)
    fresh = both_sides(Train(data=(made_up,), out=tmp_path, model=sizes))[0]
    ours, had = model.classifier.head.weight, tensors["average.module.classifier.head.weight"]
    assert torch.equal(ours[:7], had[:7]) and len(ours) == classes
    assert torch.equal(ours[7:], fresh.classifier.head.weight[7:])
    assert said == [f"the weights tell {15 - classes} emotions apart, this run {classes}: 7 are taken over"]


def test_wrong_start_is_named(made_up, nano, tmp_path, capsys):
    done = inside(capsys, "train", "nano", "--data", made_up, "--out", tmp_path / "a", "--start", nano / "nowhere")
    assert done.returncode == 1 and "is not there" in done.stderr and "Traceback" not in done.stderr
    done = inside(capsys, "train", "compact", "--data", made_up, "--out", tmp_path / "c", "--start", nano / "one")
    assert done.returncode == 1 and "does not hold the weights of this encoder" in done.stderr

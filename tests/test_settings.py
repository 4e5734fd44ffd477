"""Settings of training check themselves, before data are read; few have a flag; older checkpoints' are understood."""

import json
import math
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from conftest import inside, run_training
from helpers import STAGES
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tyro.conf import Suppress

from pfvit.config import Architecture, Export, Gan, Hardware, Pretrain, Train
from pfvit.errors import UsageError
from pfvit.training import checkpoint, upgrade
from pfvit.weights import CHECKPOINT

MOST_FLAGS = {"train": 45, "pretrain": 35}
START = {"start": Path("run")}


def refused(kind: type, **settings: object) -> str:
    needed = {"data": (), "out": Path()} if kind in (Train, Pretrain) else {}
    with pytest.raises(UsageError) as problem:
        kind(**needed, **settings)
    assert problem.value.status == 2
    return str(problem.value)


@pytest.mark.parametrize(("verb", "most"), MOST_FLAGS.items())
def test_the_command_line_has_few_flags(verb, most, capsys):
    text = inside(capsys, verb, "compact", "--help").stdout
    flags = {flag for flag in re.findall(r"--[a-z][a-z.-]+", text) if ".no-" not in flag and "--no-" not in flag}
    assert 20 < len(flags - {"--help"}) <= most
    assert {"--minutes", "--resume", "--batch", "--lr"} <= flags and "--zoom" not in flags


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--order", "fer"), "--order must be one of ferplus, fer2013, rafdb"),
        (("--model.classes", 1), "--model.classes must be 2 or more, not 1"),
        (("--model.image-size", 25), "patches of 6 px do not tile a face of 25 px"),
        (("--model.channels", 2), "--model.channels must be 1 (gray) or 3 (colour), not 2"),
        (("--seed", -1), "--seed must be from 0 to 2147483647, not -1"),
        (("--log-every", 0), "--log-every must be 1 or more, not 0"),
        (("--hardware.workers", -1), "--hardware.workers must be 0 or more, not -1"),
        (("--hardware.devices", 0), "--hardware.devices must be 1 or more, not 0"),
        (("--hardware.resident", "--hardware.workers", 1), "--hardware.resident needs --hardware.workers 0"),
        (("--epochs", 0), "--epochs must be more than 0, not 0.0"),
        (("--epochs", "nan"), "--epochs must be more than 0, not nan"),
        (("--label-smoothing", 2), "--label-smoothing must be from 0 to below 1, not 2.0"),
        (("--lr", -0.1), "--lr must be more than 0, not -0.1"),
        (("--oversample", 50), "--oversample must be from 0 to 1, not 50.0"),
        (("--warmup", 100), "--warmup 100 is more than --epochs 30: --lr would never be reached"),
        (("--minutes", -1), "--minutes must be more than 0, not -1.0"),
        (("--batch", 0), "--batch must be 1 or more, not 0"),
        (("--best", "uar"), "--best uar is a figure of --validation: name faces to validate on"),
        (("--patience", 3), "--patience waits for a figure to improve: name it with --best"),
        (("--freeze", "encoder"), "--freeze encoder needs weights to keep: --start RUN"),
    ],
)
def test_senseless_settings_are_refused_in_a_line_before_data_are_read(words, told, tmp_path, capsys):
    done = inside(capsys, "train", "nano", "--data", tmp_path / "none.parquet", "--out", tmp_path / "run", *words)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (Train, {"mixup": 0.6, "cutmix": 0.5}, "at most 1 together"),
        (Train, {"drop_path": 1.0}, "drop_path must be from 0 to below 1, not 1.0"),
        (Train, {"ema_decay": 2.0}, "ema_decay must be from 0 to below 1"),
        (Train, {"labels": "ml", "mixup": 0.0, "label_smoothing": 0.0, "cutmix": 0.2}, "--labels ml needs --mixup 0"),
        (Train, {"fit_emotion_subspace": 0.5}, "fit_emotion_subspace needs --model.separator subspace"),
        (
            Train,
            {**START, "freeze": ("encoder", "separator", "classifier"), "gan": Gan(every=2)},
            "only the generator learns: --gan.every 1",
        ),
        (Train, {"zoom": (0.0, 0.0)}, "zoom must rise from a factor above 0, not from 0 to 0"),
        (Train, {"zoom": (1.2, 0.8)}, "zoom must rise from a factor above 0, not from 1.2 to 0.8"),
        (Train, {"zoom": (1.0, math.inf)}, "zoom must rise from a factor above 0, not from 1 to inf"),
        (Pretrain, {"zoom": (1.2,)}, "zoom must be two factors, the smallest and the largest, not (1.2,)"),
        (Train, {"max_grad_norm": 0.0}, "max_grad_norm must be more than 0"),
        (Pretrain, {"mask_ratio": 1.0}, "--mask-ratio 1 hides 64 of 64 patches"),
        (Pretrain, {"mask_ratio": 0.0}, "--mask-ratio 0 hides 0 of 64 patches: some must be hidden and some seen"),
        (Pretrain, {"mask_ratio": math.nan}, "--mask-ratio must be from 0 to 1, not nan"),
        (Pretrain, {"epochs": 1e300}, "--epochs must be from 0 to 1000000, not 1e+300"),
        (Hardware, {"threads": 100_000}, "--hardware.threads must be from 1 to 1024, not 100000"),
        (Gan, {"batch": 0}, "gan.batch must be 1 or more, not 0"),
        (Gan, {"discriminator_start": 2.0}, "gan.discriminator_start must be from 0 to 1"),
        (Train, {"evaluate_every": 0}, "evaluate_every must be 1 or more, not 0"),
        (Train, {"class_weights": 2.0}, "class_weights must be from 0 to 1, not 2.0"),
        (Train, {"keep": -1}, "keep must be 0 or more, not -1"),
        (Train, {"layer_decay": 0.0}, "layer_decay must be more than 0, not 0.0"),
        (Architecture, {"patch_size": 7}, "patches of 7 px do not tile a face of"),
        (Architecture, {"heads": 5}, "model.width must be a multiple of 4 and of model.heads 5, not 192"),
        (Architecture, {"stem": (16, 32)}, "a stem of 2 stages makes patches of 4 px, not 6"),
        (
            Architecture,
            {"decoder_heads": 3},
            "model.decoder_width must be a multiple of 4 and of model.decoder_heads 3, not 128",
        ),
        (Hardware, {"accumulate": 0}, "--hardware.accumulate must be 1 or more"),
        (Export, {"run": Path(), "out": Path("x.onnx"), "change_gain": 0.0}, "--change-gain must be more than 0"),
    ],
)
def test_settings_that_have_no_flag_are_checked_too(kind, settings, told):
    assert told in refused(kind, **settings)


def test_the_warm_up_of_short_runs_is_a_tenth_of_them():
    assert [Pretrain(data=(), out=Path(), epochs=epochs).warmup_epochs for epochs in (30.0, 2.0)] == [1.0, 0.2]
    assert Pretrain(data=(), out=Path(), epochs=2.0, warmup=2.0).warmup_epochs == 2.0


def test_all_faces_are_generated_where_only_the_generator_learns():
    assert Train(data=(), out=Path()).gan_batch == Gan().batch and Train(data=(), out=Path(), batch=8).gan_batch == 8
    frozen = Train(data=(), out=Path(), **START, freeze=("encoder", "separator", "classifier"))
    assert frozen.gan_batch == frozen.batch > Gan().batch


def test_defaults_are_immutable():
    with pytest.raises(AttributeError):
        Pretrain(data=(), out=Path()).batch = 1


def test_every_setting_is_on_the_command_line_or_named_as_in_python():
    for kind in (Train, Pretrain, Gan, Architecture, Hardware, Export):
        assert all(field.type is not None for field in fields(kind))
    hidden = {field.name for field in fields(Gan) if Suppress in getattr(field.type, "__metadata__", ())}
    assert {field.name for field in fields(Gan)} - hidden == {"every"}


def former(record: dict) -> dict:
    """Return a record as format 1 had it."""

    def renamed(values: dict, names: dict) -> dict:
        back = {new: old for old, new in names.items()}
        return {back.get(name, name): value for name, value in values.items()}

    config = renamed(record["config"], upgrade.SETTINGS)
    config["model"] = renamed(config["model"], upgrade.MODEL) | {"hybrid": False}
    if "gan" in config:
        frozen = config.pop("freeze")
        config["game"] = renamed(config.pop("gan"), upgrade.GAN)
        config["game"] |= {"alone": "classifier" in frozen, "critic_stem_stays": "discriminator_stem" in frozen}
        config["encoder_stays"] = frozen == ["encoder"]
    return {**record, "config": config}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_of_the_former_format_is_resumed_bitwise(stage, made_up, tmp_path):
    config = replace(STAGES[stage], data=(made_up,), out=tmp_path / "whole", epochs=0.8)
    halt = replace(config, out=tmp_path / "halt", minutes=1e-4)
    done = run_training(config, halt)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "halt" / checkpoint.LAST
    tensors, record = checkpoint.load(file)
    assert record["step"] < record["steps"] == 10
    back = {new: old for old, new in upgrade.TENSORS.items()}
    for new, old in back.items():
        tensors = {name.replace(new, old) if name.startswith(new) else name: value for name, value in tensors.items()}
    metadata = {"format": checkpoint.FORMER_FORMAT, "record": json.dumps(former(record))}
    save_file({name: value.contiguous() for name, value in tensors.items()}, file, metadata)
    assert not any(name.startswith("discriminator_side") for name in load_file(file))
    done = run_training(replace(halt, minutes=None, resume=True))
    assert done.returncode == 0, done.stderr
    whole, resumed = (load_file(tmp_path / run / checkpoint.LAST) for run in ("whole", "halt"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_shipped_checkpoint_says_how_it_was_trained():
    with safe_open(CHECKPOINT, framework="pt") as file:
        assert file.metadata()["format"] == checkpoint.FORMAT
    _, record = checkpoint.load(CHECKPOINT)
    assert record["config"]["freeze"] == ["encoder", "separator", "classifier"]
    assert {field.name for field in fields(Gan)} == {*record["config"]["gan"]}
    assert asdict(checkpoint.architecture_of(record))["discriminator_depth"] == 2

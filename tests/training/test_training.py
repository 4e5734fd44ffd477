"""Both stages as a person runs them: they learn, stop, resume, share work, and say what is wrong."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import inside, run_training, write_faces
from helpers import EXACT, STAGES, kill_after, lines
from safetensors.torch import load_file

from pfvit.config.presets import NANO
from pfvit.training import checkpoint
from pfvit.training.optim import cosine, layer_scale

CONVOLUTIONAL = replace(NANO, patch_size=8, stem=(4, 8, 16), separator="subspace")
GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = STAGES | {"stem": replace(STAGES["train"], model=CONVOLUTIONAL, fit_emotion_subspace=0.5, optimizer="muon")}


def start(stage: str, data: Path, out: Path, **changes: object) -> None:
    done = run_training(replace(RUNS[stage], data=(data,), out=out, **changes))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_golden_losses_of_twenty_steps(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "run")
    told = lines(tmp_path / "run")
    assert len(told) == 20
    golden = GOLDEN / f"{stage}.json"
    if os.environ.get("PFVIT_WRITE_GOLDEN"):
        golden.write_text(json.dumps(told, indent=0))
    for ours, expected in zip(told, json.loads(golden.read_text()), strict=True):
        assert ours == pytest.approx(expected, rel=2e-3, abs=2e-5), "if the change is meant: PFVIT_WRITE_GOLDEN=1"


@pytest.mark.parametrize("stage", RUNS)
def test_resume_after_kill_is_bitwise_the_unbroken_run(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "whole")
    config = replace(RUNS[stage], data=(made_up,), out=tmp_path / "cut", checkpoint_minutes=1e-5)
    kill_after(7, config)
    _, record = checkpoint.load(tmp_path / "cut")
    assert 0 < record["step"] < 20, "killed too late to test anything"
    done = run_training(replace(config, resume=True))
    assert done.returncode == 0, done.stderr
    whole, cut = (load_file(tmp_path / run / checkpoint.LAST) for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


@pytest.mark.parametrize("stage", STAGES)
def test_faces_kept_in_memory_train_the_same(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "one")
    start(stage, made_up, tmp_path / "two", hardware=replace(EXACT, resident=True))
    assert lines(tmp_path / "one") == lines(tmp_path / "two")


def test_both_stages_learn(nano):
    told = lines(nano / "one")
    assert told[-1]["loss"] < 0.7 * told[0]["loss"]
    looks = [line for line in lines(nano / "two") if "validation_war" in line]
    assert looks[-1]["validation_war"] > 0.5, "eight made-up emotions; chance is one in eight"
    assert list((nano / "two" / "sheets").glob("*.png"))
    assert list((nano / "two" / "board").glob("events.*"))


def test_time_budget_ends_cleanly_and_a_finished_run_can_be_resumed(made_up, tmp_path):
    start("pretrain", made_up, tmp_path / "run", minutes=1e-4)
    _, record = checkpoint.load(tmp_path / "run")
    assert record["step"] < 20
    start("pretrain", made_up, tmp_path / "run", resume=True)
    assert checkpoint.load(tmp_path / "run")[1]["step"] == 20
    start("pretrain", made_up, tmp_path / "run", resume=True)
    assert len(lines(tmp_path / "run")) == 20


def test_run_folders_that_exist_are_not_overwritten_nor_resumed_with_other_settings(made_up, nano, capsys):
    words = ("pretrain", "nano", "--data", made_up, "--out")
    done = inside(capsys, *words, nano / "one")
    assert done.returncode == 1 and "exists and is not empty; --resume continues it" in done.stderr
    done = inside(capsys, *words, nano / "one", "--epochs", 20, "--warmup", 1, "--batch", 16, "--resume")
    assert done.returncode == 1 and "other settings: batch 32 -> 16" in done.stderr
    done = inside(capsys, *words, nano / "none", "--resume")
    assert done.returncode == 1 and "no checkpoint to resume" in done.stderr


def test_wrong_command_lines_exit_with_2(tmp_path, capsys):
    for words in (
        ("pretrain",),
        ("train", "nano"),
        ("train", "nope", "--data", "x", "--out", "y"),
        ("dance",),
        (),
    ):
        done = inside(capsys, *words)
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_schedule_and_layer_decay():
    rates = [cosine(step, 110, 10) for step in range(111)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 and rates[60] == pytest.approx(0.5) and rates[110] == 0
    assert layer_scale("encoder.patch_embed.proj.weight", 6, 0.5) == 0.5**7
    assert layer_scale("encoder.blocks.5.mlp.fc1.weight", 6, 0.5) == 0.5
    assert layer_scale("encoder.norm.weight", 6, 0.5) == layer_scale("classifier.head.weight", 6, 0.5) == 1


@pytest.mark.parametrize(
    ("label", "words"), [(3, ["--order", "ferplus"]), ("sadness", []), (3, ["--order", "a", "b", "c", "d"])]
)
def test_faces_of_one_class_are_refused_however_it_is_written(label, words, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    faces = pq.read_table(write_faces(tmp_path / "f.parquet", 16)).to_pydict()["image"]
    pq.write_table(pa.table({"image": faces, "label": [label] * 16}), tmp_path / "f.parquet")
    done = inside(capsys, "train", "nano", "--data", tmp_path / "f.parquet", "--out", tmp_path / "run", *words)
    shown = "d" if "d" in words else "sadness"
    assert done.returncode in (1, 2) and f"--data show one class alone ({shown}): two or more" in done.stderr


def test_a_corrupt_picture_is_left_out_and_named_before_the_first_step(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_faces(tmp_path / "f.parquet", 16)
    table = pq.read_table(path).to_pydict()
    table["image"][5] = {"bytes": b"no", "path": "x"}
    pq.write_table(pa.table(table), path)
    done = inside(capsys, "pretrain", "nano", "--data", path, "--out", tmp_path / "run", "--batch", 8, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    told = done.stderr[: done.stderr.index("2 steps of 8")]
    assert "f.parquet#0:5 is" in told and "15 faces; left out: 1 whose picture is damaged" in told

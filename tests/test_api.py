"""`pfvit.pretrain`, `train` and `evaluate` do what the command line does; a run is measured without an export."""

import inspect
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import inside, write_faces
from conftest import pfvit as command_line
from helpers import lines

import pfvit
from pfvit.config import Evaluate
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError
from pfvit.export.opened import open_run
from pfvit.inference import network
from pfvit.inference.generator import FaceGenerator
from pfvit.training import checkpoint

SMALL = {"batch": 16, "epochs": 1.0, "log_every": 1, "hardware": {"precision": "32", "threads": 1}}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("api") / "few.parquet", 48)


@pytest.fixture(scope="module")
def run(tmp_path_factory, few):
    """A run of recognition alone, six steps."""
    out = tmp_path_factory.mktemp("api") / "run"
    return pfvit.train("nano", data=str(few), validation=few, out=str(out), gan={"every": 0}, **SMALL | {"epochs": 2.0})


def test_a_run_from_python_is_that_of_the_command_line(few, tmp_path, capsys):
    ours = pfvit.train("nano", data=few, out=tmp_path / "python", **SMALL)
    words = ("--batch", 16, "--epochs", 1, "--log-every", 1, "--hardware.precision", "32", "--hardware.threads", 1)
    done = inside(capsys, "train", "nano", "--data", few, "--out", tmp_path / "words", *words)
    assert done.returncode == 0 and lines(ours) == lines(tmp_path / "words") and len(lines(ours)) == 3
    longer = pfvit.train(out=ours, resume=True, minutes=1)
    assert longer == ours and lines(ours) == lines(tmp_path / "words"), "a whole run has nothing left to do"


def test_stage_one_from_python_is_that_of_the_command_line(few, tmp_path, capsys):
    ours = pfvit.pretrain("nano", data=few, out=tmp_path / "python", mask_ratio=0.5, optimizer="muon", **SMALL)
    words = ("--batch", 16, "--epochs", 1, "--log-every", 1, "--hardware.precision", "32", "--hardware.threads", 1)
    words += ("--mask-ratio", 0.5, "--optimizer", "muon")
    done = inside(capsys, "pretrain", "nano", "--data", few, "--out", tmp_path / "words", *words)
    assert done.returncode == 0 and lines(ours) == lines(tmp_path / "words") and len(lines(ours)) == 3
    assert pfvit.pretrain(out=ours, resume=True) == ours and len(lines(ours)) == 3
    two = pfvit.train("nano", data=few, start=ours, out=tmp_path / "two", minutes=1e-4, **SMALL)
    assert checkpoint.record_of(two)["config"]["start"] == str(ours)
    with pytest.raises(pfvit.InputError, match="is a run of `pfvit pretrain`, not of `pfvit train`"):
        pfvit.train(out=ours, resume=True)
    with pytest.raises(UsageError, match="there is no setting mask_ration; did you mean mask_ratio"):
        pfvit.pretrain("nano", data=few, out=tmp_path / "run", mask_ration=0.5)


def test_a_run_is_measured_without_an_export(run, few, capsys):
    report = pfvit.evaluate(run, few)
    assert report["n"] == 48 and report["weights"] == "run" and set(report["poker"]) > {"reconstruction_l1"}
    assert report["war"] == pytest.approx(lines(run)[-1]["validation_war"], abs=0.03), "but for how pictures shrink"
    for weights in (run, run / "last.safetensors"):
        done = inside(capsys, "evaluate", "--weights", weights, "--data", few, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == report | {"weights": Path(weights).name}
    crossed = inside(capsys, "evaluate", "--cross", run, "--data", few, "--json")
    assert json.loads(crossed.stdout)["cross"][0]["war"] == report["war"]


def test_a_run_answers_as_its_export_does(run, tmp_path):
    assert command_line("export", run, "--out", tmp_path / "mine.onnx").returncode == 0
    ours, exported = open_run(run), FaceGenerator(network.open_recogniser(tmp_path / "mine.onnx"))
    faces = np.random.default_rng(0).integers(0, 256, (5, 31, 29, 3), dtype=np.uint8)
    for name in ("logits", "emotion", "residue"):
        here, there = (one.recogniser.run((name,), image=faces)[name] for one in (ours, exported))
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)
    emotion, residue = (np.stack(some) for some in zip(*ours.components(list(faces)), strict=True))
    for strength in (0.0, 1.0):
        here, there = (one.generate(emotion, residue, strength) for one in (ours, exported))
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)


def test_settings_are_those_of_the_command_line():
    ours = {field.name for field in fields(Evaluate)} - {"cross", "merge", "json"}
    assert set(inspect.signature(pfvit.evaluate).parameters) == ours
    defaults = {name: one.default for name, one in inspect.signature(pfvit.evaluate).parameters.items()}
    plain = Evaluate(data=())
    for name in ours - {"data", "weights", "protocol"}:
        assert defaults[name] == getattr(plain, name)
    assert (defaults["protocol"],) == plain.protocol


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"learning_rate": 0.1}, "there is no setting learning_rate"),
        ({"epoch": 3}, "there is no setting epoch; did you mean epochs?"),
        ({"gan": {"ever": 0}}, "there is no setting gan.ever; did you mean gan.every?"),
        ({"epochs": 0}, "--epochs must be more than 0, not 0"),
        ({"order": "klingon"}, "--order must be one of"),
        ({"batch": 8.5}, "batch must be a whole number, not 8.5"),
        ({"batch": True}, "batch must be a whole number, not True"),
        ({"epochs": "3"}, "epochs must be a number, not '3'"),
        ({"lr": None}, "lr must be a number, not None"),
        ({"keep": 1.5}, "keep must be a whole number, not 1.5"),
        ({"freeze": "head"}, "freeze must be one of encoder, separator, classifier, discriminator_stem, not 'head'"),
        ({"person": 1}, "person must be text, not 1"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, muon, not 'sgd'"),
        ({"hardware": {"compile": "no"}}, "hardware.compile must be True or False, not 'no'"),
        ({"hardware": "cpu"}, "hardware takes a dict of settings (devices, precision, threads, ...), not 'cpu'"),
        ({"gan": 0}, "gan takes a dict of settings (batch, every, "),
        ({"hardware": {"threads": 10**9}}, "--hardware.threads must be from 1 to 1024, not 1000000000"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings, told, tmp_path):
    with pytest.raises(UsageError) as problem:
        pfvit.train("nano", data=tmp_path / "none.parquet", out=tmp_path / "run", **settings)
    assert told in str(problem.value) and not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_numbers(few, tmp_path):
    given = {"batch": np.int64(16), "epochs": np.float32(1), "log_every": np.uint8(1)}
    out = pfvit.train("nano", data=few, out=tmp_path / "run", **SMALL | given)
    assert checkpoint.record_of(out)["config"]["batch"] == 16


def test_what_cannot_be_measured_is_refused(few):
    with pytest.raises(UsageError, match="protocol must be one of clean, official, all, majority, not 'offical'"):
        pfvit.evaluate(None, few, protocol="offical")
    for data in (3, b"faces", [few, None]):
        with pytest.raises(UsageError, match="give a path, or several, as text"):
            pfvit.evaluate(None, data)
    with pytest.raises(UsageError, match="data names nothing"):
        pfvit.evaluate(None, [])


def test_what_is_no_run_is_named(tmp_path, few):
    with pytest.raises(UsageError, match="names what to train on"):
        pfvit.train("nano", out=tmp_path / "run")
    with pytest.raises(pfvit.InputError, match="is a folder"):
        pfvit.evaluate(tmp_path, few)
    labels = ["bored", "bored", None]
    pq.write_table(
        pq.read_table(few, columns=["image"]).slice(0, 3).append_column("label", [labels]), tmp_path / "o.parquet"
    )
    with pytest.raises(pfvit.InputError, match=r"could name: 2 of other classes \(bored\); 1 without a label"):
        pfvit.evaluate(None, tmp_path / "o.parquet", faces=False)
    with pytest.raises(pfvit.InputError, match=r"gone\.safetensors is not there"):
        pfvit.evaluate(tmp_path / "gone.safetensors", few)
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(pfvit.InputError, match="is a pointer of Git LFS"):
        pfvit.evaluate(tmp_path / "pointer.safetensors", few)


def test_an_encoder_is_probed_linearly(run, few, tmp_path, capsys):
    """The same with both stages' runs; the labels that the probe is fitted to are the classes."""
    held_out = write_faces(tmp_path / "test.parquet", 60, seed=3)
    words = ("pretrain", "nano", "--data", few, "--out", tmp_path / "one", "--batch", 16, "--epochs", 0.4)
    assert inside(capsys, *words).returncode == 0
    fitted_to = write_faces(tmp_path / "fit.parquet", 200, seed=4)
    for weights in (tmp_path / "one", run):
        report = pfvit.evaluate(weights, held_out, probe=fitted_to)
        assert (report["n"], report["fitted"]) == (60, 200) and set(report["labels"]) == set(EIGHT)
        assert 0.25 < report["war"] <= 1 and "poker" not in report, "chance is one in eight"
    capsys.readouterr()
    seen = pfvit.evaluate(run, fitted_to, probe=fitted_to)
    assert seen["war"] >= report["war"] and "is what the probe is fitted to" in capsys.readouterr().err
    done = inside(capsys, "evaluate", "--weights", run, "--data", held_out, "--probe", fitted_to)
    assert done.returncode == 0 and "linear probe, fitted to 200 faces of fit.parquet" in done.stdout
    with pytest.raises(pfvit.InputError, match="those of `pfvit train` can be measured"):
        pfvit.evaluate(tmp_path / "one", held_out)
    with pytest.raises(UsageError, match="--probe measures a linear classifier"):
        pfvit.evaluate(run, held_out, probe=few, robustness=True)
    pq.write_table(pq.read_table(few).slice(0, 1), tmp_path / "one.parquet")
    with pytest.raises(UsageError, match="--probe needs faces of two or more classes, and these are of 1"):
        pfvit.evaluate(run, held_out, probe=tmp_path / "one.parquet")


def test_training_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pfvit.training", None)
    with pytest.raises(ModuleNotFoundError, match=r'pfvit.train needs .*: pip install "pfvit\[train\]"'):
        pfvit.train("nano", out=tmp_path / "run", data="faces.parquet")
    with pytest.raises(ModuleNotFoundError, match=r"pfvit.pretrain needs"):
        pfvit.pretrain("nano", out=tmp_path / "run", data="faces.parquet")


def test_a_notebook_offers_every_public_name():
    """In a process of its own, in which none of them is loaded yet."""
    code = "import sys, pfvit; print({*pfvit.__all__} <= {*dir(pfvit)}, 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True False\n"

"""`pfvit reproduce`: the recipes are what they say, and each leads from the Parquet files to its table."""

import json
import subprocess
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace

import forked
import layouts
import pytest
from conftest import inside, write_faces
from forked import Forked

from pfvit.__main__ import main
from pfvit.commands import reproduce
from pfvit.commands.reproduce import before
from pfvit.config import Train
from pfvit.config.presets import ARCHITECTURES
from pfvit.config.recipe import Measurement
from pfvit.config.recipes import ABLATION, RECIPES, SHIPPED
from pfvit.emotions import EIGHT
from pfvit.evaluation import recipe_table
from pfvit.training import checkpoint, resume
from pfvit.weights import CHECKPOINT

PAPER = ("rafdb", "affectnet7", "affectnet8", "ferplus")


def test_the_recipes_are_the_authors():
    """docs/paper.md, sections 3 and 4: absolute learning rates, which we give per 256 faces, and classes."""
    for name, rate, classes in (("rafdb", 1e-5, 7), ("affectnet8", 6.25e-5, 8), ("ferplus", 1e-5, 8)):
        pretrain, baseline, full = RECIPES[name].runs
        assert baseline.lr * baseline.batch / 256 == pytest.approx(rate) and baseline.model.classes == classes
        assert pretrain.lr * pretrain.batch / 256 == pytest.approx(7.5e-5) and pretrain.epochs == 300
        assert baseline.gan.every == 0 and baseline.model.separator == "none"
        assert full.gan.every == 1 and full.model.separator == "projection" and full.gan.batch <= full.batch
    assert {row.preset for recipe in RECIPES.values() for row in recipe.published} <= set(ARCHITECTURES)
    assert [(row.preset, row.accuracy) for row in RECIPES["rafdb"].published] == [
        ("paper-base", 91.07),
        ("paper-base", 91.79),
        ("paper-small", 90.03),
        ("paper-tiny", 88.72),
    ]


def test_the_recipe_that_ships_is_what_the_weights_were_trained_with():
    """The file in the repository carries the settings of its last run."""
    recorded, run = (
        checkpoint.load(CHECKPOINT)[1]["config"],
        json.loads(json.dumps(asdict(SHIPPED.runs[-1]), default=str)),
    )
    run["model"]["classes"] = len(EIGHT)  # left to the data, which have so many
    default = json.loads(json.dumps(asdict(Train(data=(Path(),), out=Path())), default=str))
    for name, value in run.items():
        if name in (*resume.FREE, *resume.PLACES, "hardware"):  # the weights do not depend on them
            continue
        if name not in recorded:  # a setting that came later, and that this recipe leaves alone
            assert value == default[name], name
            continue
        kept = {key: recorded[name][key] for key in value} if isinstance(value, dict) else recorded[name]
        assert kept == value, name


@pytest.mark.parametrize("name", RECIPES)
def test_every_run_of_a_recipe_has_its_place(name):
    recipe = RECIPES[name]
    for run in recipe.runs:
        for settings in (run, *((run.gan,) if isinstance(run, Train) else ())):
            kinds = {field.name: getattr(field.type, "__origin__", field.type) for field in fields(settings)}
            floats = [name for name, kind in kinds.items() if kind is float]
            assert floats and all(isinstance(getattr(settings, name), float) for name in floats), run.out
    names = [str(run.out) for run in recipe.runs]
    assert len(set(names)) == len(names) and {row.run for row in recipe.rows} <= set(names)
    for position, run in enumerate(recipe.runs):
        earlier = {path.parts[0] for path in before(run)}
        assert earlier <= {*names[:position]}, "it starts from earlier ones, and they teach it"
    assert recipe.preset in ARCHITECTURES and recipe.source and recipe.expected and recipe.hours > 0 and recipe.hardware
    assert len({row.label for row in recipe.rows}) == len(recipe.rows)
    assert {label for pair in recipe.compared for label in pair} <= {row.label for row in recipe.rows}


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_the_preset_that_ships_trains_as_its_recipe(verb, capsys):
    told = inside(capsys, verb, "small-conv", "--help").stdout
    assert "(default: muon)" in told and "(default: 96)" in told
    assert "(default: adamw)" in inside(capsys, verb, "compact-conv", "--help").stdout


@pytest.fixture
def prepared(tmp_path) -> Path:
    source = layouts.rafdb(tmp_path / "basic", 35, 21)
    assert main(["prepare", "rafdb", str(source), str(tmp_path / "raf"), "--jobs", "1"]) == 0
    return tmp_path / "raf"


def test_from_a_miniature_to_the_table(prepared, tmp_path, capsys):
    words = [
        "reproduce",
        "rafdb",
        "--data",
        str(prepared),
        "--out",
        str(tmp_path / "run"),
        "--preset",
        "nano",
        "--scale",
        "try",
    ]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err.count("$ pfvit evaluate") == 4 and said.err.count("$ pfvit export") == 2
    assert "published: MAE ViT-Base, with augmentation and mixup  " in said.out and "91.79" in said.out
    assert "nano, baseline, official" in said.out and "nano, gan, clean" in said.out
    assert "0.01 of the epochs: no comparison" in said.out and "not as published" in said.out
    reports = json.loads((tmp_path / "run" / "table.json").read_text())
    assert reports["gan, official"][0]["n"] == 21 and len(reports["gan, official"][0]["labels"]) == 7
    assert "| nano, gan, clean | " in (tmp_path / "run" / "table.md").read_text()
    assert main(words) == 0
    again = capsys.readouterr()
    assert "$ pfvit" not in again.err and "pretrain nano" not in again.err and again.out == said.out, "done is done"
    assert main(words[:-2]) == 1
    assert "holds runs of other settings (scale try -> full)" in capsys.readouterr().err


def verb_forked(command: list[str], stdout: int) -> subprocess.CompletedProcess[bytes]:
    """Do what `subprocess.run` does with a verb, without its waiting for torch."""
    done = Forked(forked.verb, tuple(command[3:])).wait()
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.encode())


def test_what_ships_from_the_parquet_files_to_the_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "subprocess", SimpleNamespace(run=verb_forked, PIPE=subprocess.PIPE))
    for part in ("train", "val"):
        write_faces(tmp_path / f"ferplus_{part}.parquet", 120, seed=len(part))
    other = write_faces(tmp_path / "faces_color_112.parquet", 40, seed=9)
    words = ["reproduce", "shipped", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--preset", "nano"]
    words += ["--scale", "try", "--faces", str(tmp_path / "ferplus_train.parquet"), str(other)]
    assert main([*words, "--only", "teacher-2"]) == 0
    folder = tmp_path / "run" / "seed-0"
    assert {run.parent.name for run in folder.glob("*/last.safetensors")} == {"pretrain", "teacher-2"}
    assert main([*words, "--minutes", "0.1"]) == 0
    assert "out of time: the same command goes on" in capsys.readouterr().err
    assert main(words) == 0
    said = capsys.readouterr()
    assert "3 teachers answer to" in said.err and "freeze ['encoder', 'separator', 'classifier']" in said.err
    assert "Expected: WAR 0.8" in said.err
    assert "nano, shipped" in said.out and "nano, teacher-3" in said.out and "SSIM" in said.out
    assert {run.parent.name for run in folder.glob("*/last.safetensors")} == {str(run.out) for run in SHIPPED.runs}
    name = "generation-more-adjustment-0.6-gain-2"
    assert {path.name for path in folder.glob(f"{name}*.onnx")} == {
        f"{name}.onnx",
        f"{name}-int8.onnx",
        f"{name}-generator.onnx",
    }
    assert list((folder / f"{name}-figures").glob("*.png"))
    student = checkpoint.load(folder / "recognition")[1]["config"]
    assert [Path(path).name for path in student["teacher"]] == ["teacher-1", "teacher-2", "teacher-3"]
    assert [Path(path).name for path in student["unlabelled"]] == [other.name], "not the training part"
    assert student["views"] == "wild" and student["window"] == ["faces_color_112=0.92,-0.08"]
    assert checkpoint.load(folder / "refit")[1]["config"]["teacher"] == [
        str(folder / "recognition/teachers.safetensors")
    ]
    assert [checkpoint.load(folder / f"teacher-{n}")[1]["config"]["seed"] for n in (1, 3)] == [100, 300]
    assert main(words) == 0
    assert "$ pfvit" not in capsys.readouterr().err, "done is done"


def test_what_would_be_run_can_be_had_without_running_it(prepared, tmp_path, capsys):
    words = ["reproduce", "rafdb", "--data", str(prepared), "--out", str(tmp_path / "run"), "--print-only"]
    assert main([*words, "--resident", "--compile", "--faces", "a.parquet", "b.parquet"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[2].startswith("pretrain paper-base: data ['a.parquet', 'b.parquet']") and "epochs 300" in told[2]
    assert "hardware.resident True, hardware.compile True" in told[2]
    assert "model.separator none" in told[3] and "model.classes 7" in told[3] and len(told) == 11
    assert main([*words, "--only", "baseline"]) == 0
    assert sum(line.startswith("train") for line in capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_export_that_was_stopped_is_done_again(prepared, tmp_path, capsys):
    """It leaves a recogniser without reliability, or without its generator."""
    weights = tmp_path / "run" / "seed-0" / "baseline.onnx"
    weights.parent.mkdir(parents=True)
    weights.touch()
    words = ["reproduce", "rafdb", "--data", prepared, "--out", tmp_path / "run", "--print-only", "--only", "baseline"]
    assert main(list(map(str, words))) == 0
    assert capsys.readouterr().err.count("$ pfvit export") == 1


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("imagenet",), 2, "there is no recipe 'imagenet'; choose from shipped, ablation, rafdb"),
        (("rafdb", "--only", "x"), 2, "--only x: this recipe has baseline, gan"),
        (("rafdb", "--preset", "huge"), 2, "there is no preset 'huge'"),
        (("ferplus",), 1, "holds rafdb, not ferplus"),
        (("rafdb", "--minutes", "0.1"), 0, "out of time: the same command goes on"),
    ],
)
def test_mistakes_are_explained(words, status, what, prepared, tmp_path, capsys):
    assert main(["reproduce", *words, "--data", str(prepared), "--out", str(tmp_path / "run")]) == status
    assert what in capsys.readouterr().err


def test_a_manifest_that_does_not_match_stops_before_the_first_hour(prepared, tmp_path, capsys):
    file = prepared / "train-00000.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    assert main(["reproduce", "rafdb", "--data", str(prepared), "--out", str(tmp_path / "run")]) == 1
    assert "it is cut short" in capsys.readouterr().err
    assert main(["reproduce", "rafdb", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 1
    assert "holds neither manifest.json nor rafdb_train.parquet" in capsys.readouterr().err


def test_the_table_shows_what_was_trained_and_compares_seed_by_seed():
    def report(war: float, **more: float) -> dict:
        poker = {"residue_probe": 0.5, "reconstruction_ssim": 0.25} | more
        return {"war": war, "uar": 0.5, "ece": 0.0, "war_ci": [0.1, 0.9], "n": 1234, "poker": poker}

    recipe = replace(
        ABLATION,
        rows=(
            Measurement("a", "a"),
            Measurement("c", "c", trained="separator"),
            Measurement("d", "d", trained="generator"),
        ),
        compared=(("d", "a"),),
    )
    some = {"a": [{**report(0.5), "poker": {}}, {**report(0.7), "poker": {}}], "c": [report(0.5)] * 2}
    cells = recipe_table.table(recipe, "nano", some | {"d": [report(0.75), report(0.75)]}, ["noted"])
    assert cells.header == [
        "",
        "accuracy",
        "mean recall",
        "calibration error",
        "residue probe",
        "SSIM",
        "accuracy, 95%",
        "faces",
    ]
    assert cells.rows[0] == ["nano, a", "60.00 ± 14.14", "50.00 ± 0.00", "0.00 ± 0.00", "–", "–", "–", "1,234"]
    assert cells.rows[1][4:6] == ["50.00 ± 0.00", "–"] and cells.rows[2][4:6] == ["50.00 ± 0.00", "0.25 ± 0.00"]
    assert cells.notes == ["noted", "d, over a: +15.00 ± 14.14 points of accuracy (+25.0, +5.0)"]
    assert "| nano, a | 60.00 ± 14.14 |" in recipe_table.markdown(cells)
    assert cells.title.endswith("2 seeds")

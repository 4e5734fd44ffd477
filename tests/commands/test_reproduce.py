"""`pfvit reproduce`: the recipes, and one of them from a miniature RAF-DB to the table."""

import json
from dataclasses import fields, replace
from pathlib import Path

import layouts
import pytest
import tyro

from pfvit.__main__ import main
from pfvit.config import Pretrain, Train
from pfvit.config.presets import ARCHITECTURES, architecture
from pfvit.config.recipes import RECIPES, flags, stages


@pytest.mark.parametrize("name", RECIPES)
def test_the_flags_of_a_recipe_give_its_settings_back(name):
    for settings in stages(RECIPES[name], "paper-base", 0.5):
        kind = type(settings)
        plain = kind(data=(), out=Path(), model=architecture("paper-base"))
        words = [*flags(settings, plain), "--data", "x.parquet", "--out", "run"]
        presets = {"paper-base": ("", kind(data=tyro.MISSING, out=tyro.MISSING, model=architecture("paper-base")))}
        told = tyro.extras.overridable_config_cli(presets, args=["paper-base", *words])
        assert replace(told, data=(), out=Path()) == settings


def test_the_recipes_are_the_authors():
    """PAPER 3 and 4: absolute learning rates, which we give per 256 faces, and classes."""
    for name, rate, classes in (("rafdb", 1e-5, 7), ("affectnet8", 6.25e-5, 8), ("ferplus", 1e-5, 8)):
        pretrain, baseline, game = stages(RECIPES[name], "paper-base", 1)
        assert baseline.rate * baseline.batch / 256 == pytest.approx(rate) and baseline.model.classes == classes
        assert pretrain.rate * pretrain.batch / 256 == pytest.approx(7.5e-5) and pretrain.epochs == 300
        assert baseline.game.every == 0 and baseline.model.separator == "none"
        assert game.game.every == 1 and game.model.separator == "projection" and game.game.batch <= game.batch
    assert {row.preset for recipe in RECIPES.values() for row in recipe.paper} <= set(ARCHITECTURES)
    assert [(row.preset, row.accuracy) for row in RECIPES["rafdb"].paper] == [
        ("paper-base", 91.07), ("paper-base", 91.79), ("paper-small", 90.03), ("paper-tiny", 88.72),
    ]  # fmt: skip


def test_flags_know_every_kind_of_setting():
    changed = replace(Train(data=(), out=Path()), encoder_stays=True, zoom=(1.0, 2.0), erase_at=0.5)
    hardware, game = replace(changed.hardware, resident=True), replace(changed.game, alone=True)
    words = flags(replace(changed, hardware=hardware, game=game), Train(data=(), out=Path()))
    assert words[:6] == ["--hardware.resident", "--zoom", "1.0", "2.0", "--erase-at", "0.5"]
    assert words[6:] == ["--encoder-stays", "--game.alone"]
    changed = replace(changed, hardware=hardware)
    assert "--hardware.no-resident" in flags(Train(data=(), out=Path()), changed)
    assert {field.name for field in fields(Pretrain)} > {"data", "out", "model"}


@pytest.fixture
def prepared(tmp_path) -> Path:
    source = layouts.rafdb(tmp_path / "basic", 35, 21)
    assert main(["prepare", "rafdb", str(source), str(tmp_path / "raf"), "--jobs", "1"]) == 0
    return tmp_path / "raf"


def test_from_a_miniature_to_the_table(prepared, tmp_path, capsys):
    words = ["reproduce", "rafdb", "--data", str(prepared), "--out", str(tmp_path / "run"), "--preset", "nano",
             "--shorten", "0.005"]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err.count("$ pfvit") == 9
    assert "authors: MAE ViT-Base, with augmentation and mixup  " in said.out and "91.79" in said.out
    assert "ours: nano, baseline, official" in said.out and "ours: nano, game, clean" in said.out
    assert "0.005 of the paper's epochs: no comparison" in said.out and "not as published" in said.out
    reports = json.loads((tmp_path / "run" / "table.json").read_text())
    assert reports["game, official"]["n"] == 21 and len(reports["game, official"]["labels"]) == 7
    assert main(words) == 0
    again = capsys.readouterr()
    assert "$ pfvit" not in again.err and again.out == said.out, "what is done is not done again"
    assert main([*words[:-1], "1"]) == 1
    assert "holds runs of other settings (shorten 0.005 -> 1.0)" in capsys.readouterr().err


def test_the_commands_can_be_had_without_running_them(prepared, tmp_path, capsys):
    assert main(["reproduce", "rafdb", "--data", str(prepared), "--out", str(tmp_path / "run"), "--print-only",
                 "--resident", "--compile", "--faces", "a.parquet", "b.parquet"]) == 0  # fmt: skip
    told = capsys.readouterr().err.splitlines()
    told = [line for line in told if line.startswith("$")]
    assert told[0].startswith("$ pfvit pretrain paper-base --data a.parquet b.parquet --out")
    assert "--hardware.resident --hardware.compile" in told[0] and "--epochs 300" in told[0]
    assert "--model.classes 7" in told[1] and "--model.separator none" in told[1] and len(told) == 9
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("imagenet",), 2, "there is no recipe for 'imagenet'; choose from rafdb"),
        (("rafdb", "--shorten", "0"), 2, "--shorten is a share"),
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

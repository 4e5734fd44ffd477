"""`pfvit reproduce`: a recipe from the Parquet files to its table; what is done is not done again."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pfvit.commands.output_files import make_folder
from pfvit.config import Export, Pretrain, Reproduce, Train
from pfvit.config.presets import architecture
from pfvit.config.recipe import Measurement, Recipe
from pfvit.config.recipes import PHOTO, RECIPES
from pfvit.datasets import manifest
from pfvit.errors import InputError
from pfvit.evaluation import recipe_table
from pfvit.export.onnx import export_run
from pfvit.training import checkpoint
from pfvit.training.photo_data import points_of
from pfvit.training.photo_trainer import train_photo
from pfvit.training.pretrainer import pretrain
from pfvit.training.trainer import train
from pfvit.utils.console import say, show
from pfvit.utils.files import write_whole

SPARE_MINUTES = 0.5  # with less left, no run is begun
SCALES = {"full": 1.0, "try": 0.01}  # factor of the epochs


def reproduce(config: Reproduce, recipe: Recipe | None = None) -> None:
    """Run a recipe as far as the time allows, and print its table when all is there.

    `recipe` is one of your own, to be run in place of the one by that name.
    """
    if config.name == "photo":
        reproduce_photo(config)
        return
    work = Reproduction(config, recipe or RECIPES[config.name])
    recipe = work.recipe
    say(f"{recipe.title}. Expected: {recipe.expected}. Source: {recipe.source}.")
    say(f"It takes {recipe.hours:g} hours on {recipe.hardware}.")
    reports = work.run()
    if reports is None:
        say("out of time: the same command goes on")
    elif reports:
        write_whole(config.out / "table.json", json.dumps(reports, indent=1) + "\n")
        table = recipe_table.table(work.recipe, work.preset, reports, work.notes())
        write_whole(config.out / "table.md", recipe_table.markdown(table))
        show(recipe_table.shown(table))


def reproduce_photo(config: Reproduce) -> None:
    """Train the photo model as the one in the wheel was trained, and export it."""
    say(f"{PHOTO.title}. Expected: {PHOTO.expected}. Source: {PHOTO.source}.")
    say(f"It takes {PHOTO.hours:g} hours on {PHOTO.hardware}.")
    share, run = SCALES[config.scale], PHOTO.training
    out = config.out / run.out
    data = tuple(path for path in sorted(config.data.glob("*.parquet")) if points_of(path) and "val" not in path.stem)
    run = replace(
        run,
        data=data,
        points=config.points or Path(),
        out=out,
        minutes=config.minutes,
        resume=(out / checkpoint.LAST).exists(),
        masked_faces=round(run.masked_faces * share),
        movement_faces=round(run.movement_faces * share),
        adversarial_faces=round(run.adversarial_faces * share),
    )
    if config.print_only:
        say(f"train-photo: {run}")
        return
    if not _is_done(out):
        train_photo(run)
    if _is_done(out):
        export_run(Export(out, config.out / "pfvit-photo.onnx", license=PHOTO.license))
        say(f"{config.out / 'pfvit-photo.onnx'} is written; beside pfvit.onnx it is what pfvit poker takes")
    else:
        say("out of time: the same command goes on")


class Reproduction:
    """One recipe's runs in a folder."""

    def __init__(self, config: Reproduce, recipe: Recipe):
        self.config, self.recipe = config, recipe
        self.preset = config.preset or recipe.preset
        self.end = None if config.minutes is None else time.monotonic() + 60 * config.minutes
        self.exported: set[Path] = set()
        self.rows = [row for row in recipe.rows if not config.only or row.run in config.only]
        self.runs = {str(run.out): self.at_scale(run) for run in recipe.runs}
        self.parts, self.as_published = parts_of(config.data, recipe.data_set)
        self.test = next((part for part in (recipe.tested_on, "test", "val") if part in self.parts), "test")
        if "train" not in self.parts or self.test not in self.parts:
            raise InputError(
                f"{config.data} lacks a training or a test part; it has {', '.join(self.parts)}: "
                f"pfvit prepare {recipe.data_set} ... makes both"
            )

    def at_scale(self, run: Pretrain | Train) -> Pretrain | Train:
        """Return a run's settings, at another preset's sizes if one is asked for, with its share of the epochs."""
        share, sizes = SCALES[self.config.scale], run.model
        if self.preset != self.recipe.preset:
            sizes = replace(architecture(self.preset), separator=sizes.separator, classes=sizes.classes)
        return replace(run, model=sizes, epochs=run.epochs * share, warmup=run.warmup_epochs * share)

    def run(self) -> dict[str, list[dict[str, Any]]] | None:
        """Do what is still to do; return the reports of each row, one for each seed, or None if time is up."""
        self.check_folder()
        reports: dict[str, list[dict[str, Any]]] = {row.label: [] for row in self.rows}
        for seed in range(self.config.seeds or self.recipe.seeds):
            folder = self.config.out / f"seed-{seed}"
            for name in self.needed():
                if not self.train(self.runs[name], folder, seed):
                    return None
            for row in self.rows:
                reports[row.label].append(self.measure(row, folder))
        return {} if self.config.print_only else reports

    def needed(self) -> list[str]:
        """Return the names of the runs that the rows need, in the recipe's order."""
        names = {row.run for row in self.rows}
        for name, run in reversed(self.runs.items()):
            if name in names:
                names |= {path.parts[0] for path in before(run)}
        return [name for name in self.runs if name in names]

    def check_folder(self) -> None:
        """Note what the folder's runs are of; InputError if it holds those of something else."""
        config = self.config
        what = {
            "name": config.name,
            "preset": self.preset,
            "scale": config.scale,
            "data": str(config.data.resolve()),
            "faces": [str(path.resolve()) for path in config.faces],
        }
        file = config.out / "reproduce.json"
        if file.exists():
            old = json.loads(file.read_text())
            if differ := [f"{key} {old.get(key)} -> {value}" for key, value in what.items() if old.get(key) != value]:
                raise InputError(
                    f"{config.out} holds runs of other settings ({', '.join(differ)}); choose another --out"
                )
        elif not config.print_only:
            make_folder(config.out)
            write_whole(file, json.dumps(what, indent=1) + "\n")

    def train(self, run: Pretrain | Train, folder: Path, seed: int) -> bool:
        """Begin a training run or go on with it; true when it is done."""
        config, out = self.config, folder / run.out
        if _is_done(out):
            return True
        left = None if self.end is None else (self.end - time.monotonic()) / 60
        if left is not None and left < SPARE_MINUTES:
            return False
        seen = config.faces if isinstance(run, Pretrain) and config.faces else self.parts["train"]
        run = replace(
            run,
            data=seen,
            out=out,
            start=None if run.start is None else folder / run.start,
            seed=run.seed + seed,
            minutes=left,
            resume=(out / checkpoint.LAST).exists(),
            hardware=replace(run.hardware, resident=config.resident or run.hardware.resident, compile=config.compile),
        )
        if isinstance(run, Train) and self.recipe.calibrated:
            run = replace(run, validation=self.parts[self.test])
        if isinstance(run, Train) and run.teacher:
            known = {path.resolve() for path in self.parts["train"]}
            others = tuple(path for path in config.faces if path.resolve() not in known)
            asked = all(path.suffix != ".safetensors" for path in run.teacher)
            run = replace(
                run,
                teacher=tuple(folder / path for path in run.teacher),
                unlabelled=others,
                mesh_points=config.points if others and asked else None,
            )
        files = run.data + (run.unlabelled if isinstance(run, Train) else ())
        run = replace(run, window=tuple(word for word in run.window if word.partition("=")[0] in stems_of(files)))
        plain = type(run)(data=(), out=Path(), model=architecture(self.preset))
        verb = type(run).__name__.lower()
        settings = ", ".join(f"{name} {value}" for name, value in _changed(run, plain))
        say(f"{verb} {self.preset}: {settings}")
        if config.print_only:
            return True
        if isinstance(run, Pretrain):
            pretrain(run)
        else:
            train(run)
        return _is_done(out)

    def measure(self, row: Measurement, folder: Path) -> dict[str, Any]:
        """Return what `pfvit evaluate` reports of a row's run, exported as the row says."""
        chosen = f"-adjustment-{row.logit_adjustment:g}-gain-{row.change_gain:g}"
        name = row.run + ("" if (row.logit_adjustment, row.change_gain) == (0, 1) else chosen)
        weights, report = folder / f"{name}.onnx", folder / f"{name}-{row.protocol}.json"
        held_out = self.parts[self.test]
        if report.exists() and weights.exists():
            return json.loads(report.read_text())
        if weights not in self.exported:  # also if files are there: an export that was stopped leaves some of them
            self.exported.add(weights)
            words = [folder / row.run, "--out", weights, "--license", self.recipe.license]
            words += ["--logit-adjustment", row.logit_adjustment, "--change-gain", row.change_gain]
            words += ["--mild-smiles", row.mild_smiles] if row.mild_smiles else []
            words += ["--compact"] if row.compact else []
            self.call("export", *words, *(["--calibrate", held_out[0]] if self.recipe.calibrated else []))
        words = ["--data", *held_out, "--weights", weights, "--protocol", row.protocol, "--json"]
        if row.trained == "classifier":
            words.append("--no-faces")
        elif row.trained == "generator":
            words += ["--figures", folder / f"{name}-figures"]
            words += [] if self.config.judge is None else ["--judge", self.config.judge]
        said = self.call("evaluate", *words)
        if self.config.print_only:
            return {}
        write_whole(report, said)
        return json.loads(said)

    def call(self, *words: object) -> str:
        """Run a verb in a process of its own and return what it printed; its failure is ours."""
        command = [str(word) for word in words]
        say(f"$ pfvit {shlex.join(command)}")
        if self.config.print_only:
            return ""
        done = subprocess.run([sys.executable, "-m", "pfvit", *command], stdout=subprocess.PIPE)
        if done.returncode:
            raise InputError(f"pfvit {words[0]} did not succeed; the same command goes on from here")
        return done.stdout.decode()

    def notes(self) -> list[str]:
        """Return what has to be known to read the table."""
        notes = [f"{self.test} part of {self.recipe.data_set}"]
        if self.config.scale != "full":
            notes.append(f"{SCALES[self.config.scale]:g} of the epochs: no comparison")
        if self.recipe.published and not self.config.faces:
            notes.append("pre-trained on the training part alone, not on AffectNet")
        return notes + ([] if self.as_published else ["the counts of faces are not as published"])


def before(run: Pretrain | Train) -> Iterator[Path]:
    """Yield what a run starts from and learns from, by the names within its recipe."""
    if run.start is not None:
        yield run.start
    if isinstance(run, Train):
        yield from run.teacher


def stems_of(paths: Iterable[Path]) -> set[str]:
    """Return the names, without their endings, of Parquet files, or of those in folders."""
    return {file.stem for path in paths for file in (path.glob("*.parquet") if path.is_dir() else [path])}


def parts_of(folder: Path, data_set: str) -> tuple[dict[str, tuple[Path, ...]], bool]:
    """Return the Parquet files of each part of a data set, and whether its counts are as published.

    They are those of the folder's manifest, checked; or, without one, NAME_train.parquet, NAME_val.parquet, ...
    """
    if not (folder / manifest.NAME).exists():
        found = {part: folder / f"{data_set}_{part}.parquet" for part in ("train", "val", "test")}
        if not any(path.is_file() for path in found.values()):
            raise InputError(
                f"{folder} holds neither {manifest.NAME} nor {found['train'].name}: pfvit prepare {data_set} ... makes "
                "the first"
            )
        return {part: (path,) for part, path in found.items() if path.is_file()}, True
    prepared = manifest.load(folder)
    if prepared["name"] != data_set:
        raise InputError(f"{folder} holds {prepared['name']}, not {data_set}: pfvit prepare {data_set} ...")
    manifest.verify(folder, prepared)
    parts = {part: tuple(manifest.shards(folder, part)) for part in prepared["splits"]}
    return parts, not prepared["differs"]


def _is_done(run: Path) -> bool:
    """Say whether a run has come to its end."""
    if not (run / checkpoint.LAST).exists():
        return False
    record = checkpoint.record_of(run)
    return record["step"] == record["steps"]


def _changed(config: Any, plain: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of the settings that differ from `plain`."""
    for field in fields(config):
        old, new = getattr(plain, field.name), getattr(config, field.name)
        if is_dataclass(new):
            yield from _changed(new, old, f"{prefix}{field.name}.")
        elif old != new:
            yield f"{prefix}{field.name}", [*map(str, new)] if isinstance(new, tuple) else new

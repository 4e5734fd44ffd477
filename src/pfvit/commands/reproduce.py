"""`pfvit reproduce`: the paper's recipe for one of its test sets, from prepared files to its row beside ours."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from pfvit.commands.output_files import make_folder, wide_console
from pfvit.config import Pretrain, Reproduce, Train
from pfvit.config.presets import architecture
from pfvit.config.recipes import RECIPES, Recipe, flags, stages
from pfvit.datasets import manifest
from pfvit.errors import InputError
from pfvit.training import checkpoint

SPARE_MINUTES = 0.5  # with less left, no stage is begun


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit reproduce` and return its exit status."""
    config = tyro.cli(Reproduce, prog="pfvit reproduce", args=arguments)
    if config.name not in RECIPES:
        raise InputError(f"there is no recipe for {config.name!r}; choose from {', '.join(RECIPES)}", status=2)
    if config.shorten <= 0:
        raise InputError(f"--shorten is a share of the epochs above 0, not {config.shorten}", status=2)
    table = Work(config, RECIPES[config.name]).run()
    if table is not None:
        wide_console().print(table)
    return 0


class Work:
    """One data set's runs in a folder: stages that are done are not done again."""

    def __init__(self, config: Reproduce, recipe: Recipe):
        self.config, self.recipe = config, recipe
        self.end = None if config.minutes is None else time.monotonic() + 60 * config.minutes
        self.console = Console(stderr=True)
        told = manifest.load(config.data)
        if told["name"] != config.name:
            raise InputError(f"{config.data} holds {told['name']}, not {config.name}: pfvit prepare {config.name} ...")
        manifest.verify(config.data, told)
        self.test = next((split for split in ("test", "val") if split in told["splits"]), None)
        if self.test is None or "train" not in told["splits"]:
            raise InputError(f"{config.data} lacks a training or a test part; it has {', '.join(told['splits'])}")
        self.differs = told["differs"]

    def run(self) -> Table | None:
        """Do what is still to do; return the table, or None if there was no time for all (or nothing was to be run)."""
        config = self.config
        self.check_folder()
        pretrain, baseline, game = stages(self.recipe, config.preset, config.shorten)
        train = manifest.shards(config.data, "train")
        if not self.stage("pretrain", pretrain, config.faces or tuple(train)):
            return None
        reports: dict[str, dict[str, Any]] = {}
        for name, settings in (("baseline", baseline), ("game", game)):
            if not self.stage(name, settings, tuple(train), "--start", str(config.out / "pretrain")):
                return None
            weights = config.out / f"{name}.onnx"
            if not weights.exists():
                self.call("export", str(config.out / name), "--out", str(weights))
            for protocol in ("official", "clean"):
                reports[f"{name}, {protocol}"] = self.measure(name, weights, protocol)
        if config.print_only:
            return None
        (config.out / "table.json").write_text(json.dumps(reports, indent=1) + "\n")
        return self.table(reports)

    def check_folder(self) -> None:
        """Note what the folder's runs are of; InputError if it holds those of something else."""
        config = self.config
        what = {
            "name": config.name, "preset": config.preset, "shorten": config.shorten,
            "data": str(config.data.resolve()), "faces": [str(path.resolve()) for path in config.faces],
        }  # fmt: skip
        file = config.out / "reproduce.json"
        if file.exists():
            old = json.loads(file.read_text())
            if differ := [f"{key} {old.get(key)} -> {value}" for key, value in what.items() if old.get(key) != value]:
                raise InputError(
                    f"{config.out} holds runs of other settings ({', '.join(differ)}); choose another --out"
                )
        elif not config.print_only:
            make_folder(config.out)
            file.write_text(json.dumps(what, indent=1) + "\n")

    def stage(self, name: str, settings: Pretrain | Train, data: Sequence[Path], *more: str) -> bool:
        """Begin a training run or go on with it; true when it is done."""
        config, run = self.config, self.config.out / name
        begun = (run / checkpoint.LAST).exists()
        if begun and _is_done(run):
            return True
        left = None if self.end is None else (self.end - time.monotonic()) / 60
        if left is not None and left < SPARE_MINUTES:
            return self._later()
        verb = "pretrain" if isinstance(settings, Pretrain) else "train"
        plain = type(settings)(data=(), out=Path(), model=architecture(config.preset))
        words = [verb, config.preset, "--data", *map(str, data), "--out", str(run), *flags(settings, plain), *more]
        words += ["--hardware.resident"] if config.resident else []
        words += ["--hardware.compile"] if config.compile else []
        words += ["--resume"] if begun else []
        words += [] if left is None else ["--minutes", f"{left:.1f}"]
        self.call(*words)
        return config.print_only or _is_done(run) or self._later()

    def measure(self, name: str, weights: Path, protocol: str) -> dict[str, Any]:
        """Return the figures of `pfvit evaluate` on the test part."""
        file = self.config.out / f"{name}-{protocol}.json"
        if not file.exists():
            data = map(str, manifest.shards(self.config.data, self.test or "test"))
            said = self.call("evaluate", "--data", *data, "--weights", str(weights), "--no-faces", "--json",
                             "--protocol", protocol)  # fmt: skip
            if self.config.print_only:
                return {}
            file.write_text(said)
        return json.loads(file.read_text())

    def call(self, *words: str) -> str:
        """Run a verb in a process of its own and return what it printed; its failure is ours."""
        self.console.print(f"$ pfvit {shlex.join(words)}", markup=False, highlight=False, soft_wrap=True)
        if self.config.print_only:
            return ""
        done = subprocess.run([sys.executable, "-m", "pfvit", *words], stdout=subprocess.PIPE)
        if done.returncode:
            raise InputError(f"pfvit {words[0]} did not succeed; the same command goes on from here")
        return done.stdout.decode()

    def table(self, reports: dict[str, dict[str, Any]]) -> Table:
        """Return the paper's rows for this test set, and ours."""
        config = self.config
        title = f"{self.recipe.title}, {self.test} part, accuracy in percent"
        table = Table(box=None, header_style="bold", title=title, title_justify="left")
        for heading in ("", "accuracy", "95% interval", "mean recall", "faces"):
            table.add_column(heading, justify="right" if heading else "left")
        for row in self.recipe.paper:
            if row.preset == config.preset or not config.preset.startswith("paper-"):
                table.add_row(f"authors: {row.what}", f"{row.accuracy:.2f}", "", "", "")
        table.add_row("authors: PF-ViT", "not known to us", "", "", "")
        for name, report in reports.items():
            low, high = report["war_ci"]
            accuracy, recall = (f"{100 * report[key]:.2f}" for key in ("war", "uar"))
            interval = f"{100 * low:.1f} to {100 * high:.1f}"
            table.add_row(f"ours: {config.preset}, {name}", accuracy, interval, recall, f"{report['n']:,}")
        notes = [] if config.shorten == 1 else [f"{config.shorten:g} of the paper's epochs: no comparison"]
        notes += ["the data are not as published, see manifest.json"] if self.differs else []
        notes += [] if self.test == "test" else ["there is no test part: this is the validation part"]
        notes += [] if config.faces else ["pre-trained on the training part alone, not on AffectNet"]
        table.caption, table.caption_justify = "; ".join(notes), "left"
        return table

    def _later(self) -> bool:
        self.console.print("out of time: the same command goes on", highlight=False)
        return False


def _is_done(run: Path) -> bool:
    """Say whether a run has come to its end."""
    if not (run / checkpoint.LAST).exists():
        return False
    _, record = checkpoint.load(run)
    return record["step"] == record["steps"]

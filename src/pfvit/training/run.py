"""A run folder: its record, logs, checkpoints and clock."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Generic, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.config.photo import TrainPhoto
from pfvit.data.dataset import FaceDataset
from pfvit.errors import InputError
from pfvit.evaluation import curves
from pfvit.rendering import save_whole
from pfvit.training import checkpoint, resume, signals
from pfvit.training.checkpoint import BEST, HISTORY
from pfvit.training.selection import Selection
from pfvit.training.signals import Requests
from pfvit.utils import console
from pfvit.utils.files import also_as, cannot_write, check_writable, hold, is_file, let_go, remove, write_whole
from pfvit.utils.text import parsed

LOCK = ".lock"

#: What a run writes into its folder.
CURVES = "curves.png"
OWN = {checkpoint.LAST, BEST, HISTORY, CURVES, "metrics.jsonl", "board", "sheets", "teachers.safetensors", LOCK}
QUIET_SECONDS = 60  # between lines where there is no progress bar
Settings = TypeVar("Settings", Pretrain, Train, TrainPhoto)


class Run(Generic[Settings]):
    """A run folder with its record, logs and clock; the only thing that a stage writes to.

    `steps` is the length of the whole training, set before it begins.
    """

    def __init__(self, fabric: Fabric, config: Settings, stage: str, faces: FaceDataset | None = None):
        self.fabric, self.config, self.stage = fabric, config, stage
        self.steps, self.saved_step, self.improved = 0, -1, False
        chooses = isinstance(config, Train)
        self.selection = Selection(config.best, config.patience) if chooses else Selection()
        self.folder = Path(config.out)
        self.began = self.saved = self.told = time.monotonic()
        self.requests, self.spoke = Requests(), False
        settings = asdict(config)
        if isinstance(config, Pretrain | Train):
            settings["warmup"] = config.warmup_epochs
            settings["hardware"]["precision"] = "bf16" if fabric._precision.precision == "bf16-mixed" else "32"
        record = {"stage": stage, "config": settings, resume.STARTED_IN: Path.cwd()}
        self.record = json.loads(json.dumps(record, default=str))
        if faces is not None:
            self.record |= {"content": faces.index.content()} | ({"classes": faces.classes} if faces.classes else {})
        self.log_file = self.folder / "metrics.jsonl"
        if fabric.is_global_zero:
            self._hold()
        fabric.barrier()
        self.board = TensorBoardLogger(self.folder / "board", name="", version="")

    def _hold(self) -> None:
        """Make the folder, keep other processes off it, and clear what a start that was not finished left in it."""
        check_folder(self.config)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            hold(self.folder, LOCK)
        except OSError as problem:
            raise cannot_write(self.folder, problem) from problem
        there = check_folder(self.config)
        if checkpoint.LAST in there:
            return
        if there - {LOCK}:
            self.say(f"{self.folder} holds a start that got no checkpoint: the run begins anew")
        for name in ("metrics.jsonl", BEST, CURVES):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("board", "sheets", HISTORY):
            rmtree(self.folder / name, ignore_errors=True)

    def resume(self, restore: Callable[[Mapping[str, Tensor], Path], None]) -> int:
        """Return the steps that are done. In a run to resume `restore` gets the checkpoint's tensors.

        InputError if the settings or the data are not those of the run.
        """
        if not self.config.resume:
            return 0
        tensors, record = checkpoint.load(self.folder)
        if record["stage"] != self.stage:
            raise InputError(f"{self.folder} is a run of stage {record['stage']!r}, not {self.stage!r}")
        for change in resume.changes(record, self.record, self.config, self.folder):
            self.say(f"goes on with another setting: {change}")
        restore(tensors, self.folder)
        step = record["step"]
        self.selection.restore(record.get("best"))
        if self.fabric.is_global_zero:
            if self.log_file.exists():
                keep_lines(self.log_file, step)
            self._keep(step)
        return step

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values averaged over all processes; every process must call this."""
        if self.fabric.world_size == 1:
            return dict(values)
        together = torch.tensor(list(values.values()), dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(together)
        return dict(zip(values, (together / self.fabric.world_size).tolist(), strict=True))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl and to TensorBoard."""
        if not self.fabric.is_global_zero:
            return
        with self.log_file.open("a") as file:
            file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        self.board.log_metrics(dict(values), step)

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write the checkpoint of `step` steps done."""
        if self.fabric.is_global_zero:
            record = {**self.record, "steps": self.steps, "step": step}
            if self.selection.figure:
                record["best"] = self.selection.record()
            checkpoint.save(self.folder / checkpoint.LAST, tensors, record)
            self._keep(step)
            self.board.save()
        self.saved, self.saved_step, self.improved = time.monotonic(), step, False

    def _keep(self, step: int) -> None:
        """Keep the checkpoint of `step` steps as the best one, if it is, and among the last ones."""
        last = self.folder / checkpoint.LAST
        if step and step == self.selection.step:
            also_as(last, self.folder / BEST)
        count = self.config.keep if isinstance(self.config, Train) else 0
        if not count:
            return
        (self.folder / HISTORY).mkdir(exist_ok=True)
        also_as(last, self.folder / HISTORY / f"{step:07d}.safetensors")
        there = sorted((self.folder / HISTORY).glob("[0-9]*.safetensors"))
        kept = [path for path in there if int(path.stem) <= step][-count:]
        for path in {*there} - {*kept}:  # of steps that are gone through again, or too old
            remove(path)

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a validation, say them, and see whether they are the best so far."""
        if figures:
            self.log(step, figures)
            self.say(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
            self.improved = self.selection.note(step, figures)

    def draw_curves(self) -> None:
        """Draw the log's losses and figures."""
        if self.fabric.is_global_zero and self.log_file.exists():
            save_whole(curves.learning_curves(lines_of(self.log_file)), self.folder / CURVES)

    def ending(self, step: int) -> str:
        """Return what to say at the end of a run or of a part of it."""
        chosen = self.selection
        said = f"{step} of {self.steps} steps done"
        if chosen.exhausted:
            said += f": {chosen.figure} has not improved in {chosen.since} validations"
        said += f"; checkpoint in {self.folder}"
        if chosen.figure and chosen.value is not None:
            said += f", the best ({chosen.figure} {chosen.value:.4f}, step {chosen.step}) in {self.folder / BEST}"
        goes_on = step < self.steps and not chosen.exhausted
        return said + (f"; go on with: pfvit {self.stage} --resume {self.folder}" if goes_on else "")

    def decide(self) -> tuple[bool, bool]:
        """Return whether the run is to end now, and whether it is time for a checkpoint; every process must call this.

        The first process has the clock; a request to end (`heeding`) counts whichever process was asked.
        """
        now, minutes = time.monotonic(), self.config.minutes
        first = self.fabric.is_global_zero
        out_of_time = first and minutes is not None and now - self.began > 60 * minutes
        ends = bool(self.requests.number) or self.selection.exhausted or out_of_time
        saves = self.improved or (first and now - self.saved > 60 * self.config.checkpoint_minutes)
        if self.fabric.world_size > 1:
            anywhere = torch.tensor([float(ends), float(saves)], device=self.fabric.device)
            torch.distributed.all_reduce(anywhere, torch.distributed.ReduceOp.MAX)
            ends, saves = map(bool, anywhere.tolist())
        return ends, saves

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """Note requests to end while the block runs (`decide`), and end as asked after it; the folder is free again.

        KeyboardInterrupt after Ctrl-C, SystemExit with 128 and the signal's number after another one.
        """
        try:
            with signals.noted() as self.requests:
                yield
        finally:
            let_go(self.folder)
        if self.requests.number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requests.number:
            raise SystemExit(128 + self.requests.number)

    def say_progress(self, step: int, loss: float, lr: float, rate: float) -> None:
        """Write a line on the loss, the rate and the time left, once a minute, where no progress bar is shown."""
        now = time.monotonic()
        if console.stderr().is_terminal or (now - self.told < QUIET_SECONDS and step < self.steps and self.spoke):
            return
        self.told, self.spoke = now, True
        left = (self.steps - step) * self.config.batch / max(rate, 1e-9)
        self.say(f"step {step} of {self.steps}: loss {loss:.4f}, lr {lr:.3g}, {rate:.0f} faces/s, {span(left)} left")

    @contextmanager
    def progress(self, step: int) -> Iterator[Callable[[int, str], None]]:
        """Show a progress bar on standard error; give a function that takes the steps done and a remark."""
        columns = MofNCompleteColumn(), TextColumn("{task.fields[remark]}"), TimeElapsedColumn(), TextColumn("left")
        with console.progress_bar(*columns, hidden=not self.fabric.is_global_zero) as bar:
            task = bar.add_task(self.stage, total=self.steps, completed=step, remark="")
            yield lambda done, remark: bar.update(task, completed=done, remark=remark)

    def say(self, text: str) -> None:
        """Tell the person at the terminal, once for all processes."""
        if self.fabric.is_global_zero:
            console.say(text)


def check_folder(config: Pretrain | Train | TrainPhoto) -> set[str]:
    """Return the names in a run's folder.

    InputError if the run cannot go on or begin there, OutputError if nothing can be written.
    """
    folder = Path(config.out)
    if is_file(folder):
        raise InputError(f"{folder} is a file: choose another --out")
    check_writable(folder)
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if checkpoint.LAST in there:
        if not config.resume:
            raise InputError(f"{folder} exists and is not empty; --resume continues it, or choose another --out")
        return there
    if config.resume:
        raise InputError(f"{folder} holds no checkpoint to resume; start without --resume")
    if foreign := sorted(name for name in there - OWN if not name.startswith(".")):
        raise InputError(f"{folder} exists and holds other files, {foreign[0]} among them: choose another --out")
    return there


def say_once(fabric: Fabric) -> Callable[[str], None]:
    """Return what tells the person at the terminal, once for all processes."""
    return console.say if fabric.is_global_zero else lambda _: None


def keep_lines(log: Path, step: int) -> None:
    """Leave the lines of the first `step` steps in a log; a line that a kill or a full disk cut short goes too."""
    kept = [line for line in lines_of(log) if line["step"] <= step]
    write_whole(log, "".join(json.dumps(line) + "\n" for line in kept))


def lines_of(log: Path) -> list[dict[str, float]]:
    """Return the whole lines of a log."""
    found = []
    for text in log.read_text(errors="replace").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            line = parsed(text)
            if line["step"] >= 0:
                found.append(line)
    return found


def span(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"

"""A run folder: its record, logs, checkpoints and clock."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.config.photo import TrainPhoto
from pfvit.errors import InputError
from pfvit.training import checkpoint, distributed
from pfvit.utils import console

#: Settings that may differ between a run and its continuation, because the weights do not depend on them.
FREE_ON_RESUME = {"out", "resume", "minutes", "checkpoint_minutes", "evaluate_every", "sheet_every", "log_every"} | {
    f"hardware.{name}" for name in ("workers", "resident", "devices", "threads", "shard", "accumulate", "recompute")
}


Settings = TypeVar("Settings", Pretrain, Train, TrainPhoto)


class Run(Generic[Settings]):
    """A run folder with its record, logs and clock; the only thing that a stage writes to.

    `steps` is the length of the whole training, set before it begins.
    """

    def __init__(self, fabric: Fabric, config: Settings, stage: str):
        self.fabric, self.config, self.stage = fabric, config, stage
        self.steps = 0
        self.folder = Path(config.out)
        self.began = self.saved = time.monotonic()
        settings = asdict(config)
        if isinstance(config, Pretrain | Train):
            settings["warmup"] = config.warmup_epochs
        self.record = json.loads(json.dumps({"stage": stage, "config": settings}, default=str))
        if config.resume:
            if not (self.folder / checkpoint.LAST).is_file():
                raise InputError(f"{self.folder} holds no checkpoint to resume; start without --resume")
        elif distributed.restarted():  # before the first checkpoint: start over
            (self.folder / "metrics.jsonl").unlink(missing_ok=True)
        elif self.folder.exists() and any(self.folder.iterdir()) and fabric.is_global_zero:
            raise InputError(f"{self.folder} exists and is not empty; --resume continues it, or choose another --out")
        fabric.barrier()
        if fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.board = TensorBoardLogger(self.folder / "board", name="", version="")
        self.log_file = self.folder / "metrics.jsonl"

    def resume(self, restore: Callable[[Mapping[str, Tensor], Path], None]) -> int:
        """Return the steps that are done. In a run to resume `restore` gets the checkpoint's tensors.

        InputError if the settings are not those of the run.
        """
        if not self.config.resume:
            return 0
        tensors, record = checkpoint.load(self.folder)
        if record["stage"] != self.stage:
            raise InputError(f"{self.folder} is a run of stage {record['stage']!r}, not {self.stage!r}")
        old, new = dict(_flat(record["config"])), dict(_flat(self.record["config"]))
        old = _defaults(self.config) | old  # a setting that an earlier version did not have
        differ = [name for name in new if name not in FREE_ON_RESUME and old.get(name) != new[name]]
        if differ:
            different = ", ".join(f"{name} {old.get(name)!r} -> {new[name]!r}" for name in differ)
            raise InputError(f"the run in {self.folder} was started with other settings: {different}")
        restore(tensors, self.folder)
        step = record["step"]
        if self.fabric.is_global_zero and self.log_file.exists():
            lines = self.log_file.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.log_file.write_text("".join(line + "\n" for line in kept))
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
            checkpoint.save(self.folder / checkpoint.LAST, tensors, record)
            self.board.save()
        self.saved = time.monotonic()

    def time_to_save(self) -> bool:
        """Return whether the last checkpoint is old enough for a new one, as the first process decides."""
        return self._agreed(time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes)

    def time_is_up(self) -> bool:
        """Return whether the time budget is spent, as the first process decides."""
        if self.config.minutes is None:
            return False
        return self._agreed(time.monotonic() - self.began > 60 * self.config.minutes)

    def _agreed(self, here: bool) -> bool:
        if self.fabric.world_size == 1:
            return here
        first = torch.tensor(float(here), device=self.fabric.device)
        torch.distributed.broadcast(first, 0)
        return bool(first)

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


def _defaults(config: Any) -> dict[str, object]:
    """Return the plain values of settings that have one, flat, as a record holds them."""
    plain = {}
    for field in fields(config):
        if field.default is not MISSING:
            plain[field.name] = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
            plain[field.name] = asdict(value) if is_dataclass(value) else value
    return dict(_flat(json.loads(json.dumps(plain, default=str))))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

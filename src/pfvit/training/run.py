"""A run folder: its record, logs, checkpoints and clock."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import TensorBoardLogger
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.config.photo import TrainPhoto
from pfvit.errors import InputError
from pfvit.training import checkpoint, distributed

#: Settings that may differ between a run and its continuation, because the weights do not depend on them.
FREE_ON_RESUME = {
    "out",
    "resume",
    "minutes",
    "workers",
    "resident",
    "checkpoint_minutes",
    "evaluate_every",
    "devices",
    "threads",
    "log_every",
    "shard",
    "accumulate",
    "recompute",
}


class Run:
    """A run folder with its record, logs and clock; the only thing that a stage writes to."""

    def __init__(self, fabric: Fabric, config: Pretrain | Train | TrainPhoto, stage: str):
        self.fabric, self.config, self.stage = fabric, config, stage
        self.folder = Path(config.out)
        self.began = self.saved = time.monotonic()
        self.console = Console(stderr=True)
        self.record = json.loads(json.dumps({"stage": stage, "config": asdict(config)}, default=str))
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

    def resume(self) -> tuple[dict[str, Tensor], int]:
        """Return the checkpoint's tensors and step, after checking that the settings are those of the run."""
        tensors, record = checkpoint.load(self.folder)
        if record["stage"] != self.stage:
            raise InputError(f"{self.folder} is a run of stage {record['stage']!r}, not {self.stage!r}")
        old, new = _flat(record["config"]), _flat(self.record["config"])
        differ = [k for k in new if k.split(".")[-1] not in FREE_ON_RESUME and old.get(k) != new[k]]
        if differ:
            told = ", ".join(f"{k} {old.get(k)!r} -> {new[k]!r}" for k in differ)
            raise InputError(f"the run in {self.folder} was started with other settings: {told}")
        step = record["step"]
        if self.fabric.is_global_zero and self.log_file.exists():
            lines = self.log_file.read_text().splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.log_file.write_text("".join(line + "\n" for line in kept))
        return tensors, step

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
            checkpoint.save(self.folder / checkpoint.LAST, tensors, {**self.record, "step": step})
        self.saved = time.monotonic()

    def time_to_save(self) -> bool:
        """Say whether the last checkpoint is old enough for a new one; all ranks get the same answer."""
        return self._agreed(time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes)

    def time_is_up(self) -> bool:
        """Say whether the time budget is spent; all ranks get the same answer."""
        if self.config.minutes is None:
            return False
        return self._agreed(time.monotonic() - self.began > 60 * self.config.minutes)

    def _agreed(self, here: bool) -> bool:
        if self.fabric.world_size == 1:
            return here
        told = torch.tensor(float(here), device=self.fabric.device)
        torch.distributed.broadcast(told, 0)
        return bool(told)

    def progress(self) -> Progress:
        """Return a progress bar on standard error with rate and time left."""
        return Progress(
            TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=self.console, disable=not (self.fabric.is_global_zero and self.console.is_terminal),
        )  # fmt: skip

    def say(self, text: str) -> None:
        """Tell the person at the terminal."""
        if self.fabric.is_global_zero:
            self.console.print(text, highlight=False)


def _flat(config: Mapping, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def settings(kind: type, values: Mapping) -> dict:
    """Keep the entries of a record that `kind` still has as fields."""
    return {f.name: values[f.name] for f in fields(kind) if f.name in values}

"""What both training stages share: set-up, schedule, logs, checkpoints, the clock, and the stop on a bad loss."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

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
from torch import Tensor, nn

from pfvit import checkpoint, scale
from pfvit.config import Hardware, Pretrain, Train
from pfvit.data.shards import Batch, Faces, Stream, loader
from pfvit.errors import InputError
from pfvit.muon import Muon

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
MAKER_BETAS = (0.9, 0.95)  # MAE
HEADS = ("head.weight", "pred.weight")  # the last layers, whose rows stand for classes and pixels: AdamW's (Jordan)
REFERENCE_BATCH = 256  # learning rates are given per 256 images (Goyal et al., 2017; MAE)


def make_fabric(hardware: Hardware) -> Fabric:
    """Set up Fabric for a processor, one GPU or several; bf16 where the hardware multiplies it fast."""
    if hardware.resident and hardware.workers:
        raise InputError("--hardware.resident needs --hardware.workers 0: the faces are decoded already", status=2)
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    scale.keep_memory()
    precision = hardware.precision
    if precision == "auto":
        fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if fast or torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32"
    here, nodes = scale.world(hardware)
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=here,
        num_nodes=nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        strategy=scale.strategy(hardware),
    )
    scale.rejoin()
    fabric.launch()
    scale.leave_at_exit()
    return fabric


def pieces(batch: Batch, count: int) -> list[Batch]:
    """Part a process's batch as it would be parted over `count` processes."""
    return [
        Batch(batch.image[i::count], batch.target[i::count], batch.name[i::count], batch.place[i::count])
        for i in range(count)
    ]


def check_share(batch: int, world: int, accumulate: int, what: str) -> None:
    """Raise InputError if a step's faces cannot be shared evenly, with the nearest number that can."""
    share = world * accumulate
    if accumulate < 1 or batch % share:
        nearest = max(share, round(batch / share) * share) if share > 0 else batch
        raise InputError(
            f"{what} {batch} cannot be shared evenly by {world} processes in {accumulate} pieces each; "
            f"take {what} {nearest}, or another number of processes",
            status=2,
        )


def feed(fabric: Fabric, config: Pretrain | Train, faces: Faces, step: int) -> Iterator[Batch]:
    """Return this process's batches from `step` on."""
    sizes, hardware = config.model, config.hardware
    if hardware.resident:
        faces.keep(sizes.image_size, sizes.channels, fabric.device)
    stream = Stream(
        faces,
        config.batch,
        sizes.image_size,
        sizes.channels,
        config.seed,
        step,
        fabric.global_rank,
        fabric.world_size,
    )
    pin = fabric.device.type == "cuda" and not hardware.resident
    return iter(loader(stream, hardware.workers, pin))


def cosine(step: int, total: int, warmup: int) -> float:
    """Return the share of the peak learning rate: linear warm-up from 0, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set every group to `rate` times its own `scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def groups(
    named: Sequence[tuple[str, nn.Parameter]], weight_decay: float, scale: Any = lambda _: 1.0, part: bool = False
) -> list[dict]:
    """Sort parameters into optimizer groups by learning-rate scale and decay; vectors are not decayed (MAE).

    With `part`, matrices other than a head's have groups of their own, with `matrices` true.
    """
    sorted_: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        vector = parameter.ndim <= 1 or name.endswith(("token", "no_emotion", "pos_embed"))
        matrix = part and not vector and not name.endswith(HEADS)
        sorted_.setdefault((scale(name), 0.0 if vector else weight_decay, matrix), []).append(parameter)
    return [{"params": p, "scale": s, "weight_decay": d, "matrices": m} for (s, d, m), p in sorted_.items()]


def optimizer_for(
    fabric: Fabric, config: Pretrain | Train, named: Sequence[tuple[str, nn.Parameter]], scale: Any = lambda _: 1.0
) -> torch.optim.AdamW:
    """Make the optimizer that the settings ask for: AdamW, or Muon for matrices and AdamW for the rest."""
    fused = fabric.device.type == "cuda"  # one kernel for all weights
    muon = config.optimizer == "muon"
    sorted_ = groups(named, config.weight_decay, scale, part=muon)
    if not muon:
        return torch.optim.AdamW(sorted_, betas=MAKER_BETAS, fused=fused)
    dtype = torch.bfloat16 if fabric._precision.precision == "bf16-mixed" else torch.float32
    return Muon(sorted_, MAKER_BETAS, dtype, fused)


def layer_scale(name: str, depth: int, decay: float) -> float:
    """Return the learning-rate scale of an encoder parameter: `decay` per layer below the top (BEiT, MAE)."""
    if not name.startswith("encoder."):
        return 1.0
    layer = int(name.split(".")[2]) + 1 if name.startswith("encoder.blocks.") else 0
    return 1.0 if name.startswith("encoder.norm.") else decay ** (depth + 1 - layer)


def stop_if_not_finite(terms: Mapping[str, Tensor], step: int, names: Sequence[str]) -> None:
    """Raise InputError with step, loss terms and row names if any term is infinite or not a number."""
    values = {name: float(term.detach()) for name, term in terms.items()}
    if all(math.isfinite(value) for value in values.values()):
        return
    listed = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    raise InputError(
        f"the loss is not finite at step {step} ({listed}). The last checkpoint is whole: lower the learning rate or "
        f"look at these rows, then --resume. Rows: {', '.join(names)}"
    )


class Run:
    """A run folder with its record, logs and clock; the only thing that a stage writes to."""

    def __init__(self, fabric: Fabric, config: Pretrain | Train, stage: str):
        self.fabric, self.config, self.stage = fabric, config, stage
        self.folder = Path(config.out)
        self.began = self.saved = time.monotonic()
        self.console = Console(stderr=True)
        self.record = json.loads(json.dumps({"stage": stage, "config": asdict(config)}, default=str))
        if config.resume:
            if not (self.folder / checkpoint.LAST).is_file():
                raise InputError(f"{self.folder} holds no checkpoint to resume; start without --resume")
        elif scale.restarted():  # before the first checkpoint: start over
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

"""The training loop, the same for both stages: phases of a step, logs, validation, checkpoints, time.

A stage (`pretrainer.PretrainStage`, `trainer.TrainStage`) says what is optimised in which phase, and what is saved.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule as FabricModule
from lightning_fabric.wrappers import _FabricOptimizer as FabricOptimizer
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.data.dataset import FaceBatch, FaceDataset, Stream, loader
from pfvit.data.mixture import MixedStream, Mixture
from pfvit.training import distributed
from pfvit.training.finite import LossCheck
from pfvit.training.optim import set_lr
from pfvit.training.run import Run
from pfvit.training.signals import left_to_the_parent
from pfvit.training.throughput import Throughput
from pfvit.utils.console import say
from pfvit.utils.text import counted

#: A run of fewer steps from fresh weights is told so: the weights that ship took 4,370, of larger batches.
FEW_STEPS = 1000
MORE_STEPS = (
    "begin with weights that know faces (pfvit train small-conv --start shipped, in a clone; or --start RUN), or give "
    "more --epochs"
)


@dataclass
class Phase:
    """One optimizer's part of a step: from step `start` on, in every `every`-th step (0: never)."""

    module: FabricModule
    optimizer: FabricOptimizer
    losses: Callable[[Any, int], dict[str, Tensor]]
    """Weighted losses of what the stage's `prepare` gave, by name."""
    lr: Callable[[int], float]
    """Learning rate at a step."""
    every: int = 1
    start: int = 0

    def is_due(self, step: int) -> bool:
        """Whether it takes part in step `step`, counted from 0."""
        return step >= self.start and is_due(self.every, step)


def is_due(every: int, step: int) -> bool:
    """Whether something that comes in every `every`-th step (0: never) comes in step `step`, counted from 0."""
    return every > 0 and (step + 1) % every == 0


class Stage(ABC):
    """What a stage of training gives to the loop."""

    phases: tuple[Phase, ...]

    @abstractmethod
    def prepare(self, batch: FaceBatch, step: int) -> Any:
        """Return the inputs of the phases' losses, made of a process's faces or of a piece of them."""

    def before_step(self, step: int) -> None:  # noqa: B027 (optional)
        """Do what comes at certain steps, before the phases."""

    def after_step(self) -> None:  # noqa: B027 (optional)
        """Do what comes after the phases of every step."""

    @abstractmethod
    def evaluate(self, step: int) -> dict[str, float]:
        """Write a sample sheet after `step` steps and return figures for the log; every process calls this."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return all that the rest of the run depends on, as whole named tensors; every process calls this."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Put back what `state` gave; InputError that names `source` if it does not fit."""


def fit(run: Run[Pretrain] | Run[Train], stage: Stage, faces: FaceDataset | Mixture) -> None:
    """Train a stage on faces to its end or until the time is up; leaves the checkpoint in the run's folder."""
    config, fabric = run.config, run.fabric
    step, steps = run.resume(stage.restore), run.steps
    batches = _batches(run, faces, step)
    weights = distributed.parameter_summary(stage.phases[0].module, fabric.world_size)
    on = f"{fabric.device}, precision {fabric._precision.precision}"
    passed_over, check = PassedOver(), LossCheck(config, fabric.device)
    run.say(f"{len(faces)} faces, {counted(steps, 'step')} of {config.batch}, {on}, {weights}")
    if isinstance(config, Train) and config.start is None and step == 0 and steps < FEW_STEPS:
        few = counted(steps, "step", "is", "are")
        run.say(f"{few} too few for fresh weights to learn much: {MORE_STEPS}")
    with run.heeding():
        with run.progress(step) as progress:
            throughput = Throughput(fabric, config.batch)
            ended = run.selection.exhausted
            while step < steps and not ended:
                batch = throughput.load(batches)
                passed_over.note(batch.passed)
                means = take_step(fabric, config, stage, batch, step, throughput, check)
                step += 1
                if step % config.log_every == 0 or step == steps:
                    check.now()
                    losses = dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))
                    measured, lr = throughput.figures(), stage.phases[0].lr(step - 1)
                    run.log(step, {**run.mean(losses), "lr": lr, **measured})
                    first, rate = next(iter(losses.values())), measured["faces_per_second"]
                    progress(step, f"loss {first:.4f}, {rate:.0f} faces/s")
                    run.say_progress(step, first, lr, rate)
                if step % config.evaluate_every == 0 or step == steps:
                    check.now()
                    run.note(step, stage.evaluate(step))
                    run.draw_curves()
                ended, saves = run.decide()
                if saves:
                    check.now()
                    run.save(step, stage.state())
        if run.saved_step != step:
            check.now()
            run.save(step, stage.state())
        run.draw_curves()
        passed_over.tell()
        run.say(run.ending(step))


class PassedOver:
    """Pictures that could not be decoded during training: the first few are named, the rest counted."""

    def __init__(self, shown: int = 3):
        self.shown, self.problems = shown, set[str]()

    def note(self, problems: Sequence[str]) -> None:
        """Tell of a picture when it is met first."""
        for problem in problems:
            if problem not in self.problems and len(self.problems) < self.shown:
                say(f"passed over: {problem}")
            self.problems.add(problem)

    def tell(self) -> None:
        """Say how many there were, if they were not all named."""
        if len(self.problems) > self.shown:
            say(f"passed over: {len(self.problems):,} pictures in all that cannot be decoded")


def take_step(
    fabric: Fabric,
    config: Pretrain | Train,
    stage: Stage,
    batch: FaceBatch,
    step: int,
    throughput: Throughput,
    check: LossCheck,
) -> dict[str, Tensor]:
    """Take one step of all phases that are due and return the mean of their losses over the batch's pieces.

    Losses are single numbers, float64, and stay on the device: on a GPU nothing in a step waits for it.
    """
    inputs = [(stage.prepare(piece, step), piece.name) for piece in pieces(batch, config.hardware.accumulate)]
    stage.before_step(step)
    means: dict[str, Tensor] = {}
    for phase in stage.phases:
        if not phase.is_due(step):
            continue
        set_lr(phase.optimizer, phase.lr(step))
        for turn, (piece, names) in enumerate(inputs, 1):
            with fabric.no_backward_sync(phase.module, enabled=turn < len(inputs)):
                losses = phase.losses(piece, step)
                check.note(losses, step, names)
                if turn == 1 and phase is stage.phases[0]:
                    throughput.forward_done()
                fabric.backward(torch.stack(list(losses.values())).sum() / len(inputs))
            for name, loss in losses.items():
                share = loss.detach().double() / len(inputs)
                means[name] = means[name] + share if name in means else share
        fabric.clip_gradients(phase.module, phase.optimizer, max_norm=config.max_grad_norm, error_if_nonfinite=False)
        phase.optimizer.step()
        phase.optimizer.zero_grad()
    stage.after_step()
    return means


def pieces(batch: FaceBatch, count: int) -> list[FaceBatch]:
    """Split a process's batch as it would be split over `count` processes."""
    if count == 1:
        return [batch]
    return [batch.pick(range(i, len(batch.name), count)) for i in range(count)]


def _batches(run: Run[Pretrain] | Run[Train], faces: FaceDataset | Mixture, step: int) -> Iterator[FaceBatch]:
    """Return this process's batches from `step` on."""
    config, fabric = run.config, run.fabric
    sizes, hardware = config.model, config.hardware
    if hardware.resident:
        faces.keep(sizes.image_size, sizes.channels, fabric.device)
    rank, world = fabric.global_rank, fabric.world_size
    where = (sizes.image_size, sizes.channels, config.seed, step, rank, world)
    stream = MixedStream(faces, *where) if isinstance(faces, Mixture) else Stream(faces, config.batch, *where)
    pin = fabric.device.type == "cuda" and not hardware.resident
    return iter(loader(stream, hardware.workers, pin, left_to_the_parent))


def steps_of(config: Pretrain | Train, faces: FaceDataset) -> tuple[int, int]:
    """Return the steps of a training and of its warm-up."""
    batch = config.labelled_batch if isinstance(config, Train) else config.batch
    steps = max(1, round(config.epochs * len(faces) / batch))
    return steps, round(config.warmup_epochs * len(faces) / batch)

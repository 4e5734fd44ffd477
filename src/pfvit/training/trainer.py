"""Stage two: recognition, separation and the poker-face game, two optimizers, phases as data (PAPER 2 and 4.3)."""

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule as FabricModule
from lightning_fabric.wrappers import _FabricOptimizer as FabricOptimizer
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from pfvit.config import Train
from pfvit.data import augment
from pfvit.data.dataset import Batch, Faces, everything
from pfvit.data.label_schemes import SCHEMES
from pfvit.errors import InputError
from pfvit.model import PFViT
from pfvit.model.erasure import emotional_axes
from pfvit.training import checkpoint, distributed, losses
from pfvit.training.build import build_pfvit
from pfvit.training.gan import Makers, critic_terms, maker_terms
from pfvit.training.initialise import both_sides
from pfvit.training.loop import check_share, feed, make_fabric, pieces, stop_if_not_finite
from pfvit.training.optim import REFERENCE_BATCH, cosine, groups, layer_scale, optimizer_for, set_rate
from pfvit.training.run import Run
from pfvit.training.throughput import Pace
from pfvit.training.validation import EVALUATION_BATCH, look
from pfvit.training.views import Step, prepare

CRITIC_BETAS = (0.0, 0.99)  # PAPER 4.3
CRITIC_WARMUP = 50  # steps: their heads are fresh
AVERAGE_WARMUP = 10  # the EMA factor starts at 1 / 10 and rises to its value
ERASURE_FACES = 8192  # at most so many training faces tell where the emotion shows


class Phase(NamedTuple):
    """One side's turn: it comes every `every` steps."""

    side: FabricModule
    optimizer: FabricOptimizer
    every: int
    terms: Callable[[Step], dict[str, Tensor]]


class Trainer:
    """The state of a run of stage two: both sides, their optimizers, and the averaged weights."""

    def __init__(
        self, fabric: Fabric, config: Train, steps: int, sample: Batch | None = None,
        say: Callable[[str], None] = lambda _: None,
    ):  # fmt: skip
        self.fabric, self.config, self.steps, self.sample = fabric, config, steps, sample
        self.entrance = round(config.game.start * steps)
        self.erasure = steps + 1 if config.erase_at is None else round(config.erase_at * steps)
        self.model, self.bare_critics = both_sides(config, say)
        self.average = AveragedModel(self.model, multi_avg_fn=self._follow, use_buffers=True)
        makers = Makers(self.model, config.game, config.encoder_stays)
        for module in (makers, self.bare_critics, self.average.module):
            distributed.shard(module, fabric.strategy)
        if config.hardware.recompute:  # not the critics: R1 needs their activations twice
            distributed.recompute(makers)
        layer = lambda name: layer_scale(name.removeprefix("model."), config.model.depth, config.layer_decay)  # noqa: E731
        learning = [(name, weight) for name, weight in makers.named_parameters() if weight.requires_grad]
        maker_optimizer = optimizer_for(fabric, config, learning, layer)
        critic_named = groups(list(self.bare_critics.named_parameters()), config.weight_decay)
        fused = fabric.device.type == "cuda"  # one kernel for all weights
        critic_optimizer = torch.optim.AdamW(critic_named, betas=CRITIC_BETAS, fused=fused)
        if config.hardware.compile:
            makers.compile()
        self.makers, self.maker_optimizer = fabric.setup(makers, maker_optimizer)
        self.critics, self.critic_optimizer = fabric.setup(self.bare_critics, critic_optimizer)
        self.average.to(fabric.device)
        self.phases = (
            Phase(self.makers, self.maker_optimizer, 1, self.maker_phase),
            Phase(self.critics, self.critic_optimizer, config.game.every, self.critic_phase),
        )

    def _follow(self, averaged: PARAM_LIST, current: PARAM_LIST, count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            return  # the stem's count of batches, which nothing reads
        factor = min(self.config.average, (1 + int(count)) / (AVERAGE_WARMUP + int(count)))
        with torch.no_grad():
            torch._foreach_lerp_(distributed.local(list(averaged)), distributed.local(list(current)), 1 - factor)

    @property
    def averaged(self) -> PFViT:
        """The averaged model, which is the one to look at and to export."""
        return cast(PFViT, self.average.module)

    def whole(self) -> PFViT:
        """Return the averaged model to look at, gathered if it is sharded; every process must call this."""
        if not self.config.hardware.shard:
            return self.averaged
        tensors, model = distributed.gathered(self.averaged.state_dict()), build_pfvit(self.config.model)
        model.load_state_dict(tensors)
        return model.to(self.fabric.device)

    def state(self) -> dict[str, Tensor]:
        """Return all that the rest of the run depends on, as named tensors; every process must call this."""
        return distributed.gathered(
            {
                **checkpoint.prefixed("model", self.model.state_dict()),
                **checkpoint.prefixed("critics", self.bare_critics.state_dict()),
                **checkpoint.prefixed("average", self.average.state_dict()),
                **checkpoint.prefixed("maker_optimizer", checkpoint.optimizer_tensors(self.maker_optimizer.optimizer)),
                **checkpoint.prefixed(
                    "critic_optimizer", checkpoint.optimizer_tensors(self.critic_optimizer.optimizer)
                ),
            }
        )

    def restore(self, tensors: dict[str, Tensor], run: Run) -> None:
        """Put back what `state` gave."""
        for name, module in (
            ("model", self.model),
            ("critics", self.bare_critics),
            ("average", self.average),
        ):
            checkpoint.load_into(module, checkpoint.part_of(tensors, name), name, run.folder)
        for name, optimizer in (
            ("maker_optimizer", self.maker_optimizer.optimizer),
            ("critic_optimizer", self.critic_optimizer.optimizer),
        ):
            checkpoint.restore_optimizer(optimizer, checkpoint.part_of(tensors, name))

    def let_critics_in(self) -> None:
        """Start the discriminator as the first blocks of the encoder as it is now, which knows faces and emotions."""
        backbone = self.bare_critics.discriminator.backbone
        known = self.averaged.encoder.state_dict()
        backbone.load_state_dict({name: known[name] for name in backbone.state_dict()})

    @torch.no_grad()
    def erase_emotion(self) -> None:
        """Set the separator's subspace to where the emotion shows in the averaged encoder's tokens."""
        if self.sample is None:
            raise RuntimeError("there are no faces to find the emotion's axes with")
        averaged = self.averaged.eval()
        pairs = (
            (averaged.encoder(augment.to_unit(image.to(self.fabric.device))), target.to(self.fabric.device))
            for image, target in zip(
                self.sample.image.split(EVALUATION_BATCH), self.sample.target.split(EVALUATION_BATCH), strict=True
            )
        )
        axes = emotional_axes(pairs, rank=self.model.separator.basis.shape[1])
        for model in (self.model, averaged):
            model.separator.basis.copy_(checkpoint.as_held(axes, model.separator.basis))

    def due(self, every: int, step: Step) -> bool:
        """Say whether something that comes every `every` steps comes in this one."""
        return every > 0 and (step.number + 1) % every == 0

    def maker_phase(self, step: Step) -> dict[str, Tensor]:
        """Name the emotion; where the game is due, draw both faces and answer to the critics."""
        game = self.config.game
        for part in self.bare_critics.children():
            distributed.learn(part, False)
        if not self.due(game.every, step):
            logits, _ = self.makers(step.view, paths=step.paths)
            return {"classification": self.classification(logits, step.view_target)}
        logits, step.made = self.makers(step.view, step.clean, step.strength, step.paths)
        if game.alone:  # nothing learns from it, it only goes into the log
            step.view_target = step.target
        with self.fabric.autocast():
            terms = maker_terms(game, self.bare_critics, step.made, step.clean, step.target, step.strength, step.ramp)
        return {"classification": self.classification(logits, step.view_target), **terms}

    def classification(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return L_cls, in the form that the kind of labels asks for."""
        return (losses.any_right if self.config.labels == "ml" else losses.classification)(logits, target)

    def critic_phase(self, step: Step) -> dict[str, Tensor]:
        """Judge what the makers drew, and the faces themselves."""
        game, made = self.config.game, step.made
        if made is None:
            raise RuntimeError("the critics' turn comes after the makers have drawn")
        for part in self.bare_critics.children():
            distributed.learn(part, True)
        if game.critic_stem_stays:
            self.bare_critics.discriminator.backbone.patch_embed.requires_grad_(False)
        drawn = torch.cat([made.expressive, made.calm]).detach()
        penalise = game.penalty > 0 and self.due(game.every * game.penalty_every, step)
        verdicts = self.critics(step.clean, drawn, made.residue.detach(), penalise)
        return critic_terms(game, verdicts, step.target, penalise)

    def step(self, batch: Batch, number: int, warmup: int, pace: Pace | None = None) -> dict[str, float]:
        """Take one step of all phases that are due and return the loss terms."""
        config = self.config
        count = config.hardware.accumulate
        listening = max(0, number - self.entrance) / max(1, round(config.game.ramp * self.steps))
        steps = [
            prepare(config, piece, number, self.fabric.device, min(1.0, listening)) for piece in pieces(batch, count)
        ]
        base = cosine(number, self.steps, warmup)
        set_rate(self.maker_optimizer, config.rate * config.batch / REFERENCE_BATCH * base)
        since = number - self.entrance  # the critics have a schedule of their own
        critic_base = cosine(max(0, since), self.steps - self.entrance, CRITIC_WARMUP)
        set_rate(self.critic_optimizer, config.game.rate * critic_base)
        if number == self.entrance:
            self.let_critics_in()
        if number == self.erasure:
            self.erase_emotion()
        if number >= self.erasure:
            distributed.learn(self.model.separator, False)
        told: dict[str, float] = {}
        for phase in self.phases:
            if not self.due(phase.every, steps[0]) or (phase.side is self.critics and number < self.entrance):
                continue
            for turn, step in enumerate(steps, 1):
                with self.fabric.no_backward_sync(phase.side, enabled=turn < count):
                    terms = phase.terms(step)
                    stop_if_not_finite(terms, number, step.names)
                    if pace is not None and turn == 1 and phase.side is self.makers:
                        pace.forward_done()
                    self.fabric.backward(torch.stack(list(terms.values())).sum() / count)
                for name, term in terms.items():
                    told[name] = told.get(name, 0.0) + float(term.detach()) / count
            self.fabric.clip_gradients(phase.side, phase.optimizer, max_norm=config.clip, error_if_nonfinite=False)
            phase.optimizer.step()
            phase.optimizer.zero_grad()
        self.average.update_parameters(self.model)
        return told


def check(config: Train) -> None:
    """Raise InputError for settings that do not go together."""
    if config.game.batch > config.batch:
        raise InputError(f"--game.batch {config.game.batch} is more than --batch {config.batch}", status=2)
    if config.game.alone and (config.start is None or config.game.every != 1 or config.game.batch != config.batch):
        raise InputError("--game.alone needs --start, --game.every 1 and --game.batch equal to --batch", status=2)
    if config.encoder_stays and config.start is None:
        raise InputError("--encoder-stays needs an encoder to keep: --start RUN", status=2)
    if config.erase_at is not None and (config.model.separator != "subspace" or config.game.alone):
        raise InputError("--erase-at needs --model.separator subspace, and no --game.alone", status=2)
    if config.labels == "ml" and (config.mixup or config.cutmix or config.smoothing):
        raise InputError(
            "--labels ml needs --mixup 0 --cutmix 0 --smoothing 0: any emotion above zero counts as right", status=2
        )
    if config.mixup + config.cutmix > 1:
        raise InputError(
            f"--mixup {config.mixup:g} and --cutmix {config.cutmix:g} are shares: at most 1 together", status=2
        )
    if not 0 <= config.drop_path < 1:
        raise InputError(f"--drop-path {config.drop_path:g} is a rate: from 0 to below 1", status=2)
    if config.oversample < 0:
        raise InputError(f"--oversample {config.oversample:g} must not be negative", status=2)


def train(config: Train) -> None:
    """Train a PF-ViT; leaves its checkpoint in the run folder."""
    check(config)
    config = distributed.taken_up(config)
    fabric = make_fabric(config.hardware)
    check_share(config.batch, fabric.world_size, config.hardware.accumulate, "--batch")
    check_share(config.game.batch, fabric.world_size, config.hardware.accumulate, "--game.batch")
    run = Run(fabric, config, "train")
    sizes = config.model
    clean = config.protocol == "clean"
    faces = Faces(
        config.data, sizes.classes, hard=config.labels == "majority", order=config.order, clean=clean,
        scheme=config.labels if config.labels in SCHEMES else None, oversample=config.oversample,
    )  # fmt: skip
    steps = max(1, round(config.epochs * len(faces) / config.batch))
    warmup = round(config.warmup * len(faces) / config.batch)
    held_out = None
    if config.validation is not None and fabric.is_global_zero:
        index = Faces([config.validation], sizes.classes, hard=True, order=config.order, clean=clean)
        held_out = everything(index, sizes.image_size, sizes.channels)

    sample = None
    if config.erase_at is not None:
        every = math.ceil(len(faces) / ERASURE_FACES)
        sample = everything(faces, sizes.image_size, sizes.channels, pick=lambda position: position % every == 0)
    trainer = Trainer(fabric, config, steps, sample, run.say)
    run.record["steps"] = steps
    step = 0
    if config.resume:
        tensors, step = run.resume()
        trainer.restore(tensors, run)
    batches = feed(fabric, config, faces, step)
    run.say(
        f"{len(faces)} faces, {steps} steps of {config.batch}, {fabric.device}, "
        f"precision {fabric._precision.precision}, {distributed.told(trainer.model, fabric.world_size)}"
    )
    with run.progress() as progress:
        bar = progress.add_task("train", total=steps, completed=step, said="")
        pace = Pace(fabric, config.batch)
        while step < steps and not run.time_is_up():
            terms = trainer.step(pace.load(batches), step, warmup, pace)
            step += 1
            if step % config.log_every == 0 or step == steps:
                figures = pace.figures()
                rate = trainer.maker_optimizer.param_groups[-1]["lr"]
                run.log(step, {**run.mean(terms), "rate": rate, **figures})
                said = f"loss {terms['classification']:.3f}, {figures['faces_per_second']:.0f} faces/s"
                progress.update(bar, completed=step, said=said)
            looking = config.validation is not None and (step % config.evaluate_every == 0 or step == steps)
            whole = trainer.whole() if looking else None
            if held_out is not None and whole is not None:
                figures = look(whole, held_out, step, config)
                run.log(step, figures)
                run.say(f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
            if run.time_to_save():
                run.save(step, trainer.state())
    run.save(step, trainer.state())
    run.say(
        f"{step} of {steps} steps done; checkpoint in {run.folder}" + ("" if step == steps else "; go on with --resume")
    )

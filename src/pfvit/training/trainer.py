"""Stage two: recognition, separation and generation, two sides with an optimizer each (docs/paper.md, 2 and 4.3)."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from pfvit.config import Train
from pfvit.data import augment
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.face_batch import FaceBatch
from pfvit.data.mixture import Mixture
from pfvit.model import PFViT
from pfvit.model.leace_axes import leace_axes
from pfvit.model.separator import SubspaceSeparator
from pfvit.training import checkpoint, distributed, folds, selection
from pfvit.training import faces as training_faces
from pfvit.training.build import build_pfvit
from pfvit.training.ema import AveragedPFViT
from pfvit.training.gan import GeneratorSide
from pfvit.training.initialise import Say, both_sides
from pfvit.training.loop import Phase, Stage, fit, steps_of
from pfvit.training.losses import class_weights
from pfvit.training.optim import REFERENCE_BATCH, cosine, discriminator_optimizer, layer_scale, optimizer_for
from pfvit.training.phases import DiscriminatorLosses, GeneratorLosses
from pfvit.training.run import Run, check_folder, say_once
from pfvit.training.teachers import teach
from pfvit.training.validation import EVALUATION_BATCH, figure_names, validate
from pfvit.training.views import StepInputs, prepare
from pfvit.utils import console

DISCRIMINATOR_WARMUP = 50  # steps: its heads are fresh
NEVER = (
    "the discriminator never enters in this run (gan.discriminator_start 1, as in the first run of what ships): poker "
    "faces are as blurred as reconstruction makes them; pfvit reproduce shipped trains the runs that follow"
)
SUBSPACE_FACES = 8192  # training faces that the emotion's subspace is fitted on, at most


def train(config: Train, stage: type["TrainStage"] | None = None) -> None:
    """Train a PF-ViT, or one for each of `folds`; leaves its checkpoint in the run folder.

    `stage` is a class of your own, derived from TrainStage, that does a part of the training otherwise.
    """
    if config.folds > 1 and config.fold is None:
        folds.train_folds(config, lambda one: train(one, stage), console.say)
        return
    config = distributed.auto_resume(config)
    check_folder(config)
    training_faces.check_places(config)
    fabric = distributed.make_fabric(config.hardware)
    for share, what in ((config.batch, "--batch"), (config.gan_batch, "gan.batch")):
        distributed.check_share(share, fabric.world_size, config.hardware.accumulate, what)
    say = say_once(fabric)
    faces, unlabelled = training_faces.of_stage_two(config)
    validation = training_faces.held_out(config, faces.classes)
    if config.fold is not None:
        faces, held = folds.split(faces, config.folds, config.fold, config.person)
        held.index.what, validation = "held out", {f"fold {config.fold}": held}
    if config.best:
        selection.check(config.best, figure_names(faces.classes, list(validation)))
    training_faces.tell([faces, *unlabelled], validation, say)
    config = training_faces.with_classes(config, faces.classes, say)
    if config.gan.every and config.gan.discriminator_start >= 1:
        say(NEVER)
    run = Run(fabric, config, "train", faces)
    computed = teach(run, faces, *unlabelled)
    run.steps, warmup = steps_of(config, faces)
    made = (stage or TrainStage)(run, config, faces, warmup, validation)
    if computed:  # from here on --resume goes on, and the teachers are not asked again
        run.save(0, made.state())
    rest = [(some, config.batch - config.labelled_batch) for some in unlabelled]
    fit(run, made, Mixture((faces, config.labelled_batch), *rest) if rest else faces)


class TrainStage(Stage):
    """Both sides, their optimizers, and the averaged weights."""

    def __init__(
        self,
        run: Run,
        config: Train,
        faces: FaceDataset,
        warmup: int,
        validation: Mapping[str, FaceDataset] = MappingProxyType({}),
    ):
        fabric, steps = run.fabric, run.steps
        self.config, self.fabric, self.folder = config, fabric, run.folder
        self.discriminator_start = round(config.gan.discriminator_start * steps)
        self.subspace_step, self.sample = steps + 1, None
        self.validated = bool(validation)
        self.held_out = _read(config, validation, run.say) if fabric.is_global_zero else None
        if config.fit_emotion_subspace is not None:
            self.subspace_step = round(config.fit_emotion_subspace * steps)
            self.sample = _sample(config, faces)
        self.classes, self.class_weights = faces.classes, None
        if config.class_weights:
            counts = faces.index.counts().tolist()
            self.class_weights = class_weights(counts, config.class_weights).to(fabric.device)
        self.model, self.opponent = both_sides(config, run.say, faces.classes)
        self.average = AveragedPFViT(self.model, config.ema_decay)
        side = GeneratorSide(self.model, config.gan, config.freeze)
        for module in (side, self.opponent, self.average.module):
            distributed.shard(module, fabric.strategy)
        if config.hardware.recompute:  # not the discriminator: R1 needs its activations twice
            distributed.recompute(side)
        learning = [(name, weight) for name, weight in side.named_parameters() if weight.requires_grad]
        depth, decay = config.model.depth, config.layer_decay
        optimizer = optimizer_for(
            fabric, config, learning, lambda name: layer_scale(name.removeprefix("model."), depth, decay)
        )
        opponent_optimizer = discriminator_optimizer(config, list(self.opponent.named_parameters()))
        if config.hardware.compile:
            side.compile()
        self.side, self.optimizer = fabric.setup(side, optimizer)
        self.opponent_side, self.opponent_optimizer = fabric.setup(self.opponent, opponent_optimizer)
        self.average.to(fabric.device)
        self.phases = self._phases(steps, warmup)

    def _phases(self, steps: int, warmup: int) -> tuple[Phase, Phase]:
        config, start = self.config, self.discriminator_start
        peak = config.lr * config.batch / REFERENCE_BATCH

        def opponent_lr(step: int) -> float:  # a schedule of its own, from where it enters
            return config.gan.discriminator_lr * cosine(max(0, step - start), steps - start, DISCRIMINATOR_WARMUP)

        losses = GeneratorLosses(self.side, self.opponent, self.fabric, config, start, steps, self.class_weights)
        opponent_losses = DiscriminatorLosses(self.opponent_side, self.opponent, config)
        return (
            Phase(self.side, self.optimizer, losses, lambda step: peak * cosine(step, steps, warmup)),
            Phase(self.opponent_side, self.opponent_optimizer, opponent_losses, opponent_lr, config.gan.every, start),
        )

    def prepare(self, batch: FaceBatch, step: int) -> StepInputs:
        """Make the views of faces."""
        return prepare(self.config, batch, step, self.fabric.device)

    def before_step(self, step: int) -> None:
        """Let the discriminator in, and fit the emotion's subspace, where it is time."""
        if step == self.discriminator_start:
            self.start_discriminator()
        if step == self.subspace_step:
            self.fit_emotion_subspace()
        if step >= self.subspace_step:
            distributed.set_requires_grad(self.model.separator, False)

    def after_step(self) -> None:
        """Let the averaged weights follow."""
        self.average.update_parameters(self.model)

    def start_discriminator(self) -> None:
        """Start the discriminator as the first blocks of the averaged encoder, which knows emotions by now."""
        backbone = self.opponent.discriminator.backbone
        known = self.average.model.encoder.state_dict()
        backbone.load_state_dict({name: known[name] for name in backbone.state_dict()})

    @torch.no_grad()
    def fit_emotion_subspace(self) -> None:
        """Set the separator's subspace to where the emotion shows linearly in the averaged encoder's tokens."""
        if self.sample is None:
            raise RuntimeError("there are no faces to fit the emotion's subspace on")
        average, device = self.average.model.eval(), self.fabric.device
        parts = zip(
            *(values.split(EVALUATION_BATCH) for values in (self.sample.image, self.sample.target)), strict=True
        )
        pairs = ((average.encoder(augment.to_unit(image.to(device))), target.to(device)) for image, target in parts)
        bases = [cast(SubspaceSeparator, model.separator).basis for model in (self.model, average)]
        axes = leace_axes(pairs, rank=bases[0].shape[1])
        for basis in bases:
            basis.copy_(checkpoint.as_held(axes, basis))

    def evaluate(self, step: int) -> dict[str, float]:
        """Return figures of the averaged weights on the validation faces, and write a sheet of them."""
        if not self.validated:
            return {}
        model = self.whole_average()
        if self.held_out is None:  # another process validates
            return {}
        return validate(model, self.held_out, self.classes, self.folder / "sheets" / f"{step:07d}.png")

    def whole_average(self) -> PFViT:
        """Return the averaged model, gathered if it is sharded; every process must call this."""
        if not self.config.hardware.shard:
            return self.average.model
        tensors, model = distributed.full_tensors(self.average.model.state_dict()), build_pfvit(self.config.model)
        model.load_state_dict(tensors)
        return model.to(self.fabric.device)

    def state(self) -> dict[str, Tensor]:
        """Return weights, averaged weights and optimizers as whole named tensors."""
        tensors: dict[str, Tensor] = {}
        for name, module in self._modules().items():
            tensors |= checkpoint.prefixed(name, module.state_dict())
        for name, optimizer in self._optimizers().items():
            tensors |= checkpoint.prefixed(name, checkpoint.optimizer_tensors(optimizer))
        return distributed.full_tensors(tensors)

    def restore(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Put back what `state` gave."""
        for name, module in self._modules().items():
            checkpoint.load_into(module, checkpoint.part_of(tensors, name), name, source)
        for name, optimizer in self._optimizers().items():
            checkpoint.restore_optimizer(optimizer, checkpoint.part_of(tensors, name))

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"model": self.model, "discriminator_side": self.opponent, "average": self.average}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        sides = {"generator_optimizer": self.optimizer, "discriminator_optimizer": self.opponent_optimizer}
        return {name: optimizer.optimizer for name, optimizer in sides.items()}


def _read(config: Train, validation: Mapping[str, FaceDataset], say: Say) -> dict[str, FaceBatch]:
    """Return the faces of each validation set, decoded."""
    sizes = config.model
    read = {name: read_all(faces, sizes.image_size, sizes.channels) for name, faces in validation.items()}
    for name, faces in read.items():
        for problem in faces.passed:
            say(f"--validation {name}: left out: {problem}")
    return read


def _sample(config: Train, faces: FaceDataset) -> FaceBatch:
    """Return evenly spaced training faces."""
    every = math.ceil(len(faces) / SUBSPACE_FACES)
    sizes = config.model
    return read_all(faces, sizes.image_size, sizes.channels, pick=lambda position: position % every == 0)

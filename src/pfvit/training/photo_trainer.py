"""Train the photo model in three phases: masked pre-training, movement from the teacher, adversarial.

Some way into the last two phases the subspace of the emotional component is set where the emotion shows linearly
(`pfvit.model.leace_axes`), and the encoder is held from then on, so that the subspace stays right.

The step number decides all random numbers, so a run that was stopped goes on as if it had not been.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pfvit.config.photo import TrainPhoto
from pfvit.data import augment
from pfvit.errors import InputError
from pfvit.model.leace_axes import leace_axes_of_sets, logistic_regression
from pfvit.model.movement import MovementMaps, apply_movement, enlarge
from pfvit.model.photo import PATCH, SIDE, WIDTH, PhotoDecoder, PhotoPFViT, is_former, of_former
from pfvit.model.separator import SUBSPACE_SHARE
from pfvit.rendering import save_sheet
from pfvit.training import checkpoint
from pfvit.training.distributed import make_fabric
from pfvit.training.eye_readout import fit_eyes
from pfvit.training.finite import LossCheck
from pfvit.training.movement_losses import face_regions, kept_losses, light_losses, movement_losses
from pfvit.training.optim import cosine, descend, set_lr
from pfvit.training.photo_data import PhotoFaces, Views
from pfvit.training.photo_discriminators import PhotoDiscriminators
from pfvit.training.run import Run

PHASES = ("masked", "movement", "adversarial")
VISIBLE = SIDE * SIDE // 4
BETAS = (0.9, 0.99)
#: Of each phase: the share of it that the rate rises in, and where it ends, as a share of the peak.
WARMUP, END = 0.03, {"masked": 0.03, "movement": 0.3, "adversarial": 0.03}
#: A part of each batch is drawn as well: drawing is not what the photo's poker face is made of.
DRAWN = 6
SHEET_FACES = 24
SUBSPACE_FACES = 8192  # of each set, that the emotion's subspace is fitted on


def train_photo(config: TrainPhoto) -> None:
    """Train the photo model; leaves its checkpoint in the run folder."""
    fabric = make_fabric(config.hardware)
    run = Run(fabric, config, "photo")
    trainer = PhotoTrainer(config, fabric.device, bf16=fabric._precision.precision == "bf16-mixed")
    run.steps = trainer.steps
    step = run.resume(trainer.restore)
    if not config.resume and config.start is not None:
        trainer.start_from(config.start)
    count = ", ".join(
        f"{one.name} {len(one.neutral)} neutral {len(one.expressive)} expressive {len(one.middling)} other"
        for one in trainer.faces.sets
    )
    run.say(f"{count}; {trainer.steps} steps on {fabric.device}")
    check = LossCheck(config, fabric.device)
    with run.heeding(), run.progress(step) as progress:
        ended = False
        while step < trainer.steps and not ended:
            terms = trainer.step(step)
            check.note(terms, step, [])
            step += 1
            if step % config.log_every == 0 or step == trainer.steps:
                check.now()
                values = {name: float(value) for name, value in terms.items()}
                run.log(step, values)
                progress(step, f"{trainer.phase(step - 1)[0]}, loss {values['loss']:.3f}")
            if step % config.sheet_every == 0 or step == trainer.steps:
                trainer.sheet(run.folder / "sheets" / f"{step:07d}.png")
            ended, saves = run.decide()
            if saves:
                check.now()
                run.save(step, trainer.state())
        check.now()
        if step == trainer.steps:
            told = fit_eyes(trainer.average, trainer.faces, trainer.autocast)
            trainer.model.eyes.load_state_dict(trainer.average.eyes.state_dict())
            run.say(f"brows and lids are read off the tokens, fitted on {told} faces")
        run.save(step, trainer.state())
        run.say(f"{step} of {trainer.steps} steps done; checkpoint in {run.folder}")


class PhotoTrainer:
    """The state of a run: model, averaged model, discriminators, optimizers."""

    def __init__(self, config: TrainPhoto, device: torch.device, bf16: bool):
        self.config, self.device, self.bf16 = config, device, bf16
        torch.manual_seed(config.seed)
        self.model = PhotoPFViT().to(device)
        self.decoder = PhotoDecoder().to(device)
        self.probe = nn.Sequential(nn.Linear(WIDTH, 128), nn.GELU(), nn.Linear(128, 8)).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.opponent = PhotoDiscriminators(config.discriminator_widths, device, self.autocast)
        self.earlier = self._earlier(config.keep) if config.keep else None
        self.faces = PhotoFaces(config.data, config.points, config.lip_reach, device, config.limit)
        self.lengths = (
            config.masked_faces // config.masked_batch,
            config.movement_faces // config.faces_of_a_step,
            config.adversarial_faces // config.faces_of_a_step,
        )
        self.steps = sum(self.lengths)
        self.subspace_step = self.lengths[0] + round(config.fit_emotion_subspace * sum(self.lengths[1:]))
        masked = [*self.model.encoder.parameters(), *self.decoder.parameters()]
        encoder = [p for name, p in self.model.named_parameters() if name.startswith("encoder")]
        rest = [p for name, p in self.model.named_parameters() if not name.startswith("encoder")]
        groups = [{"params": encoder, "scale": config.encoder_lr}, {"params": [*rest, *self.probe.parameters()]}]
        self.optimizers = {
            "masked": torch.optim.AdamW(masked, betas=(0.9, 0.95), weight_decay=0.05),
            "generator": torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.02),
            "discriminator": self.opponent.optimizer,
        }
        #: What a probe would answer that knows nothing of a face.
        self.mean_shares = torch.cat([one.shares for one in self.faces.sets]).mean(0)

    def phase(self, step: int) -> tuple[str, int, int]:
        """Return the phase of a step, its step within the phase, and how long the phase is."""
        for name, length in zip(PHASES, self.lengths, strict=True):
            if step < length:
                return name, step, length
            step -= length
        raise ValueError("the run has ended")

    def step(self, number: int) -> dict[str, Tensor]:
        """Take one step and return the loss terms."""
        name, within, length = self.phase(number)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        if name == "masked":
            set_lr(self.optimizers["masked"], self.config.masked_lr * _rate(name, within, length))
            return self._masked(generator)
        if within == 0:
            self.average.load_state_dict(self.model.state_dict())
        if number >= self.subspace_step:
            if number == self.subspace_step:
                self.fit_emotion_subspace(generator)
            for part in (self.model.encoder, self.model.separator):
                part.requires_grad_(False)
        set_lr(self.optimizers["generator"], self.config.lr * _rate(name, within, length))
        return self._movement(within, length, generator, adversarial=name == "adversarial")

    def _masked(self, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.config
        faces = self.faces.everything(config.masked_batch, generator)
        face = self.faces.views(faces, generator, degrade=False).face
        kept = torch.rand(len(face), SIDE * SIDE, generator=generator).argsort(1)[:, :VISIBLE].to(self.device)
        with self.autocast():
            drawn = self.decoder(self.model.encoder(face, kept), kept).float()
        wanted = F.pixel_unshuffle(face, PATCH).flatten(2).transpose(1, 2)
        wanted = (wanted - wanted.mean(2, keepdim=True)) / (wanted.var(2, keepdim=True) + 1e-4).sqrt()
        hidden = torch.ones(drawn.shape[:2], device=self.device).scatter(1, kept, 0.0)
        loss = (((drawn - wanted) ** 2).mean(2) * hidden).sum() / hidden.sum()
        descend(self.optimizers["masked"], loss)
        return {"loss": loss.detach()}

    def _movement(self, within: int, length: int, generator: torch.Generator, adversarial: bool) -> dict[str, Tensor]:
        config, weights, done = self.config, self.config.weights, within / length
        count, few = config.batch, config.batch // 4
        expressive = self.faces.group("expressive", count, config.small_faces, generator)
        others = [
            *self.faces.group("middling", few, config.small_faces, generator),
            *self.faces.group("neutral", few, config.small_faces, generator),
        ]
        views = self.faces.views([*expressive, *others], generator)
        still = torch.zeros(len(views.face), device=self.device)
        still[-few:] = 1
        regions = face_regions(views.q, views.flip)
        with self.autocast():
            emotion, residue = self.model.separate(views.face)
            maps = self.model.movement(views.face, emotion, residue)
            terms = self._components(emotion, residue, views)
            terms |= self._drawings(emotion, residue)
        moved = apply_movement(views.face, maps)
        poker = moved.poker_face
        known = torch.ones_like(still, dtype=torch.bool)
        terms |= movement_losses(maps, views.p, views.q, known, still, regions, views.flip, weights.smooth_lips)
        terms["unchanged"] = ((poker - views.face).abs() * still[:, None, None, None]).mean()
        terms["light"] = light_losses(maps.light, still, regions)
        if self.earlier is not None:
            terms["kept"] = kept_losses(
                maps, self._earlier_maps(views.face, emotion, residue), ~views.gray, views.q, regions
            )
        again, calm = terms.pop("again"), terms.pop("calm")
        some = slice(None, None, DRAWN)
        terms["reconstruction"] = (again - views.face[some]).abs().mean()
        terms["poker_drawing"] = (calm - poker.detach()[some]).abs().mean()
        scale = {name: getattr(weights, name) for name in terms if hasattr(weights, name)} | {"probe": 1.0}
        if adversarial:
            scale["flow"] *= max(weights.flow_end, 1 - 1.3 * max(0.0, done - 0.05))
            real = self.faces.views(self.faces.alike(expressive, generator), generator)
            rate = config.discriminator_lr * cosine(within, length, round(0.02 * length), end=0.1)
            terms["discriminator"] = self.opponent.learn(real, views, poker[:count].detach(), rate, generator)
            terms |= self.opponent.judge(poker[:count], views.q[:count], generator)
            scale |= {
                name: getattr(weights, name) * min(1.0, done / 0.1) for name in ("realism", "mouth_realism", "neutral")
            }
        else:  # nothing to answer to: light must not drift
            scale["light"] *= 2
        loss = torch.stack([scale[name] * terms[name] for name in scale]).sum()
        descend(self.optimizers["generator"], loss)
        decay = min(config.ema_decay, 0.99 if within < 200 else 1.0)
        with torch.no_grad():
            averaged: list[Tensor] = list(self.average.parameters())
            torch._foreach_lerp_(averaged, list[Tensor](self.model.parameters()), 1 - decay)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    def _earlier(self, path: Path) -> PhotoPFViT:
        earlier = PhotoPFViT().to(self.device)
        weights, _ = _photo_weights(path)
        checkpoint.load_into(earlier, weights, "photo model", path)
        return earlier.requires_grad_(False)

    @torch.no_grad()
    def _earlier_maps(self, face: Tensor, emotion: Tensor, residue: Tensor) -> MovementMaps:
        """Return the earlier model's maps. Where both models' encoders are held and the same, one pass is enough."""
        if self.earlier is None:
            raise RuntimeError("there is no earlier model")
        own, other = self.model.encoder, self.earlier.encoder
        held = not next(own.parameters()).requires_grad
        with self.autocast():
            if held and all(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True)):
                return self.earlier.movement(face, *self.earlier.separator(emotion + residue))
            return self.earlier.movement(face, *self.earlier.separate(face))

    @torch.no_grad()
    def fit_emotion_subspace(self, generator: torch.Generator) -> None:
        """Set the emotional component's axes to where the emotion shows linearly in the averaged encoder's tokens.

        Faces are framed as a reader sees them, half of them whole. They count by their shares of emotions, and by the
        emotion that they show most. The encoder is that of the averaged weights from here on.
        """
        means, targets = [], []

        def pairs(k: int) -> Iterator[tuple[Tensor, Tensor]]:
            chosen = torch.randperm(len(self.faces.sets[k].image), generator=generator)[:SUBSPACE_FACES]
            for number, indices in enumerate(chosen.split(self.config.masked_batch)):
                face, shares = self.faces.plain(k, indices, whole=number % 2 == 1)
                with self.autocast():
                    tokens = self.average.encoder(face).float()
                means.append(tokens.mean(1))
                targets.append(shares)
                most = F.one_hot(shares.argmax(1), shares.shape[1])
                yield tokens, torch.cat([shares, most], 1)

        axes = leace_axes_of_sets(map(pairs, range(len(self.faces.sets))), rank=WIDTH // SUBSPACE_SHARE)
        weight, bias = logistic_regression(torch.cat(means) @ axes, torch.cat(targets))
        for model in (self.model, self.average):
            model.set_emotion_axes(axes)
            model.classifier.weight.copy_(weight @ axes.T)
            model.classifier.bias.copy_(bias)
        self.model.encoder.load_state_dict(self.average.encoder.state_dict())

    def _components(self, emotion: Tensor, residue: Tensor, views: Views) -> dict[str, Tensor]:
        """Return the terms of recognition and separation."""
        logits = self.model.classify(emotion).float()
        guess = self.probe(residue.mean(1).detach()).float()
        self.probe.requires_grad_(False)
        told = self.probe(residue.mean(1)).float()
        self.probe.requires_grad_(True)
        return {
            "classification": -(views.shares * logits.log_softmax(1)).sum(1).mean(),
            "probe": -(views.shares * guess.log_softmax(1)).sum(1).mean(),
            "forget": -(self.mean_shares * told.log_softmax(1)).sum(1).mean(),
        }

    def _drawings(self, emotion: Tensor, residue: Tensor) -> dict[str, Tensor]:
        some = slice(None, None, DRAWN)
        both = self.model.drawing(torch.cat([(emotion + residue)[some], residue[some]])).float()
        again, calm = both.chunk(2)
        return {"again": again, "calm": calm}

    def autocast(self) -> torch.autocast:
        """Return a context in which products are of the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "model": self.model, "average": self.average, "decoder": self.decoder, "probe": self.probe,
            "discriminators": self.opponent.discriminators,
        }  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """Return all that the rest of the run depends on."""
        tensors: dict[str, Tensor] = {}
        for name, module in self._modules().items():
            tensors |= checkpoint.prefixed(name, module.state_dict())
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.prefixed(f"{name}_optimizer", checkpoint.optimizer_tensors(optimizer))
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Put back what `state` gave."""
        for name, module in self._modules().items():
            checkpoint.load_into(module, checkpoint.part_of(tensors, name), name, folder)
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer, checkpoint.part_of(tensors, f"{name}_optimizer"))

    def start_from(self, path: Path) -> None:
        """Load the weights of another run, or of a .safetensors file of the model alone."""
        weights, discriminators = _photo_weights(path)
        if discriminators:
            checkpoint.load_into(self.opponent.discriminators, discriminators, "discriminators", path)
        checkpoint.load_into(self.model, weights, "photo model", path)
        self.average.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def sheet(self, path: Path) -> None:
        """Write faces, what moving makes of them, the poker face, the drawings, and the light."""
        generator = torch.Generator().manual_seed(1)
        faces = [
            *self.faces.group("expressive", SHEET_FACES - 4, self.config.small_faces, generator),
            *self.faces.group("neutral", 4, 0.25, generator),
        ]
        face = self.faces.views(faces, generator, degrade=False).face
        model = self.average
        with self.autocast():
            emotion, residue = model.separate(face)
            maps = model.movement(face, emotion, residue)
            again, calm = model.drawing(emotion + residue).float(), model.drawing(residue).float()
        moved = apply_movement(face, maps)
        light = enlarge(maps.light, face.shape[-1]) * 2
        columns = [augment.to_bytes(one) for one in (face, moved.moved, moved.poker_face, again, calm, light)]
        save_sheet(path, columns, wide=3, zoom=1)


def _photo_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a run's averaged weights and its discriminators', or the weights in a .safetensors file of them alone."""
    if not path.is_dir():
        try:
            weights, discriminators = load_file(path), {}
        except (OSError, SafetensorError) as problem:
            raise InputError(f"{path} cannot be read as weights of the photo model: {problem}") from problem
    else:
        tensors, record = checkpoint.load(path)
        if record["stage"] != "photo":
            raise InputError(f"{path} is a run of stage {record['stage']!r}, not of the photo model")
        weights, discriminators = (checkpoint.part_of(tensors, part) for part in ("average", "discriminators"))
    if is_former(weights):
        weights = of_former(weights)
    return {name: value.float() for name, value in weights.items()}, discriminators


def _rate(phase: str, step: int, length: int) -> float:
    return cosine(step, length, round(WARMUP * length), END[phase])

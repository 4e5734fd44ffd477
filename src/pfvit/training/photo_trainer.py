"""Train the photo model in three phases: masked pre-training, movement from the teacher, adversarial.

The step number decides all random numbers, so a run that was stopped goes on as if it had not been.
"""

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from pfvit.config.photo import TrainPhoto
from pfvit.data import augment
from pfvit.errors import InputError
from pfvit.model.movement import apply_movement, enlarge, identity_grid
from pfvit.model.photo import PATCH, SIDE, WIDTH, PhotoDecoder, PhotoDiscriminator, PhotoPFViT
from pfvit.rendering import save_sheet
from pfvit.training import checkpoint
from pfvit.training.distributed import make_fabric
from pfvit.training.loop import stop_if_not_finite
from pfvit.training.movement_losses import face_regions, light_losses, mouth_crops, movement_losses
from pfvit.training.photo_data import PhotoFaces, Views
from pfvit.training.run import Run

PHASES = ("masked", "movement", "adversarial")
VISIBLE = SIDE * SIDE // 4
BETAS, DISCRIMINATOR_BETAS = (0.9, 0.99), (0.0, 0.99)
MAX_GRAD_NORM = 3.0
#: A part of each batch is drawn as well: drawing is not what the photo's poker face is made of.
DRAWN = 6
#: Mean shares of the emotions in the training faces, which a probe that knows nothing would answer.
MEAN_SHARES = (0.36, 0.27, 0.13, 0.12, 0.085, 0.007, 0.023, 0.006)
SHEET_FACES = 24


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
    with run.heeding(), run.progress(step) as progress:
        ended = False
        while step < trainer.steps and not ended:
            terms = trainer.step(step)
            step += 1
            if step % config.log_every == 0 or step == trainer.steps:
                values = {name: float(value) for name, value in terms.items()}
                stop_if_not_finite(terms, step, [], config)
                run.log(step, values)
                progress(step, f"{trainer.phase(step - 1)[0]}, loss {values['loss']:.3f}")
            if step % config.sheet_every == 0 or step == trainer.steps:
                trainer.sheet(run.folder / "sheets" / f"{step:07d}.png")
            ended, saves = run.decide()
            if saves:
                run.save(step, trainer.state())
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
        face_widths, mouth_widths = config.discriminator_widths, _narrower(config.discriminator_widths)
        self.discriminators = nn.ModuleList([PhotoDiscriminator(face_widths), PhotoDiscriminator(mouth_widths)])
        self.discriminators.to(device)
        self.faces = PhotoFaces(config.data, config.points, config.lip_reach, device, config.limit)
        batch = config.batch + 2 * (config.batch // 4)
        self.lengths = (
            config.masked_faces // config.masked_batch,
            config.movement_faces // batch,
            config.adversarial_faces // batch,
        )
        self.steps = sum(self.lengths)
        masked = [*self.model.encoder.parameters(), *self.decoder.parameters()]
        encoder = [p for name, p in self.model.named_parameters() if name.startswith("encoder")]
        rest = [p for name, p in self.model.named_parameters() if not name.startswith("encoder")]
        groups = [{"params": encoder, "scale": config.encoder_lr}, {"params": [*rest, *self.probe.parameters()]}]
        self.optimizers = {
            "masked": torch.optim.AdamW(masked, betas=(0.9, 0.95), weight_decay=0.05),
            "generator": torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.02),
            "discriminator": torch.optim.AdamW(
                self.discriminators.parameters(), betas=DISCRIMINATOR_BETAS, weight_decay=1e-4
            ),
        }
        self.mean_shares = torch.tensor(MEAN_SHARES, device=device)

    def phase(self, step: int) -> tuple[str, float, int]:
        """Return the phase of a step, how much of it is done, and its step within the phase."""
        for name, length in zip(PHASES, self.lengths, strict=True):
            if step < length:
                return name, step / length, step
            step -= length
        raise ValueError("the run has ended")

    def step(self, number: int) -> dict[str, Tensor]:
        """Take one step and return the loss terms."""
        name, done, within = self.phase(number)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        if name == "masked":
            return self._masked(done, generator)
        if within == 0:
            self.average.load_state_dict(self.model.state_dict())
        return self._movement(done, within, generator, adversarial=name == "adversarial")

    def _masked(self, done: float, generator: torch.Generator) -> dict[str, Tensor]:
        config = self.config
        optimizer = self.optimizers["masked"]
        _set_lr(optimizer, config.masked_lr, done)
        faces = self.faces.everything(config.masked_batch, generator)
        face = self.faces.views(faces, generator, degrade=False).face
        kept = torch.rand(len(face), SIDE * SIDE, generator=generator).argsort(1)[:, :VISIBLE].to(self.device)
        with self._autocast():
            drawn = self.decoder(self.model.encoder(face, kept), kept).float()
        wanted = F.pixel_unshuffle(face, PATCH).flatten(2).transpose(1, 2)
        wanted = (wanted - wanted.mean(2, keepdim=True)) / (wanted.var(2, keepdim=True) + 1e-4).sqrt()
        hidden = torch.ones(drawn.shape[:2], device=self.device).scatter(1, kept, 0.0)
        loss = (((drawn - wanted) ** 2).mean(2) * hidden).sum() / hidden.sum()
        self._learn(optimizer, loss)
        return {"loss": loss.detach()}

    def _movement(self, done: float, within: int, generator: torch.Generator, adversarial: bool) -> dict[str, Tensor]:
        config, weights = self.config, self.config.weights
        optimizer = self.optimizers["generator"]
        _set_lr(optimizer, config.lr, done, end=0.03 if adversarial else 0.3)
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
        emotion, residue = self._separate(views.face)
        with self._autocast():
            maps = self.model.movement(views.face, emotion, residue)
            terms = self._components(emotion, residue, views)
            terms |= self._drawings(emotion, residue)
        moved = apply_movement(views.face, maps)
        poker = moved.poker_face
        terms |= movement_losses(
            maps, views.p, views.q, torch.ones_like(still, dtype=torch.bool), still, regions, weights.smooth_lips
        )
        terms["unchanged"] = ((poker - views.face).abs() * still[:, None, None, None]).mean()
        terms["light"] = light_losses(maps.light, still, regions)
        again, calm = terms.pop("again"), terms.pop("calm")
        some = slice(None, None, DRAWN)
        terms["reconstruction"] = (again - views.face[some]).abs().mean()
        terms["poker_drawing"] = (calm - poker.detach()[some]).abs().mean()
        scale = {name: getattr(weights, name) for name in terms if hasattr(weights, name)} | {"probe": 1.0}
        if adversarial:
            scale["flow"] *= max(weights.flow_end, 1 - 1.3 * max(0.0, done - 0.05))
            terms |= self._adversarial(views, poker[:count], expressive, done, within, generator)
            scale |= {
                name: getattr(weights, name) * min(1.0, done / 0.1) for name in ("realism", "mouth_realism", "neutral")
            }
        else:  # nothing to answer to: light must not drift
            scale["light"] *= 2
        loss = torch.stack([scale[name] * terms[name] for name in scale]).sum()
        self._learn(optimizer, loss)
        decay = min(config.ema_decay, 0.99 if within < 200 else 1.0)
        with torch.no_grad():
            averaged: list[Tensor] = list(self.average.parameters())
            torch._foreach_lerp_(averaged, list[Tensor](self.model.parameters()), 1 - decay)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    def _separate(self, face: Tensor) -> tuple[Tensor, Tensor]:
        frozen = self.config.encoder_lr == 0
        with self._autocast(), torch.set_grad_enabled(not frozen):
            whole = self.model.encoder(face)
        with self._autocast():
            emotion = self.model.separator(whole)
        return emotion, whole - emotion

    def _components(self, emotion: Tensor, residue: Tensor, views: Views) -> dict[str, Tensor]:
        """Return the terms of recognition and separation."""
        logits = self.model.classify(emotion).float()
        guess = self.probe(residue.mean(1).detach()).float()
        self.probe.requires_grad_(False)
        told = self.probe(residue.mean(1)).float()
        self.probe.requires_grad_(True)
        return {
            "classification": -(views.shares * logits.log_softmax(1)).sum(1).mean(),
            "orthogonality": (F.cosine_similarity(emotion.float(), residue.float(), dim=2) ** 2).mean(),
            "probe": -(views.shares * guess.log_softmax(1)).sum(1).mean(),
            "forget": -(self.mean_shares * told.log_softmax(1)).sum(1).mean(),
        }

    def _drawings(self, emotion: Tensor, residue: Tensor) -> dict[str, Tensor]:
        some = slice(None, None, DRAWN)
        both = self.model.drawing(torch.cat([(emotion + residue)[some], residue[some]])).float()
        again, calm = both.chunk(2)
        return {"again": again, "calm": calm}

    def _adversarial(
        self, views: Views, poker: Tensor, expressive: list[tuple[int, Tensor]], done: float, within: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Teach the discriminators, and return what they say of the poker faces."""
        count = len(poker)
        real = self.faces.views(self.faces.alike(expressive, generator), generator)
        optimizer = self.optimizers["discriminator"]
        _set_lr(optimizer, self.config.discriminator_lr, done, warmup=0.02, end=0.1)
        made, q = poker.detach(), views.q[:count]
        faces = [_disturbed(one, generator, holes=True) for one in (real.face, made, views.face[:count])]
        mouths = [
            _disturbed(mouth_crops(one, points), generator)
            for one, points in ((real.face, real.q), (made, q), (views.face[:count], q))
        ]
        loss = torch.zeros((), device=self.device)
        for judge, (truth, fake, smile) in zip(self.discriminators, (faces, mouths), strict=True):
            with self._autocast():
                patches, whole, neutral = judge(torch.cat([truth, fake, smile]))
            for score in (patches, whole):
                loss = loss + F.relu(1 - score[:count]).mean() + F.relu(1 + score[count : 2 * count]).mean()
            loss = loss + F.softplus(-neutral[:count]).mean() + F.softplus(neutral[2 * count :]).mean()
        self._learn(optimizer, loss)
        self.discriminators.requires_grad_(False)
        with self._autocast():
            face = self.discriminators[0](_disturbed(poker, generator, holes=True))
            mouth = self.discriminators[1](_disturbed(mouth_crops(poker, q), generator))
        self.discriminators.requires_grad_(True)
        return {
            "realism": -(face.patch_realism.mean() + face.realism.mean()),
            "mouth_realism": -(mouth.patch_realism.mean() + mouth.realism.mean()),
            "neutral": F.softplus(-face.neutral_logit).mean() + F.softplus(-mouth.neutral_logit).mean(),
            "discriminator": loss.detach(),
        }

    def _learn(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], MAX_GRAD_NORM)
        optimizer.step()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "model": self.model, "average": self.average, "decoder": self.decoder, "probe": self.probe,
            "discriminators": self.discriminators,
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
        if path.is_dir():
            tensors, record = checkpoint.load(path)
            if record["stage"] != "photo":
                raise InputError(f"{path} is a run of stage {record['stage']!r}, not of the photo model")
            weights = checkpoint.part_of(tensors, "average")
            checkpoint.load_into(
                self.discriminators, checkpoint.part_of(tensors, "discriminators"), "discriminators", path
            )
        else:
            weights = load_file(path)
        checkpoint.load_into(self.model, {name: value.float() for name, value in weights.items()}, "photo model", path)
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
        with self._autocast():
            emotion, residue = model.separate(face)
            maps = model.movement(face, emotion, residue)
            again, calm = model.drawing(emotion + residue).float(), model.drawing(residue).float()
        moved = apply_movement(face, maps)
        light = enlarge(maps.light, face.shape[-1]) * 2
        columns = [augment.to_bytes(one) for one in (face, moved.moved, moved.poker_face, again, calm, light)]
        save_sheet(path, columns, wide=3, zoom=1)


def _narrower(widths: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the widths of the mouth's discriminator: two thirds where the picture is smallest."""
    first, second, third, last = widths
    return first, second, third * 3 // 4, last * 2 // 3


def _set_lr(optimizer: torch.optim.Optimizer, lr: float, done: float, warmup: float = 0.03, end: float = 0.03) -> None:
    """Set the rate: linear warm-up, then half a cosine down to `end` of the peak."""
    share = (
        done / warmup
        if done < warmup
        else end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    )
    for group in optimizer.param_groups:
        group["lr"] = lr * share * group.get("scale", 1.0)


def _disturbed(face: Tensor, generator: torch.Generator, holes: bool = False) -> Tensor:
    """Disturb real and made faces alike before they are judged (DiffAugment, Zhao et al., arXiv 2006.10738)."""
    batch, device = len(face), face.device

    def draw(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator).to(device)

    face = face + (draw(1, 1, 1) - 0.5) * 0.4
    mean = face.mean(1, keepdim=True)
    face = (face - mean) * (0.5 + draw(1, 1, 1)) + mean
    mean = face.mean((1, 2, 3), keepdim=True)
    face = (face - mean) * (0.7 + 0.6 * draw(1, 1, 1)) + mean
    shift = torch.zeros(batch, 2, 3, device=device)
    shift[:, 0, 0] = torch.where(draw() < 0.5, -1.0, 1.0)
    shift[:, 1, 1] = 1.0
    shift[:, :, 2] = (draw(2) - 0.5) * 0.2
    grid = F.affine_grid(shift, list(face.shape), align_corners=False)
    face = F.grid_sample(face, grid, padding_mode="reflection", align_corners=False)
    if holes:
        away = (identity_grid(face.shape[-1], device) - (draw(1, 1, 2) * 2 - 1)).abs().amax(3)[:, None]
        face = torch.where((away < 0.25) & (draw(1, 1, 1) < 0.3), torch.zeros(1, device=device), face)
    return face

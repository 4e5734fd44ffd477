"""Stage one: masked autoencoding of unlabelled faces (docs/paper.md, section 3; He et al., arXiv 2111.06377)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pfvit.config import Pretrain
from pfvit.data import augment
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.data.face_batch import FaceBatch, onto
from pfvit.data.wild import frame
from pfvit.model import mask_patches
from pfvit.model.autoencoder import Mask
from pfvit.model.transformer import patchify, unpatchify
from pfvit.rendering import save_sheet
from pfvit.training import checkpoint, distributed, initialise, losses
from pfvit.training import faces as training_faces
from pfvit.training.loop import Phase, Stage, fit, steps_of
from pfvit.training.optim import REFERENCE_BATCH, cosine, optimizer_for
from pfvit.training.run import Run, check_folder, say_once

SHEET_FACES = 32


def pretrain(config: Pretrain) -> None:
    """Train an autoencoder; leaves its checkpoint in the run folder."""
    config = distributed.auto_resume(config)
    check_folder(config)
    training_faces.check_places(config)
    fabric = distributed.make_fabric(config.hardware)
    distributed.check_share(config.batch, fabric.world_size, config.hardware.accumulate, "--batch")
    faces = training_faces.of_stage_one(config)
    training_faces.tell([faces], {}, say_once(fabric))
    run = Run(fabric, config, "pretrain", faces)
    run.steps, warmup = steps_of(config, faces)
    fit(run, PretrainStage(run, config, faces, warmup), faces)


class Masked(NamedTuple):
    """Faces of one step, and which of their patches are hidden."""

    face: Tensor
    mask: Mask


class PretrainStage(Stage):
    """The autoencoder and its optimizer."""

    def __init__(self, run: Run, config: Pretrain, faces: FaceDataset, warmup: int):
        fabric, sizes = run.fabric, config.model
        self.config, self.fabric, self.folder = config, fabric, run.folder
        self.model = initialise.autoencoder(config, run.say)
        distributed.shard(self.model, fabric.strategy)
        optimizer = optimizer_for(fabric, config, list(self.model.named_parameters()))
        if config.hardware.recompute:
            distributed.recompute(self.model)
        if config.hardware.compile:
            self.model.compile(dynamic=False)
        self.module, self.optimizer = fabric.setup(self.model, optimizer)
        peak = config.lr * config.batch / REFERENCE_BATCH
        self.phases = (
            Phase(self.module, self.optimizer, self.losses, lambda step: peak * cosine(step, run.steps, warmup)),
        )
        self.shown = read_all(faces, sizes.image_size, sizes.channels, limit=SHEET_FACES)

    def prepare(self, batch: FaceBatch, step: int) -> Masked:
        """Augment faces and draw which of their patches are hidden."""
        config, device = self.config, self.fabric.device
        draws = augment.Draws(config.seed, step, config.batch, batch.place)
        face = augment.to_unit(onto(batch.image, device))
        if config.views == "wild":
            face, _ = frame(face, draws, torch.ones(len(face)), batch.window)
        else:
            face = augment.geometry(face, draws, config.zoom, config.degrees, config.shift, batch.window)
        return Masked(face, mask_patches(onto(draws.uniform(config.model.tokens), device), config.mask_ratio))

    def losses(self, inputs: Masked, step: int) -> dict[str, Tensor]:
        """Return the error of the predicted pixels of hidden patches."""
        predicted = self.module(inputs.face, inputs.mask)
        target = patchify(inputs.face, self.config.model.patch_size)
        loss = losses.masked_reconstruction(predicted, target, inputs.mask.hidden, self.config.norm_pix_loss)
        return {"loss": loss}

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Write a sheet: the visible patches, the reconstruction, the face."""
        sizes, device = self.config.model, self.fabric.device
        face = augment.to_unit(self.shown.image.to(device))
        draws = augment.Draws(self.config.seed, 0, len(face), self.shown.place)
        mask = mask_patches(draws.uniform(sizes.tokens).to(device), self.config.mask_ratio)
        target = patchify(face, sizes.patch_size)
        predicted = self.model(face, mask).float()
        if self.config.norm_pix_loss:
            scale = (target.var(-1, keepdim=True) + losses.NORM_EPS).sqrt()
            predicted = predicted * scale + target.mean(-1, keepdim=True)
        hidden = mask.hidden[:, :, None]
        visible, filled = torch.where(hidden, torch.zeros_like(target), target), torch.where(hidden, predicted, target)
        columns = [unpatchify(patches, sizes.patch_size, sizes.channels) for patches in (visible, filled)]
        if self.fabric.is_global_zero:
            path = self.folder / "sheets" / f"{step:07d}.png"
            save_sheet(path, [augment.to_bytes(faces) for faces in (*columns, face)])
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return weights and optimizer as whole named tensors."""
        return distributed.full_tensors(
            {
                **checkpoint.prefixed("model", self.model.state_dict()),
                **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer.optimizer)),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Put back what `state` gave."""
        checkpoint.load_into(self.model, checkpoint.part_of(tensors, "model"), "autoencoder", source)
        checkpoint.restore_optimizer(self.optimizer.optimizer, checkpoint.part_of(tensors, "optimizer"))

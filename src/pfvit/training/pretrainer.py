"""Stage one: masked autoencoding of unlabelled faces (PAPER 3; He et al., arXiv 2111.06377)."""

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule as FabricModule
from lightning_fabric.wrappers import _FabricOptimizer as FabricOptimizer
from torch import nn

from pfvit.config import Pretrain
from pfvit.data import augment
from pfvit.data.dataset import Batch, Faces, everything
from pfvit.model import Autoencoder, mask_patches
from pfvit.model.transformer import patchify, unpatchify
from pfvit.rendering import save_sheet
from pfvit.training import checkpoint, distributed, initialise, losses
from pfvit.training.loop import check_share, feed, make_fabric, pieces, stop_if_not_finite
from pfvit.training.optim import REFERENCE_BATCH, cosine, optimizer_for, set_rate
from pfvit.training.run import Run
from pfvit.training.throughput import Pace

SHEET_FACES = 32


def pretrain(config: Pretrain) -> None:
    """Train an autoencoder; leaves its checkpoint in the run folder."""
    config = distributed.taken_up(config)
    fabric = make_fabric(config.hardware)
    check_share(config.batch, fabric.world_size, config.hardware.accumulate, "--batch")
    run = Run(fabric, config, "pretrain")
    faces = Faces(config.data, labelled=False, clean=config.protocol == "clean")
    steps = max(1, round(config.epochs * len(faces) / config.batch))
    run.record["steps"] = steps

    sizes = config.model
    autoencoder = initialise.autoencoder(config, run.say)
    distributed.shard(autoencoder, fabric.strategy)
    optimizer: torch.optim.Optimizer = optimizer_for(fabric, config, list(autoencoder.named_parameters()))
    step = 0
    if config.resume:
        tensors, step = run.resume()
        checkpoint.load_into(autoencoder, checkpoint.part_of(tensors, "model"), "autoencoder", run.folder)
        checkpoint.restore_optimizer(optimizer, checkpoint.part_of(tensors, "optimizer"))
    bare = autoencoder
    if config.hardware.recompute:
        distributed.recompute(autoencoder)
    if config.hardware.compile:
        autoencoder.compile(dynamic=False)
    autoencoder, optimizer = fabric.setup(autoencoder, optimizer)

    def state() -> dict[str, torch.Tensor]:
        return distributed.gathered(
            {
                **checkpoint.prefixed("model", bare.state_dict()),
                **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(optimizer.optimizer)),
            }
        )

    batches = feed(fabric, config, faces, step)
    shown = everything(faces, sizes.image_size, sizes.channels, limit=SHEET_FACES)
    run.say(
        f"{len(faces)} faces, {steps} steps of {config.batch}, {fabric.device}, "
        f"precision {fabric._precision.precision}, {distributed.told(bare, fabric.world_size)}"
    )
    with run.progress() as progress:
        bar = progress.add_task("pretrain", total=steps, completed=step, said="")
        pace = Pace(fabric, config.batch)
        while step < steps and not run.time_is_up():
            set_rate(
                optimizer,
                config.rate * config.batch / REFERENCE_BATCH
                * cosine(step, steps, round(config.warmup * len(faces) / config.batch)),
            )  # fmt: skip
            loss = fit(fabric, autoencoder, optimizer, pace.load(batches), step, config, pace)
            step += 1
            if step % config.log_every == 0 or step == steps:
                told = {**run.mean({"loss": float(loss)}), "rate": optimizer.param_groups[0]["lr"], **pace.figures()}
                run.log(step, told)
                said = f"loss {told['loss']:.4f}, {told['faces_per_second']:.0f} faces/s"
                progress.update(bar, completed=step, said=said)
            if step % config.evaluate_every == 0 or step == steps:
                draw(bare, shown, step, config, fabric.is_global_zero)
            if run.time_to_save():
                run.save(step, state())
    run.save(step, state())
    run.say(
        f"{step} of {steps} steps done; checkpoint in {run.folder}" + ("" if step == steps else "; go on with --resume")
    )


def fit(
    fabric: Fabric, autoencoder: FabricModule, optimizer: FabricOptimizer, batch: Batch, step: int, config: Pretrain,
    pace: Pace | None = None,
) -> torch.Tensor:  # fmt: skip
    """Take one step and return its loss."""
    count = config.hardware.accumulate
    total = torch.zeros((), device=fabric.device)
    for turn, piece in enumerate(pieces(batch, count), 1):
        with fabric.no_backward_sync(autoencoder, enabled=turn < count):
            loss = masked_loss(autoencoder, piece, step, config, fabric.device) / count
            stop_if_not_finite({"reconstruction": loss}, step, piece.name)
            if pace is not None and turn == 1:
                pace.forward_done()
            fabric.backward(loss)
        total += loss.detach()
    fabric.clip_gradients(autoencoder, optimizer, max_norm=config.clip, error_if_nonfinite=False)
    optimizer.step()
    optimizer.zero_grad()
    return total


def masked_loss(
    autoencoder: nn.Module, batch: Batch, step: int, config: Pretrain, device: torch.device
) -> torch.Tensor:
    """Hide most of each face, draw it, and return the loss."""
    draws = augment.Draws(config.seed, step, config.batch, batch.place)
    face = augment.to_unit(batch.image.to(device, non_blocking=True))
    face = augment.geometry(face, draws, config.zoom, config.degrees, config.shift)
    mask = mask_patches(draws.uniform(config.model.tokens).to(device), config.mask_ratio)
    drawn = autoencoder(face, mask)
    target = patchify(face, config.model.patch_size)
    return losses.masked_reconstruction(drawn, target, mask.hidden, config.normalise)


@torch.no_grad()
def draw(autoencoder: Autoencoder, shown: Batch, step: int, config: Pretrain, write: bool) -> None:
    """Write a sheet of what is seen, what is drawn and the face itself; every process draws, the first one writes."""
    sizes = config.model
    device = next(autoencoder.parameters()).device
    face = augment.to_unit(shown.image.to(device))
    draws = augment.Draws(config.seed, 0, len(face), shown.place)
    mask = mask_patches(draws.uniform(sizes.tokens).to(device), config.mask_ratio)
    target = patchify(face, sizes.patch_size)
    drawn = autoencoder(face, mask).float()
    if config.normalise:
        drawn = drawn * (target.var(-1, keepdim=True) + losses.NORM_EPS).sqrt() + target.mean(-1, keepdim=True)
    seen = torch.where(mask.hidden[:, :, None], torch.zeros_like(target), target)
    filled = torch.where(mask.hidden[:, :, None], drawn, target)
    columns = [unpatchify(p, sizes.patch_size, sizes.channels) for p in (seen, filled)]
    sheet = [augment.to_bytes(faces) for faces in (*columns, face)]
    if write:
        save_sheet(config.out / "sheets" / f"{step:07d}.png", sheet)

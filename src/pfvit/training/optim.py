"""Optimizers, parameter groups and learning-rate schedules of all stages."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from pfvit.config import Pretrain, Train
from pfvit.training.muon import Muon

BETAS = (0.9, 0.95)  # MAE
DISCRIMINATOR_BETAS = (0.0, 0.99)  # docs/paper.md, section 4.3
HEADS = ("head.weight", "pred.weight")  # the last layers, whose rows stand for classes and pixels: AdamW's (Jordan)
PHOTO_GRAD_NORM = 3.0  # of the photo model's training
REFERENCE_BATCH = 256  # learning rates are given per 256 images (Goyal et al., 2017; MAE)

#: From a parameter's name to the scale of its learning rate.
Scale = Callable[[str], float]


def _alike(_: str) -> float:
    return 1.0


def cosine(step: int, total: int, warmup: int, end: float = 0.0) -> float:
    """Return the share of the peak learning rate: linear warm-up from 0, then half a cosine down to `end`."""
    if step < warmup:
        return (step + 1) / warmup
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def set_lr(optimizer: Any, lr: float) -> None:
    """Set the learning rate of every group to `lr` times its own `scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("scale", 1.0)


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Take one step down a loss, with all gradients together no longer than `PHOTO_GRAD_NORM`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], PHOTO_GRAD_NORM)
    optimizer.step()


def groups(
    named: Sequence[tuple[str, nn.Parameter]], weight_decay: float, scale: Scale = _alike, matrices: bool = False
) -> list[dict]:
    """Sort parameters into optimizer groups by learning-rate scale and decay; vectors are not decayed (MAE).

    With `matrices`, those other than a head's have groups of their own, in which `matrices` is true.
    """
    sorted_: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        vector = parameter.ndim <= 1 or name.endswith(("token", "no_emotion", "pos_embed"))
        matrix = matrices and not vector and not name.endswith(HEADS)
        sorted_.setdefault((scale(name), 0.0 if vector else weight_decay, matrix), []).append(parameter)
    return [{"params": p, "scale": s, "weight_decay": d, "matrices": m} for (s, d, m), p in sorted_.items()]


def optimizer_for(
    fabric: Fabric, config: Pretrain | Train, named: Sequence[tuple[str, nn.Parameter]], scale: Scale = _alike
) -> torch.optim.AdamW:
    """Make the optimizer that the settings ask for: AdamW, or Muon for matrices and AdamW for the rest."""
    muon = config.optimizer == "muon"
    sorted_ = groups(named, config.weight_decay, scale, matrices=muon)
    if not muon:
        return torch.optim.AdamW(sorted_, betas=BETAS, fused=True)  # one kernel for all weights
    dtype = torch.bfloat16 if fabric._precision.precision == "bf16-mixed" else torch.float32
    return Muon(sorted_, BETAS, dtype)


def discriminator_optimizer(config: Train, named: Sequence[tuple[str, nn.Parameter]]) -> torch.optim.AdamW:
    """Make the discriminator side's optimizer."""
    return torch.optim.AdamW(groups(named, config.weight_decay), betas=DISCRIMINATOR_BETAS, fused=True)


def layer_scale(name: str, depth: int, decay: float) -> float:
    """Return the learning-rate scale of an encoder parameter: `decay` per layer below the top (BEiT, MAE)."""
    if not name.startswith("encoder."):
        return 1.0
    layer = int(name.split(".")[2]) + 1 if name.startswith("encoder.blocks.") else 0
    return 1.0 if name.startswith("encoder.norm.") else decay ** (depth + 1 - layer)

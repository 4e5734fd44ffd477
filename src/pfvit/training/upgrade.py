"""Checkpoints of format 1: their tensors and settings under the names that this version uses."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

TENSORS = {
    "critics.": "discriminator_side.",
    "maker_optimizer.": "generator_optimizer.",
    "critic_optimizer.": "discriminator_optimizer.",
}
SETTINGS = {
    "rate": "lr",
    "normalise": "norm_pix_loss",
    "clip": "max_grad_norm",
    "smoothing": "label_smoothing",
    "erase": "random_erasing",
    "erase_at": "fit_emotion_subspace",
    "average": "ema_decay",
}
GAN = {
    "features": "feature_matching",
    "adversary": "adversarial",
    "restraint": "max_adversarial_gradient",
    "unmask": "fake_emotion",
    "untouched": "neutral_identity",
    "confusion": "residue_confusion",
    "small_change": "minimal_change",
    "penalty": "r1",
    "penalty_every": "r1_every",
    "encoder_share": "encoder_gradient",
    "start": "discriminator_start",
    "ramp": "discriminator_ramp",
    "rate": "discriminator_lr",
}
MODEL = {"critic_depth": "discriminator_depth"}


def tensors(old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under this version's names."""
    new = {}
    for name, tensor in old.items():
        before = next((prefix for prefix in TENSORS if name.startswith(prefix)), "")
        new[TENSORS.get(before, "") + name.removeprefix(before)] = tensor
    return new


def record(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's record with this version's settings; what no longer exists is left out."""
    config = _renamed(old["config"], SETTINGS)
    if "model" in config:
        config["model"] = _renamed(config["model"], MODEL)
    if "game" in config:
        game = config.pop("game")
        frozen = ["encoder"] if config.pop("encoder_stays", False) else []
        frozen = ["encoder", "separator", "classifier"] if game.pop("alone", False) else frozen
        config["freeze"] = frozen + (["discriminator_stem"] if game.pop("critic_stem_stays", False) else [])
        config["gan"] = _renamed(game, GAN)
    return {**old, "config": config}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}

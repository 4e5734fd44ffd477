"""What one step of stage two is made of: the view to recognise, the clean view to draw from, the dial's strength."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pfvit.config import Train
from pfvit.data import augment
from pfvit.data.dataset import Batch
from pfvit.training.gan import PURE_POKER, Made

CLEAN_ZOOM = (0.97, 1.1)  # mild: the clean view is what gets drawn
CLEAN_DEGREES = 5.0
CLEAN_SHIFT = 0.03
TONE_BRIGHTNESS, TONE_CONTRAST = 0.2, 0.3
ERASED_AREA = (0.02, 0.2)  # share of the face (PAPER 4.1)


@dataclass
class Step:
    """What the phases of one step share: the views, and what the makers drew."""

    number: int
    names: list[str]
    view: Tensor
    view_target: Tensor
    paths: Tensor | None
    ramp: float
    clean: Tensor
    target: Tensor
    strength: Tensor
    made: Made | None = None


def prepare(config: Train, batch: Batch, number: int, device: torch.device, ramp: float) -> Step:
    """Make the recognition view of all faces and the clean view of those that play."""
    game = config.game
    draws = augment.Draws(config.seed, number, config.batch, batch.place)
    image = augment.to_unit(batch.image.to(device, non_blocking=True))
    target = batch.target.to(device, non_blocking=True)
    if config.labels == "pld":
        target = augment.drawn_label(target, draws)
    smooth = target * (1 - config.smoothing) + config.smoothing / target.shape[1]
    view = augment.geometry(image, draws, config.zoom, config.degrees, config.shift)
    view = augment.tone(view, draws, TONE_BRIGHTNESS, TONE_CONTRAST)
    view = augment.erase(view, draws, config.erase, ERASED_AREA)
    view, view_target = augment.mixup(view, smooth, draws, config.mixup, config.cutmix)
    playing = [i for i, place in enumerate(batch.place) if place < game.batch]
    clean = augment.geometry(image, draws, CLEAN_ZOOM, CLEAN_DEGREES, CLEAN_SHIFT)[playing]
    dial = draws.uniform()
    strength = torch.where(draws.uniform() < PURE_POKER, 1.0, dial)[playing].to(device)
    paths = augment.kept_paths(draws, config.model.depth, config.drop_path)
    paths = None if paths is None else paths.to(device, non_blocking=True)
    return Step(number, batch.name, view, view_target, paths, ramp, clean, target[playing], strength)

"""The inputs of one step of stage two: a view to recognise, a clean view to generate from, the strength to take off."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pfvit.config import Train
from pfvit.data import augment
from pfvit.data.face_batch import FaceBatch, onto
from pfvit.data.wild import wild
from pfvit.training.gan import FULL_STRENGTH, Generated

CLEAN_ZOOM = (0.97, 1.1)  # mild: the clean view is what the generator reconstructs
CLEAN_DEGREES = 5.0
CLEAN_SHIFT = 0.03
BRIGHTNESS, CONTRAST = 0.2, 0.3
ERASED_AREA = (0.02, 0.2)  # share of the face (docs/paper.md, section 4.1)


@dataclass
class StepInputs:
    """Views of one step's faces, which its phases share, and what the generator side made of them.

    Pictures are [faces, channels, high, wide] with pixels in [-1, 1], targets [faces, classes]. Of the step's faces the
    first `gan_batch` have a clean view too.
    """

    view: Tensor
    view_target: Tensor
    paths: Tensor | None
    """What each face of the view keeps of each layer, [faces, depth, 2] (stochastic depth); None: everything."""
    clean: Tensor
    target: Tensor
    strength: Tensor
    """Share of the expression that each poker face lacks, in [0, 1]."""
    generated: Generated | None = None


def prepare(config: Train, batch: FaceBatch, step: int, device: torch.device) -> StepInputs:
    """Make the recognition view of all faces and the clean view of those that the generator draws."""
    draws = augment.Draws(config.seed, step, config.batch, batch.place)
    image, target = augment.to_unit(onto(batch.image, device)), onto(batch.target, device)
    if config.labels == "pld":
        target = augment.drawn_label(target, draws)
    smooth = target * (1 - config.label_smoothing) + config.label_smoothing / target.shape[1]
    if config.views == "wild":
        view = wild(image, draws, batch.window)
    else:
        view = augment.geometry(image, draws, config.zoom, config.degrees, config.shift, batch.window)
        view = augment.tone(view, draws, BRIGHTNESS, CONTRAST)
    view = augment.erase(view, draws, config.random_erasing, ERASED_AREA)
    view, view_target = augment.mixup(view, smooth, draws, config.mixup, config.cutmix)
    count = sum(place < config.gan_batch for place in batch.place)  # places rise from row to row
    clean = augment.geometry(image, draws, CLEAN_ZOOM, CLEAN_DEGREES, CLEAN_SHIFT, batch.window)[:count]
    partial = draws.uniform()
    strength = onto(torch.where(draws.uniform() < FULL_STRENGTH, 1.0, partial)[:count], device)
    paths = augment.kept_paths(draws, config.model.depth, config.drop_path)
    paths = None if paths is None else onto(paths, device)
    return StepInputs(view, view_target, paths, clean, target[:count], strength)

"""Fit the temperature of a recogniser, and what favours rare emotions, on held-out faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pfvit.config import Architecture
from pfvit.data import augment
from pfvit.data.dataset import FaceBatch, FaceDataset, read_all
from pfvit.data.locate import HELD_OUT
from pfvit.model import PFViT

TEMPERATURES = np.geomspace(0.4, 4, 200)
#: Only classes rarer than this share of an even one are favoured: of eight emotions, those rarer than a tenth. Between
#: frequent ones an adjustment costs accuracy and brings little recall (docs/lab-book.md, "Rare emotions alone").
RARE = 0.8


def held_out_faces(
    sizes: Architecture, path: Path, clean: bool, order: Sequence[str], classes: Sequence[str]
) -> FaceBatch:
    """Return every second labelled face of a file or of a folder's test part: those that calibration may look at."""
    index = FaceDataset([path], classes, hard=True, order=order, clean=clean, parts=HELD_OUT, what="--calibrate")
    return read_all(index, sizes.image_size, sizes.channels, pick=lambda position: position % 2 == 0)


@torch.no_grad()
def logits_of(
    model: PFViT, image: UInt8[Tensor, "faces channels size size"], flip_tta: bool
) -> Float[Tensor, "faces classes"]:
    """Return a model's logits; with `flip_tta` the mean over the face and its mirror image."""
    face = augment.to_unit(image)
    views = [face, face.flip(3)] if flip_tta else [face]
    logits = sum(torch.cat([model.recognise(part) for part in view.split(128)]).double() for view in views) / len(views)
    return torch.as_tensor(logits)


def as_bytes(image: UInt8[Tensor, "faces channels size size"]) -> np.ndarray:
    """Return faces as the exported files take them: uint8 [faces, size, size, 3]."""
    last = image.permute(0, 2, 3, 1)
    return last.expand(*last.shape[:3], 3).contiguous().numpy()


def fit(
    logits: Float[Tensor, "faces classes"], truth: Int[Tensor, " faces"], adjustment: float
) -> tuple[float, Float[Tensor, " classes"] | None]:
    """Return the temperature with the least negative log-likelihood, and what is added to the logits before it.

    `adjustment` is the share of the log prior that is taken off the logits (logit adjustment, Menon et al., arXiv
    2007.07314), so that rare emotions are answered more often; those that are not rare count as if they were all
    as frequent as the rarest of them could be (`RARE`).
    The prior is the mean answer at the best temperature, which needs no labels and is never 0.
    """
    temperature = _best_temperature(logits, truth)
    if not adjustment:
        return temperature, None
    prior = (logits / temperature).softmax(1).mean(0)
    added = -adjustment * temperature * prior.clamp(max=RARE / len(prior)).log()
    return _best_temperature(logits + added, truth), added.float()


def _best_temperature(logits: Float[Tensor, "faces classes"], truth: Int[Tensor, " faces"]) -> float:
    losses = [float(nn.functional.cross_entropy(logits / t, truth)) for t in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)

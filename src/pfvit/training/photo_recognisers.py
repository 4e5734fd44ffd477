"""Trained recognisers that say whether the photo model's poker faces are neutral.

The discriminators' neutral heads learn with the generator, from the few neutral faces of each set; a recogniser of
small faces has seen every expression. It sees each face in a frame of its own, shifted, scaled, turned and perhaps
mirrored, so that no pattern of single pixels pleases it, and it is content with a fair share of neutral.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pfvit.datasets import mesh_points as mesh
from pfvit.detection.alignment import POINTS
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError
from pfvit.model.movement import identity_grid
from pfvit.training import checkpoint
from pfvit.training.initialise import load_model, path_of

#: Distance between the outer corners of the eyes, and their middle, in shares of the side of what a recogniser sees.
CORNERS, MIDDLE = 0.51, (float(POINTS[:2, 0].mean()), float(POINTS[0, 1]))
#: How far a frame is shifted, in shares of its side, scaled and turned (radians), to both sides.
SHIFT, SCALE, TURN = 0.04, 0.12, 0.15
#: A share of neutral that is enough: more of it invites texture.
ENOUGH = 0.8


class NeutralRecognisers:
    """Frozen recognisers whose mean share of neutral the poker faces are led to."""

    def __init__(self, paths: Sequence[Path], device: torch.device):
        self.models, self.places, self.sizes = [], [], []
        for path in map(path_of, paths):
            if path is None:
                continue
            model, record = load_model(path)
            classes, sizes = checkpoint.classes_of(record), checkpoint.architecture_of(record)
            if NEUTRAL not in classes:
                raise InputError(f"{path} has no class {NEUTRAL}, so it cannot say which faces are neutral")
            self.models.append(model.to(device).requires_grad_(False))
            self.places.append(list(classes).index(NEUTRAL))
            self.sizes.append((sizes.image_size, sizes.channels))

    def __call__(
        self,
        face: Float[Tensor, "batch 3 high wide"],
        q: Float[Tensor, "batch points 2"],
        flip: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Return how far the mean share of neutral of faces in [-1, 1] is from enough, as a difference of logarithms.

        `q` are the faces' mesh points; `flip` is -1 for mirrored pictures, else 1. Gradients flow to the faces alone.
        """
        shares = []
        for model, place, (size, channels) in zip(self.models, self.places, self.sizes, strict=True):
            seen = framed(face, q, flip, size, generator)
            seen = seen.mean(1, keepdim=True) if channels == 1 else seen
            shares.append(model.recognise(seen).float().log_softmax(1)[:, place])
        mean = torch.stack(shares).logsumexp(0) - math.log(len(shares))
        return F.relu(math.log(ENOUGH) - mean).mean()


def framed(
    face: Float[Tensor, "batch 3 high wide"],
    q: Float[Tensor, "batch points 2"],
    flip: Float[Tensor, " batch"],
    size: int,
    generator: torch.Generator,
) -> Float[Tensor, "batch 3 size size"]:
    """Return faces as a recogniser sees them, [batch, 3, size, size], each framed a little otherwise."""
    batch, device = len(face), face.device

    def draw(*shape: int) -> Tensor:
        return (torch.rand(batch, *shape, generator=generator) * 2 - 1).to(device)

    left, right = q[:, mesh.EYES[0]], q[:, mesh.EYES[1]]
    axis = (right - left) * flip[:, None]
    angle = TURN * draw()
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    across = axis / CORNERS * (1 + SCALE * draw(1))
    across = across * cosine + torch.stack([-across[:, 1], across[:, 0]], 1) * sine
    down = torch.stack([-across[:, 1], across[:, 0]], 1)
    mirror = torch.where(draw() < 0, -1.0, 1.0)[:, None]
    fine = identity_grid(2 * size, device).reshape(1, -1, 2)
    away = fine / 2 - torch.tensor(MIDDLE, device=device) + 0.5 + SHIFT * draw(1, 2)
    # Mirrored about the frame's own middle.
    sideways = (away[..., 0] - 0.5 + MIDDLE[0]) * mirror + 0.5 - MIDDLE[0]
    origin = (left + right) / 2
    places = origin[:, None] + sideways[..., None] * across[:, None] + away[..., 1:] * down[:, None]
    places = (places * 2 - 1).view(batch, 2 * size, 2 * size, 2)
    return F.avg_pool2d(F.grid_sample(face.float(), places, padding_mode="border", align_corners=False), 2)

"""Fit the readout of brows and lids (`EyeReadout`) in closed form, once the photo model is trained.

The teacher's brows move by 0.3 to 0.5% of the distance between the eyes' corners (standard deviation), lips by 7%. The
movement's flow, trained to follow both, agrees with the brows in 0.60 (UTKFace) and 0.37 (FairFace; correlation). With
a ridge regression on the same tokens added it is 0.71 and 0.57, on faces that the regression was not fitted on.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from torch import Tensor

from pfvit.inference.movement import BROW_X, BROW_Y, LID_X, LOWER_LID_Y, UPPER_LID_Y
from pfvit.model.photo import PhotoPFViT
from pfvit.training.movement_losses import MAP_SIDE, at_points, region_measures
from pfvit.training.photo_data import GRAY, PLAIN_SIDE, PhotoFaces

#: Faces of each set, and how many go through at a time. Every tenth face, from the sixth on, is left for measuring.
FACES, AT_ONCE, LEFT_OUT = 8192, 64, (10, 5)
#: Ridge, as a share of what the features vary by: chosen on every tenth face, from the first on.
RIDGE = 0.2
#: How far the shapes of brows and lids reach around their places, in shares of the side.
BROWS_REACH, LIDS_REACH = 0.05, 0.06


@torch.no_grad()
def fit_eyes(model: PhotoPFViT, faces: PhotoFaces, autocast: Callable[[], AbstractContextManager]) -> int:
    """Set the readout of a trained model, so that brows and lids move as the teacher says; return of how many faces.

    It is fitted to what the movement's own flow leaves of that, on faces in colour if there are any.
    """
    shapes = eye_shapes().to(faces.device)
    inputs, wanted = [], []
    chosen = [k for k, one in enumerate(faces.sets) if one.name not in GRAY] or range(len(faces.sets))
    generator = torch.Generator().manual_seed(0)
    for k in chosen:
        one = faces.sets[k]
        pool = torch.cat([one.neutral, one.expressive, one.middling])
        pool = pool[pool % LEFT_OUT[0] != LEFT_OUT[1]]
        pool = pool[torch.randperm(len(pool), generator=generator)][:FACES]
        for indices in pool.split(AT_ONCE):
            face, _ = faces.plain(k, indices)
            with autocast():
                emotion, residue = model.separate(face)
                flow = model.movement(face, emotion, residue).base
            inputs.append(model.eyes.features((emotion + residue).float()).cpu())
            p, q = one.p[indices.to(faces.device)], one.q[indices.to(faces.device)]
            brows, lids = region_measures(p - q, q, torch.ones(len(q), device=q.device))[:, :2].unbind(1)
            teacher = torch.stack([-brows, lids], 1) * 2 / PLAIN_SIDE
            wanted.append((teacher - eye_flows(flow[:, 1:].float())).cpu())
    x, y = torch.cat(inputs), torch.cat(wanted)
    middle, spread = x.mean(0), x.std(0) + 1e-6
    weight = ridge((x - middle) / spread, y - y.mean(0), RIDGE) / spread[:, None]
    model.eyes.weight.copy_(weight)
    model.eyes.bias.copy_(y.mean(0) - middle @ weight)
    model.eyes.shapes.copy_(shapes)
    return len(x)


def ridge(
    x: Float[Tensor, "faces inputs"], y: Float[Tensor, "faces outputs"], strength: float
) -> Float[Tensor, "inputs outputs"]:
    """Return the weights of a ridge regression on standardised inputs; `strength` is a share of their variance."""
    faces, inputs = x.shape
    if faces < inputs:
        return x.T @ torch.linalg.solve(x @ x.T + strength * faces * torch.eye(faces), y)
    return torch.linalg.solve(x.T @ x + strength * faces * torch.eye(inputs), x.T @ y)


def eye_flows(down: Float[Tensor, "batch 1 side side"]) -> Float[Tensor, "batch 2"]:
    """Return the mean vertical flow of the brows, and by how much that of the lower lids exceeds the upper lids'.

    They are read where `pfvit.inference.movement` reads them.
    """

    def mean(across: tuple[float, ...], height: float) -> Tensor:
        places = torch.tensor([(x, height) for x in across], device=down.device)
        return at_points(down, places.expand(len(down), -1, -1)).mean((1, 2))

    lids = mean(LID_X, LOWER_LID_Y) - mean(LID_X, UPPER_LID_Y)
    return torch.stack([mean(BROW_X, BROW_Y), lids], dim=1)


def eye_shapes(side: int = MAP_SIDE) -> Float[Tensor, "2 side side"]:
    """Return smooth vertical flows of a crop that change one of `eye_flows` by 1 and the other not at all.

    The brows' is a band that ends beside them; the lids' is the slope of a bell at each eye, so that it grows from 0 in
    the middle of the eye to the lids, and falls again.
    """
    line = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    beside = (torch.maximum(BROW_X[0] - x, x - BROW_X[-1])).clamp(min=0)
    brows = torch.exp(-0.5 * ((y - BROW_Y) ** 2 + beside**2) / BROWS_REACH**2)
    half = (LOWER_LID_Y - UPPER_LID_Y) / 2
    away = (y - (UPPER_LID_Y + LOWER_LID_Y) / 2) / half
    lids = sum(torch.exp(-0.5 * ((x - eye) / LIDS_REACH) ** 2) for eye in LID_X) * away * torch.exp(-0.5 * away**2)
    raw = torch.stack([brows, lids])
    return (torch.linalg.inv(eye_flows(raw[:, None])) @ raw.flatten(1)).view_as(raw)

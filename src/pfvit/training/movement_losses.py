"""What the photo model's movement is taught: flows to the teacher's points, the lip line, and to leave all else alone.

Points are places in the picture as shares of its side, x to the right, y down: p where they are, q where the teacher
(`pfvit.datasets.mesh_points.NeutralTeacher`) says they would be in the neutral face. A poker face is read at q from p.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pfvit.datasets import mesh_points as mesh
from pfvit.model.movement import MovementMaps, identity_grid

MAP_SIDE = 56
#: How much more a point's flow counts than that of the others.
LIP_WEIGHT, EYE_WEIGHT = 4.0, 8.0
#: Differences of flow below this, in halves of the side, are punished less than in proportion. Brows and lids move by
#: a tenth of what lips do.
FLOW_BETA, EYE_BETA = 0.02, 0.001
#: The lip line's height is taught within so many shares of the side of it.
LINE_REACH, LINE_BETA = 0.06, 0.01
#: How far each of `region_measures` typically is from the neutral face's: standard deviations over UTKFace.
REGION_SPREADS = (0.0026, 0.007, 0.036, 0.078, 0.07)
REGION_POINTS = [*mesh.UPPER_BROWS, 145, 159, 374, 386, *mesh.CORNERS, 13, 14]
#: How far around brows and lids flows need not be another model's, in shares of the side.
EYE_REACH = 0.05
#: What maps of expressive faces typically hold: flows in halves of the side, heights near the lip line, light.
TYPICAL_FLOW, TYPICAL_HEIGHT, TYPICAL_LIGHT = 0.01, 0.03, 0.03
#: Radii, in face units: of the mouth's region down the face, and of the face around its middle.
MOUTH_DOWN = 0.38
FACE_ACROSS, FACE_DOWN, FACE_MIDDLE = 0.92, 1.12, 0.42


class FaceRegions(NamedTuple):
    """Where things are in the neutral face, on a grid of MAP_SIDE places a side."""

    line: Float[Tensor, "batch 1 side side"]
    """Signed height above the line of the closed lips, in shares of the side."""
    mouth: Float[Tensor, "batch 1 side side"]
    """Distance from the middle of the mouth: 1 on an ellipse around it."""
    face: Float[Tensor, "batch 1 side side"]
    """Distance from the middle of the face: 1 on an ellipse around it."""


def point_weights() -> Float[Tensor, " points"]:
    """Return how much each of the 478 points counts."""
    weights = torch.ones(mesh.POINTS)
    weights[mesh.LIPS] = LIP_WEIGHT
    weights[mesh.BROWS + mesh.LIDS] = EYE_WEIGHT
    return weights


def flow_betas() -> Float[Tensor, " points"]:
    """Return of each point below which difference of flow it is punished less than in proportion."""
    betas = torch.full((mesh.POINTS,), FLOW_BETA)
    betas[mesh.BROWS + mesh.LIDS] = EYE_BETA
    return betas


def lip_signs() -> Float[Tensor, " points"]:
    """Return 1 for points of the upper lip, -1 for the lower one, 0 for all others, corners included."""
    signs = torch.zeros(mesh.POINTS)
    signs[[*mesh.INNER_UPPER[1:-1], *mesh.OUTER_UPPER[1:-1], *mesh.RING_UPPER, *mesh.RING2_UPPER]] = 1.0
    signs[[*mesh.INNER_LOWER[1:-1], *mesh.OUTER_LOWER, *mesh.RING_LOWER, *mesh.RING2_LOWER]] = -1.0
    return signs


def face_regions(
    q: Float[Tensor, "batch points 2"], flip: Float[Tensor, " batch"], side: int = MAP_SIDE
) -> FaceRegions:
    """Return the regions of faces by their neutral points; `flip` is -1 for mirrored pictures, else 1."""
    batch = len(q)
    left, right = q[:, mesh.EYES[0]], q[:, mesh.EYES[1]]
    origin, axis = (left + right) / 2, (right - left) * flip[:, None]
    square = (axis**2).sum(1)
    down = torch.stack([-axis[:, 1], axis[:, 0]], -1)

    def in_face_units(places: Tensor) -> tuple[Tensor, Tensor]:
        away = places - origin[:, None]
        return (away @ axis[:, :, None])[..., 0] / square[:, None], (away @ down[:, :, None])[..., 0] / square[:, None]

    grid = identity_grid(side, q.device).reshape(1, -1, 2).expand(batch, -1, -1) / 2 + 0.5
    u, v = in_face_units(grid)
    knot_u, knot_v = in_face_units((q[:, mesh.INNER_UPPER] + q[:, mesh.INNER_LOWER]) / 2)
    mirrored = (flip < 0)[:, None]
    knot_u = torch.where(mirrored, knot_u.flip(1), knot_u)
    knot_v = torch.where(mirrored, knot_v.flip(1), knot_v)
    line = knot_v[:, :1].expand_as(v)  # the height of the lip line at every u: flat beyond the corners
    for k in range(knot_u.shape[1] - 1):
        run = (knot_u[:, k + 1] - knot_u[:, k]).clamp(min=1e-3)
        slope = ((knot_v[:, k + 1] - knot_v[:, k]) / run)[:, None]
        line = line + slope * torch.minimum((u - knot_u[:, k : k + 1]).clamp(min=0), run[:, None])
    middle_u, middle_v = (knot_u[:, :1] + knot_u[:, -1:]) / 2, (knot_v[:, :1] + knot_v[:, -1:]) / 2
    reach = ((knot_u[:, -1:] - knot_u[:, :1]) / 2).clamp(min=0.1)
    mouth = (((u - middle_u) / reach) ** 2 + ((v - middle_v) / MOUTH_DOWN) ** 2).sqrt()
    face = ((u / FACE_ACROSS) ** 2 + ((v - FACE_MIDDLE) / FACE_DOWN) ** 2).sqrt()
    maps = ((line - v) * square.sqrt()[:, None], mouth, face)
    return FaceRegions(*(values.view(batch, 1, side, side) for values in maps))


def roughness(
    maps: Float[Tensor, "batch channels side side"], weight: Float[Tensor, "batch 1 side side"] | None = None
) -> Float[Tensor, ""]:
    """Return the mean absolute second difference; first differences would punish a mere shift."""
    down = (maps[:, :, 2:] - 2 * maps[:, :, 1:-1] + maps[:, :, :-2]).abs()
    across = (maps[..., 2:] - 2 * maps[..., 1:-1] + maps[..., :-2]).abs()
    if weight is not None:
        down, across = down * weight[:, :, 1:-1], across * weight[..., 1:-1]
    return down.mean() + across.mean()


def at_points(
    maps: Float[Tensor, "batch channels side side"], points: Float[Tensor, "batch points 2"]
) -> Float[Tensor, "batch points channels"]:
    """Read maps at points, bilinearly."""
    read = F.grid_sample(maps, (points * 2 - 1)[:, None], padding_mode="border", align_corners=False)
    return read[:, :, 0].transpose(1, 2)


def region_measures(
    change: Float[Tensor, "batch points 2"], q: Float[Tensor, "batch points 2"], flip: Float[Tensor, " batch"]
) -> Float[Tensor, "batch regions"]:
    """Return what a change of the points from their neutral places q does to each region, in face units.

    Brows raised, eyes opened, corners of the mouth lowered, mouth widened, mouth opened, as `mesh_points.describe` and
    `pfvit.inference.Movement` count them.
    """
    axis = (q[:, mesh.EYES[1]] - q[:, mesh.EYES[0]]) * flip[:, None]
    square = (axis**2).sum(1, keepdim=True)
    across = (change * axis[:, None]).sum(2) / square
    down = (change[..., 1] * axis[:, None, 0] - change[..., 0] * axis[:, None, 1]) / square
    left, right = mesh.CORNERS
    return torch.stack(
        [
            -down[:, mesh.UPPER_BROWS].mean(1),
            (down[:, 145] - down[:, 159] + down[:, 374] - down[:, 386]) / 2,
            (down[:, left] + down[:, right] - down[:, 13] - down[:, 14]) / 2,
            (across[:, right] - across[:, left]) * flip,
            down[:, 14] - down[:, 13],
        ],
        dim=1,
    )


def movement_losses(
    maps: MovementMaps,
    p: Float[Tensor, "batch points 2"],
    q: Float[Tensor, "batch points 2"],
    known: Bool[Tensor, " batch"],
    still: Float[Tensor, " batch"],
    regions: FaceRegions,
    flip: Float[Tensor, " batch"],
    smooth_lips: float = 1.0,
) -> dict[str, Tensor]:
    """Return the terms that teach the movement.

    `known` says which faces have points; `still` is 1 for neutral faces, which must not move. `flip` is -1 for mirrored
    pictures, else 1. `smooth_lips` is how much smoothness counts near the lips, compared with elsewhere.
    """
    weights, signs, betas = (values().to(q.device) for values in (point_weights, lip_signs, flow_betas))
    flow = at_points(maps.base, q) + signs[None, :, None] * at_points(maps.split, q)
    error = (flow - (p - q) * 2).abs().sum(2)
    spreads = torch.tensor(REGION_SPREADS, device=q.device)
    regional = region_measures(flow / 2 - (p - q), q, flip) / spreads
    regional = F.smooth_l1_loss(regional, torch.zeros_like(regional), reduction="none").sum(1)
    seen = ((q > 0.02) & (q < 0.98)).all(2).float() * known[:, None].float()
    whole = seen[:, REGION_POINTS].amin(1)
    rounded = 2 * betas * F.huber_loss(error / betas, torch.zeros_like(error), reduction="none")
    near = torch.exp(-regions.line.abs() / LINE_REACH) * known[:, None, None, None].float()
    height = F.smooth_l1_loss(maps.height, regions.line, beta=LINE_BETA, reduction="none")
    away = ((regions.mouth - 0.85).clamp(min=0) * 4).clamp(max=1)
    weight = smooth_lips + (1 - smooth_lips) * away
    quiet = still[:, None, None, None]
    return {
        "flow": (rounded * weights * seen).sum() / seen.sum().clamp(min=1),
        "regions": (regional * whole).sum() / whole.sum().clamp(min=1),
        "line": (height * near).sum() / near.sum().clamp(min=1),
        "split_outside": (maps.split.abs() * away).mean(),
        "roughness": roughness(maps.base, weight) + roughness(maps.split * (away < 1), weight),
        "outside": (maps.base.abs() * (regions.face - 1.05).clamp(0, 0.5)).mean(),
        "still": ((maps.base.abs() + maps.split.abs()) * quiet).mean(),
    }


def kept_losses(
    maps: MovementMaps,
    wanted: MovementMaps,
    kept: Bool[Tensor, " batch"],
    q: Float[Tensor, "batch points 2"],
    regions: FaceRegions,
) -> Float[Tensor, ""]:
    """Return how far the maps of the `kept` faces are from `wanted` ones, in what is typical of each map.

    Around brows and lids flows are free; the lip line's height counts near the line.
    """
    side, count = maps.base.shape[-1], kept.sum().clamp(min=1)
    grid = identity_grid(side, q.device).reshape(1, -1, 2) / 2 + 0.5
    away = torch.cdist(grid.expand(len(q), -1, -1), q[:, mesh.BROWS + mesh.LIDS]).amin(2).view(len(q), 1, side, side)
    bound = 1 - torch.exp(-((away / EYE_REACH) ** 2))
    near = torch.exp(-regions.line.abs() / LINE_REACH)
    base, split, height, gate, light = ((one - other).abs() for one, other in zip(maps, wanted, strict=True))
    flow = (base * bound + split).mean((1, 2, 3)) / TYPICAL_FLOW
    line = (height * near).sum((1, 2, 3)) / near.sum((1, 2, 3)) / TYPICAL_HEIGHT
    paint = light.mean((1, 2, 3)) / TYPICAL_LIGHT + gate.mean((1, 2, 3))
    return ((flow + line + paint) * kept).sum() / count


def light_losses(
    light: Float[Tensor, "batch 3 side side"], still: Float[Tensor, " batch"], regions: FaceRegions
) -> Float[Tensor, ""]:
    """Keep the added light small, smooth, inside the face, off neutral faces, and the picture as bright as it was.

    Its colour is kept smaller still: it made the fold beside the nose yellow.
    Neutral photos are darker on the whole than smiling ones, so a discriminator would have faces darkened.
    """
    size = light.abs()
    return (
        size.mean()
        + 3 * (light - light.mean(1, keepdim=True)).abs().mean()
        + 4 * (size * still[:, None, None, None]).mean()
        + 2 * roughness(light)
        + 8 * (size * (regions.face > 1)).mean()
        + 8 * light.mean((2, 3)).abs().mean()
    )


def mouth_crops(
    face: Float[Tensor, "batch 3 side side"], q: Float[Tensor, "batch points 2"], size: int = 56
) -> Float[Tensor, "batch 3 size size"]:
    """Cut the mouth out: a square of 0.95 face units around the middle between its corners."""
    unit = (q[:, mesh.EYES[1]] - q[:, mesh.EYES[0]]).norm(dim=1) * 0.95
    middle = (q[:, mesh.CORNERS[0]] + q[:, mesh.CORNERS[1]]) / 2
    places = middle[:, None, None] + identity_grid(size, face.device) * unit[:, None, None, None] / 2
    return F.grid_sample(face, places * 2 - 1, padding_mode="border", align_corners=False)

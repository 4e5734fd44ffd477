"""Augmentation of batches of faces, as tensor operations on whatever device holds them.

Random numbers come from a generator seeded with (seed, step) and are drawn for the step's whole batch; a rank takes
those of its own rows. So a step is the same after a resume and for any number of ranks, except for `mixup`, which mixes
a face with another one of the same rank. They are drawn on the processor, so that they are the same for every device,
and are few: masks are made of them on the device.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from pfvit.data.face_batch import onto

PRIMES = (1_000_003, 998_244_353)  # spread neighbouring (seed, step) pairs over the generator's seeds


class Draws:
    """The random numbers of one step, one row per face of the whole batch."""

    def __init__(self, seed: int, step: int, batch: int, place: list[int]):
        self.batch, self.place = batch, place
        self.generator = torch.Generator().manual_seed((seed * PRIMES[0] + step) % PRIMES[1] + (seed << 32))

    def uniform(self, *shape: int) -> Float[Tensor, "rows ..."]:
        """Draw from [0, 1) for each of this rank's rows."""
        return torch.rand(self.batch, *shape, generator=self.generator)[self.place]

    def between(self, low: float, high: float, *shape: int) -> Float[Tensor, "rows ..."]:
        """Draw from [low, high)."""
        return low + (high - low) * self.uniform(*shape)

    def shared_normal(self, *shape: int) -> Float[Tensor, "..."]:
        """Draw normal numbers that all rows of the step share."""
        return torch.randn(*shape, generator=self.generator)


def placed(value: Tensor, like: Tensor) -> Tensor:
    """Return what was drawn with another tensor's type and on its device, without waiting for the device."""
    return onto(value.to(like.dtype), like.device)


def to_unit(image: UInt8[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch channels high wide"]:
    """Turn bytes into pixels in [-1, 1]."""
    return image.float() / 127.5 - 1


def to_bytes(face: Float[Tensor, "batch channels high wide"]) -> UInt8[np.ndarray, "batch high wide channels"]:
    """Turn pixels in [-1, 1] (others are cut off) into bytes as picture files hold them."""
    return ((face.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def warp(
    face: Float[Tensor, "batch channels high wide"],
    zoom: Float[Tensor, " batch"],
    angle: Float[Tensor, " batch"],
    shift: Float[Tensor, "batch 2"],
    flip: Float[Tensor, " batch"],
    window: Float[Tensor, "batch 2"] | None = None,
) -> Float[Tensor, "batch channels high wide"]:
    """Zoom in by a factor, turn by radians, shift by shares of the side (x, y), and mirror where `flip` is 1.

    Bilinear; pixels beyond the edge repeat it. `window` is the square within each picture that frames a face as the
    others are framed (`face_batch.Window`): that is what is zoomed and turned.
    """
    mirror = 1 - 2 * flip
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    matrix = torch.stack([cosine * mirror, -sine, -2 * shift[:, 0], sine * mirror, cosine, -2 * shift[:, 1]])
    return resample(face, matrix if window is None else within(matrix, window))


def within(matrix: Float[Tensor, "6 batch"], window: Float[Tensor, "batch 2"]) -> Float[Tensor, "6 batch"]:
    """Return the map into pictures that a map (`resample`) into their windows stands for."""
    side, down = placed(window, matrix).unbind(1)
    matrix = matrix * side
    matrix[5] += down
    return matrix


def resample(
    face: Float[Tensor, "batch channels high wide"], matrix: Float[Tensor, "6 batch"]
) -> Float[Tensor, "batch channels high wide"]:
    """Take the pixel at (x, y) from (a x + b y + c, d x + e y + f), where `matrix` holds a to f of each face.

    x and y go from -1 to 1 between the picture's edges. Bilinear; pixels beyond the edge repeat it.
    """
    matrix = placed(matrix, face)
    _, _, height, width = face.shape
    x = (torch.arange(width, device=face.device, dtype=face.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=face.device, dtype=face.dtype) * 2 + 1) / height - 1
    # As F.affine_grid, but with x and y of a row side by side as they lie in memory: many times faster on a processor.
    across = torch.stack([matrix[i][:, None] * x + matrix[i + 2][:, None] for i in (0, 3)], dim=2).flatten(1)
    down = matrix[[1, 4]].T.repeat(1, width)
    grid = (y[:, None] * down[:, None]).add_(across[:, None]).unflatten(2, (width, 2))
    return F.grid_sample(face, grid, padding_mode="border", align_corners=False)


def geometry(
    face: Float[Tensor, "batch channels high wide"],
    draws: Draws,
    zoom: tuple[float, float],
    degrees: float,
    shift: float,
    window: Float[Tensor, "batch 2"] | None = None,
) -> Float[Tensor, "batch channels high wide"]:
    """Warp each face at random: zoom between the given two, turn and shift up to the given amounts, flip half."""
    low, high = (math.log(z) for z in zoom)
    return warp(
        face,
        zoom=draws.between(low, high).exp(),
        angle=draws.between(-degrees, degrees) * (math.pi / 180),
        shift=draws.between(-shift, shift, 2),
        flip=(draws.uniform() < 0.5).float(),
        window=window,
    )


def tone(
    face: Float[Tensor, "batch channels high wide"], draws: Draws, brightness: float, contrast: float
) -> Float[Tensor, "batch channels high wide"]:
    """Shift brightness by up to `brightness` (of a range of 2) and scale contrast by up to 1 +- `contrast`."""
    per_face = (-1, 1, 1, 1)
    scale = placed(draws.between(1 - contrast, 1 + contrast).reshape(per_face), face)
    offset = placed(draws.between(-brightness, brightness).reshape(per_face), face)
    middle = face.mean(dim=(1, 2, 3), keepdim=True)
    return ((face - middle) * scale + middle + offset).clamp(-1, 1)


def erase(
    face: Float[Tensor, "batch channels high wide"], draws: Draws, share: float, area: tuple[float, float]
) -> Float[Tensor, "batch channels high wide"]:
    """Fill one rectangle of `share` of the faces with their mean (random erasing, Zhong et al., 2020)."""
    size = draws.between(*area)
    ratio = draws.between(math.log(0.5), math.log(2)).exp()
    half_height, half_width = (size * ratio).sqrt() / 2, (size / ratio).sqrt() / 2
    centre_y, centre_x = draws.uniform(), draws.uniform()
    chosen = (draws.uniform() < share).nonzero().flatten()  # the others are not touched
    box = (half_height, half_width, centre_y, centre_x)
    hole = _rectangle(face, *(value[chosen] for value in box))[:, None]
    chosen = onto(chosen, face.device)
    some = face[chosen]
    return face.index_copy(0, chosen, torch.where(hole, some.mean(dim=(1, 2, 3), keepdim=True), some))


def kept_paths(draws: Draws, depth: int, highest: float) -> Float[Tensor, "rows depth 2"] | None:
    """Draw the scale of attention and MLP of each block for each face: 0 with the block's rate p, else 1 / (1 - p).

    Stochastic depth (Huang et al., arXiv 1603.09382), with p growing from 0 at the first block to `highest`; None if
    that is 0.
    """
    if not highest:
        return None
    kept = 1 - torch.linspace(0, highest, depth)[:, None]
    return (draws.uniform(depth, 2) < kept) / kept


def drawn_label(target: Float[Tensor, "batch classes"], draws: Draws) -> Float[Tensor, "batch classes"]:
    """Draw one emotion per face from its distribution: FER+'s probabilistic label drawing."""
    point = onto(draws.uniform(), target.device)
    # The last of equal sums could be an emotion without votes where rounding leaves the sum just below 1.
    reached = (target.cumsum(1) > point[:, None] * target.sum(1, keepdim=True)).to(torch.uint8)
    return F.one_hot(reached.argmax(1), target.shape[1]).to(target)


def mixup(
    face: Float[Tensor, "batch channels high wide"],
    target: Float[Tensor, "batch classes"],
    draws: Draws,
    share: float,
    cut: float = 0.0,
) -> tuple[Float[Tensor, "batch channels high wide"], Float[Tensor, "batch classes"]]:
    """Mix each face, and its target as much, with the one before it in the batch (the first with the last).

    `share` of the faces are blended (mixup, Zhang et al., arXiv 1710.09412; alpha 1); `cut` of the faces, others than
    those, get a rectangle of that face (CutMix, Yun et al., arXiv 1905.04899; alpha 1).
    """
    kind, weight = draws.uniform(), draws.uniform()
    blended, pasted = kind < share, (kind >= share) & (kind < share + cut)
    own = placed(torch.where(blended, torch.maximum(weight, 1 - weight), 1.0), face)
    picture = own[:, None, None, None]
    before, before_target = face.roll(1, 0), target.roll(1, 0)
    mixed = face * picture + before * (1 - picture)
    if cut:
        half = (1 - weight).sqrt() / 2
        hole = _rectangle(face, half, half, draws.uniform(), draws.uniform())
        hole &= onto(pasted, face.device)[:, None, None]
        mixed = torch.where(hole[:, None], before, mixed)
        own = own - hole.float().mean(dim=(1, 2)).to(own)
    return mixed, target * own[:, None] + before_target * (1 - own[:, None])


def _rectangle(
    face: Float[Tensor, "batch channels high wide"],
    half_height: Float[Tensor, " rows"],
    half_width: Float[Tensor, " rows"],
    centre_y: Float[Tensor, " rows"],
    centre_x: Float[Tensor, " rows"],
) -> Bool[Tensor, "rows high wide"]:
    """Return which pixels of a picture as large as `face`'s lie in each rectangle; all are shares of its sides."""
    _, _, height, width = face.shape
    edges = torch.stack([half_height, half_width, centre_y, centre_x])
    half_height, half_width, centre_y, centre_x = onto(edges, face.device)
    y = (torch.arange(height, device=face.device) + 0.5) / height
    x = (torch.arange(width, device=face.device) + 0.5) / width
    inside_y = (y - centre_y[:, None]).abs() < half_height[:, None]
    inside_x = (x - centre_x[:, None]).abs() < half_width[:, None]
    return inside_y[:, :, None] & inside_x[:, None, :]

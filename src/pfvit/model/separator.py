"""Representation -> emotion + residue (paper, section III; docs/paper.md, section 1.3): one class for each kind."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.transformer import LAYER_NORM_EPS, initialise

PROJECTION_EPS = 1e-6
SUBSPACE_SHARE = 4  # the shared subspace has a quarter of the width


class Separated(NamedTuple):
    """The two components of a representation; they add up to it."""

    emotion: Float[Tensor, "batch tokens width"]
    residue: Float[Tensor, "batch tokens width"]


class Separator(nn.Module):
    """Split a representation into an emotional component and the residue.

    As it is, everything is emotion and the residue is 0: the plain classifier to compare with.
    """

    def __init__(self, width: int):
        super().__init__()

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Separated:
        """Return emotion and residue; their sum is the representation up to one float32 rounding."""
        with torch.autocast(tokens.device.type, enabled=False):  # small inner products: bf16 would lose orthogonality
            tokens = tokens.float()
            emotion = self.emotion(tokens)
            return Separated(emotion, residue=tokens - emotion)

    def emotion(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Return the emotional component: here the whole representation."""
        return tokens

    def prepare_export(self) -> None:
        """Get ready for export, after which the separator is not trained again."""


class SoftSeparator(Separator):
    """An unconstrained network of two layers, which needs the orthogonality loss."""

    def __init__(self, width: int):
        super().__init__(width)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)
        self.apply(initialise)

    def emotion(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Return u = W2 gelu(W1 norm(z)) of each token z."""
        return self.fc2(F.gelu(self.fc1(self.norm(tokens))))


class ProjectionSeparator(SoftSeparator):
    """Each token is projected on a direction computed from it: the residue is orthogonal to the emotion."""

    def emotion(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Return <z, u> / (<u, u> + eps) u of each token z, with the soft separator's u."""
        direction = super().emotion(tokens)
        along = (tokens * direction).sum(-1, keepdim=True)
        return along / (direction.square().sum(-1, keepdim=True) + PROJECTION_EPS) * direction


class SubspaceSeparator(Separator):
    """Tokens are projected on one subspace that all share: the residue is orthogonal to the emotion."""

    def __init__(self, width: int):
        super().__init__(width)
        self.orthonormal = False
        self.basis = nn.Parameter(nn.init.orthogonal_(torch.empty(width, width // SUBSPACE_SHARE)))

    def emotion(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Return Q Q^T z of each token z, where Q are orthonormal axes of the basis."""
        axes = self.basis if self.orthonormal else torch.linalg.qr(self.basis).Q
        return (tokens @ axes) @ axes.T

    @torch.no_grad()
    def prepare_export(self) -> None:
        """Make the basis orthonormal once and for all: QR is no ONNX operator."""
        self.basis.copy_(torch.linalg.qr(self.basis).Q)
        self.orthonormal = True


SEPARATORS: dict[str, type[Separator]] = {
    "projection": ProjectionSeparator,
    "subspace": SubspaceSeparator,
    "soft": SoftSeparator,
    "none": Separator,
}

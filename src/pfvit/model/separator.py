"""Representation -> emotion + residue (paper, section III; PAPER 1.3)."""

from typing import Literal, NamedTuple

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
    """Take the emotion out of a representation, and keep the rest.

    `projection`: each token is projected on a direction computed from it, so the residue is orthogonal to the
    emotion by construction. `subspace`: one subspace, shared by all tokens, likewise orthogonal. `soft`: an
    unconstrained network, which needs the orthogonality penalty. `none`: all is emotion and the residue is empty, which
    is the plain classifier to compare with.
    """

    def __init__(self, width: int, kind: Literal["projection", "subspace", "soft", "none"] = "projection"):
        super().__init__()
        self.kind = kind
        self.frozen = False
        if kind == "subspace":
            basis = torch.empty(width, width // SUBSPACE_SHARE)
            self.basis = nn.Parameter(nn.init.orthogonal_(basis))
        elif kind != "none":
            self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
            self.fc1 = nn.Linear(width, width)
            self.fc2 = nn.Linear(width, width)
            self.apply(initialise)

    @torch.no_grad()
    def freeze(self) -> None:
        """Make the shared subspace's axes orthonormal once and for all, for export: QR is no ONNX operator."""
        if self.kind == "subspace":
            self.basis.copy_(torch.linalg.qr(self.basis).Q)
        self.frozen = True

    def forward(self, whole: Float[Tensor, "batch tokens width"]) -> Separated:
        """Return emotion and residue; emotion + residue is the whole up to one float32 rounding."""
        with torch.autocast(whole.device.type, enabled=False):  # small inner products: bf16 would lose orthogonality
            whole = whole.float()
            emotion = self._emotion(whole)
            return Separated(emotion, residue=whole - emotion)

    def _emotion(self, whole: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        if self.kind == "none":
            return whole
        if self.kind == "subspace":
            axes = self.basis if self.frozen else torch.linalg.qr(self.basis).Q
            return (whole @ axes) @ axes.T
        direction = self.fc2(F.gelu(self.fc1(self.norm(whole))))
        if self.kind == "soft":
            return direction
        along = (whole * direction).sum(-1, keepdim=True)
        return along / (direction.square().sum(-1, keepdim=True) + PROJECTION_EPS) * direction

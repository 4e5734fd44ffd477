"""Face -> real or made, and which emotion (paper, section III; PAPER 1.5)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pfvit.model.encoder import Encoder
from pfvit.model.transformer import initialise


class Verdict(NamedTuple):
    """What the discriminator says of a face; realism is positive for real, negative for made."""

    realism: Float[Tensor, " batch"]
    patch_realism: Float[Tensor, "batch patches"]
    emotion_logits: Float[Tensor, "batch classes"]
    features: Float[Tensor, "batch tokens width"]
    penalty: Float[Tensor, ""]


class Discriminator(nn.Module):
    """A ViT of its own with three heads: realism of the face, realism of each patch, emotion."""

    def __init__(self, backbone: Encoder, classes: int):
        super().__init__()
        width = backbone.cls_token.shape[2]
        self.backbone = backbone
        self.realism = nn.Linear(width, 1)
        self.patch_realism = nn.Linear(width, 1)
        self.emotion = nn.Linear(2 * width, classes)
        for head in (self.realism, self.patch_realism, self.emotion):
            head.apply(initialise)
        self.train()

    def train(self, mode: bool = True) -> "Discriminator":
        """Switch as every module does, but keep the statistics of a convolutional stem as they came.

        Its batches hold real faces, or made ones, or both: their statistics would give away which.
        """
        super().train(mode)
        self.backbone.patch_embed.eval()
        return self

    def forward(self, face: Float[Tensor, "batch channels high wide"], penalise: bool = False) -> Verdict:
        """Judge faces with pixels in [-1, 1].

        With `penalise`, also return R1 (Mescheder et al., 2018): the mean squared gradient norm of realism by the
        pixels. It lives in this forward, in float32, because autocast and wrapped modules break double backward.
        """
        if not penalise:
            return self._judge(face)
        # The fused attention kernels have no second derivative, the written-out one has.
        plain = sdpa_kernel(SDPBackend.MATH)
        with torch.autocast(face.device.type, enabled=False), torch.enable_grad(), plain:
            face = face.float().requires_grad_()
            verdict = self._judge(face)
            total = verdict.realism.sum() + verdict.patch_realism.mean(dim=1).sum()
            (slope,) = torch.autograd.grad(total, face, create_graph=True)
            return verdict._replace(penalty=slope.square().sum(dim=(1, 2, 3)).mean())

    def _judge(self, face: Float[Tensor, "batch channels high wide"]) -> Verdict:
        tokens = self.backbone(face)
        patches = tokens[:, 1:]
        return Verdict(
            realism=self.realism(tokens[:, 0]).squeeze(-1),
            patch_realism=self.patch_realism(patches).squeeze(-1),
            emotion_logits=self.emotion(torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)),
            features=tokens,
            penalty=tokens.new_zeros(()),
        )

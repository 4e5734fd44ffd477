"""Face -> real or generated, and which emotion (paper, section III; docs/paper.md, section 1.5)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pfvit.model.encoder import Encoder
from pfvit.model.transformer import initialise


class DiscriminatorOutput(NamedTuple):
    """What the discriminator says of faces. Realism is a score: positive for real, negative for generated.

    `features` are the backbone's last tokens, class token first; `r1` is 0 unless it was asked for.
    """

    realism: Float[Tensor, " batch"]
    patch_realism: Float[Tensor, "batch patches"]
    emotion_logits: Float[Tensor, "batch classes"]
    features: Float[Tensor, "batch tokens width"]
    r1: Float[Tensor, ""]

    def split(self, count: int) -> tuple["DiscriminatorOutput", "DiscriminatorOutput"]:
        """Return the output of the first `count` faces, and that of the others; both keep `r1`."""
        return self._rows(slice(count)), self._rows(slice(count, None))

    def _rows(self, rows: slice) -> "DiscriminatorOutput":
        return DiscriminatorOutput(
            self.realism[rows], self.patch_realism[rows], self.emotion_logits[rows], self.features[rows], self.r1
        )


class Discriminator(nn.Module):
    """A ViT with three heads: realism of the face, realism of each patch, emotion."""

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

        Its batches hold real faces, or generated ones, or both: their statistics would give away which.
        """
        super().train(mode)
        self.backbone.patch_embed.eval()
        return self

    def forward(self, face: Float[Tensor, "batch channels high wide"], with_r1: bool = False) -> DiscriminatorOutput:
        """Judge faces with pixels in [-1, 1].

        With `with_r1`, also return R1 (Mescheder et al., 2018): the mean squared gradient norm of realism by the
        pixels. It lives in this forward, in float32, because autocast and wrapped modules break double backward.
        """
        if not with_r1:
            return self._judge(face)
        # The fused attention kernels have no second derivative, the written-out one has.
        plain = sdpa_kernel(SDPBackend.MATH)
        with torch.autocast(face.device.type, enabled=False), torch.enable_grad(), plain:
            face = face.float().requires_grad_()
            output = self._judge(face)
            total = output.realism.sum() + output.patch_realism.mean(dim=1).sum()
            (gradient,) = torch.autograd.grad(total, face, create_graph=True)
            return output._replace(r1=gradient.square().sum(dim=(1, 2, 3)).mean())

    def _judge(self, face: Float[Tensor, "batch channels high wide"]) -> DiscriminatorOutput:
        tokens = self.backbone(face)
        patches = tokens[:, 1:]
        return DiscriminatorOutput(
            realism=self.realism(tokens[:, 0]).squeeze(-1),
            patch_realism=self.patch_realism(patches).squeeze(-1),
            emotion_logits=self.emotion(torch.cat([tokens[:, 0], patches.mean(dim=1)], dim=1)),
            features=tokens,
            r1=tokens.new_zeros(()),
        )

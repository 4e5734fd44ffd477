"""Emotional component -> emotion (paper, section III; docs/paper.md, section 1.6)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.transformer import LAYER_NORM_EPS

HEAD_STD = 0.01  # of the head's first weights (small as in MAE's fine-tuning, so that early logits are flat)


class Classifier(nn.Module):
    """Classify the emotion from the class token and the mean patch token of the emotional component alone."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.LayerNorm(2 * width, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(2 * width, classes)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def forward(self, component: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        return self.head(self.norm(torch.cat([component[:, 0], component[:, 1:].mean(dim=1)], dim=1)))

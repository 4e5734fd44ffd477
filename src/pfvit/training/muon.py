"""Muon: updates of matrices are orthogonalised (Jordan, kellerjordan.github.io/posts/muon), other weights take AdamW's.

`torch.optim.Muon` takes no convolutions, no vectors and no shards; this one optimizer takes all of a model's weights.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from pfvit.training.checkpoint import as_held

MOMENTUM = 0.95
#: Of the odd polynomial that moves singular values towards 1, and how often it is applied (Jordan).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
#: Gives an update the root mean square of AdamW's, for the same learning rate (Liu et al., arXiv 2502.16982).
ADAM_SIZE = 0.2
EPS = 1e-7


class Muon(AdamW):
    """Muon for groups in which `matrices` is true, AdamW for the others.

    A weight of more than two dimensions is taken as the matrix [first, all others] that a convolution multiplies by.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], betas: tuple[float, float], dtype: torch.dtype, fused: bool = False
    ):
        """Take groups as `AdamW` does; `dtype` is that of the iteration (bfloat16 suffices where it is fast)."""
        super().__init__([{"matrices": False, **group} for group in groups], betas=betas, fused=fused)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step. Sets the gradients of matrices to None, so that AdamW skips them."""
        if closure is not None:
            raise ValueError("Muon takes gradients as they are, not a closure")
        for group in self.param_groups:
            if not group["matrices"]:
                continue
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
                    weight.grad = None
        super().step()

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:  # `step` is there because AdamW looks for it when a state is loaded
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        nesterov = gradient.lerp(momentum, MOMENTUM)
        whole = nesterov.full_tensor() if hasattr(nesterov, "full_tensor") else nesterov  # of a shard, all
        flat = whole.flatten(1)
        update = orthogonal(flat, self.dtype) * (ADAM_SIZE * max(flat.shape) ** 0.5)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(as_held(update.reshape(whole.shape).to(weight.dtype), weight), alpha=-group["lr"])


def orthogonal(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a matrix with the same singular vectors and singular values near 1 (0.7 to 1.2), by Newton-Schulz."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / (x.norm() + EPS)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x

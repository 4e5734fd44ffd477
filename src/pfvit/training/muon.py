"""Muon: updates of matrices are orthogonalised (Jordan, kellerjordan.github.io/posts/muon), other weights take AdamW's.

`torch.optim.Muon` takes no convolutions, no vectors and no shards; this one optimizer takes all of a model's weights.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
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

    def __init__(self, groups: Iterable[dict[str, Any]], betas: tuple[float, float], dtype: torch.dtype):
        """Take groups as `AdamW` does; `dtype` is that of the iteration (bfloat16 suffices where it is fast)."""
        super().__init__([{"matrices": False, **group} for group in groups], betas=betas, fused=True)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step. Sets the gradients of matrices to None, so that AdamW skips them."""
        if closure is not None:
            raise ValueError("Muon takes gradients as they are, not a closure")
        for group in self.param_groups:
            if not group["matrices"]:
                continue
            for weights in alike([weight for weight in group["params"] if weight.grad is not None]):
                wholes = [self._direction(weight) for weight in weights]
                flats = [whole.flatten(1) for whole in wholes]
                single = len(flats) == 1
                updates = [orthogonal(flats[0], self.dtype)] if single else orthogonal(torch.stack(flats), self.dtype)
                for weight, whole, update in zip(weights, wholes, updates, strict=True):
                    update = (update * (ADAM_SIZE * max(update.shape) ** 0.5)).reshape(whole.shape)
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(as_held(update.to(weight.dtype), weight), alpha=-group["lr"])
                    weight.grad = None
        super().step()

    def _direction(self, weight: nn.Parameter) -> Tensor:
        """Return what a whole weight would follow, before its singular values are made alike."""
        gradient = cast(Tensor, weight.grad)
        state = self.state[weight]
        if not state:  # `step` is there because AdamW looks for it when a state is loaded
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        nesterov = gradient.lerp(momentum, MOMENTUM)
        return nesterov.full_tensor() if hasattr(nesterov, "full_tensor") else nesterov  # of a shard, all


def alike(weights: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield together the weights that are matrices of one shape: few, large products instead of many.

    Of shards each is gathered by itself, as all of them together may not fit.
    """
    stacks: dict[object, list[nn.Parameter]] = {}
    for number, weight in enumerate(weights):
        together = not hasattr(weight, "full_tensor")
        stacks.setdefault(weight.flatten(1).shape if together else number, []).append(weight)
    yield from stacks.values()


def orthogonal(matrix: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a matrix with the same singular vectors and singular values near 1 (0.7 to 1.2), by Newton-Schulz.

    `matrix` is [rows, columns], or several of them, [count, rows, columns].
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).to(dtype).contiguous()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPS)
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm  # sums in the pass that multiplies
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = add_product(x, add_product(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x

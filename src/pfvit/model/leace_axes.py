"""The subspace in which the emotion shows linearly in a representation (docs/paper.md, section 1.3).

A linear probe can tell classes apart on features if and only if their class means differ (Belrose et al., "LEACE",
arXiv 2306.03819, theorem 3.1). So if a subspace contains all differences of class means, no linear probe reads the
classes off what is orthogonal to it, up to what the sample did not show.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

#: Tokens, [batch, tokens, width], and the share of each class, [batch, classes].
Batches = Iterable[tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch classes"]]]
#: Directions that hold less than this share of the largest covariance are rounding.
ROUNDING = 1e-6


def leace_axes(batches: Batches, rank: int) -> Float[Tensor, "width rank"]:
    """Return orthonormal axes that span the covariance of representation and emotion.

    First the differences of class means of the class token and of the mean patch, which the classifier sees; then, as
    far as `rank` goes, the directions in which the single patches vary most with the emotion. ValueError without faces.
    """
    # The classes' sum is zero, so each covariance has rank classes - 1.
    covariance = _covariance(batches)
    pooled = torch.cat([covariance[0], covariance[1:].mean(0)], dim=1)
    first = torch.linalg.svd(pooled, full_matrices=False).U[:, : min(rank, 2 * (pooled.shape[1] // 2 - 1))]
    return _completed(first, covariance[1:], rank)


def leace_axes_of_sets(sets: Iterable[Batches], rank: int) -> Float[Tensor, "width rank"]:
    """Return orthonormal axes as `leace_axes` does, of tokens that are all patches, for each of several sets of faces.

    Classes are compared within each set, where they differ otherwise than between sets.
    """
    covariances = [_covariance(batches) for batches in sets]
    pooled = torch.cat([one.mean(0) for one in covariances], dim=1)
    found = torch.linalg.svd(pooled, full_matrices=False)
    first = found.U[:, ROUNDING * found.S[0] < found.S][:, :rank]
    return _completed(first, torch.cat(covariances, dim=2), rank)


def _covariance(batches: Batches) -> Float[Tensor, "tokens width classes"]:
    count, token_sum, target_sum, product = 0, 0.0, 0.0, 0.0
    for tokens, target in batches:
        tokens, target = tokens.double(), target.double()
        count += len(tokens)
        token_sum = token_sum + tokens.sum(0)
        target_sum = target_sum + target.sum(0)
        product = product + torch.einsum("btw,bc->twc", tokens, target)
    if not isinstance(product, Tensor):
        raise ValueError("there are no faces to fit the axes on")
    return product / count - torch.einsum("tw,c->twc", token_sum, target_sum) / count**2


def _completed(
    first: Float[Tensor, "width some"], covariance: Float[Tensor, "patches width classes"], rank: int
) -> Float[Tensor, "width rank"]:
    """Return `first` axes and those of the patches' covariance beyond them."""
    rest = covariance.permute(1, 0, 2).flatten(1)
    rest = rest - first @ (first.T @ rest)
    second = torch.linalg.svd(rest, full_matrices=False).U[:, : rank - first.shape[1]]
    return torch.linalg.qr(torch.cat([first, second], dim=1)).Q.float()


def logistic_regression(
    features: Float[Tensor, "faces width"], target: Float[Tensor, "faces classes"], penalty: float = 1e-3
) -> tuple[Float[Tensor, "classes width"], Float[Tensor, " classes"]]:
    """Return weight and bias of the linear classifier of least cross-entropy; `target` holds shares of classes.

    `penalty` is on the mean square of the weights of features scaled to a spread of 1.
    """
    with torch.enable_grad():
        middle, spread = features.mean(0), features.std(0) + 1e-6
        scaled = (features - middle) / spread
        weight = scaled.new_zeros(target.shape[1], scaled.shape[1]).requires_grad_()
        bias = scaled.new_zeros(target.shape[1]).requires_grad_()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = scaled @ weight.T + bias
            value = -(target * logits.log_softmax(1)).sum(1).mean() + penalty * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
    weight = weight.detach() / spread
    return weight, bias.detach() - weight @ middle

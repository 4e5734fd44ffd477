"""The losses of both stages, one function per equation of docs/paper.md, section 2. Pixels are in [-1, 1].

In the formulas x is the face, x_hat its reconstruction, x_poker its poker face, v_e and v_p emotion and residue, y the
target distribution over K emotions, and sg the stop-gradient. All losses are means over the batch, so that several
processes average to the joined batch.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

NORM_EPS = 1e-6  # of the per-patch normalised target (MAE's norm_pix_loss)

FaceBatch = Float[Tensor, "batch channels high wide"]
Tokens = Float[Tensor, "batch tokens width"]


def masked_reconstruction(
    predicted: Float[Tensor, "batch patches pixels"],
    target: Float[Tensor, "batch patches pixels"],
    hidden: Bool[Tensor, "batch patches"],
    norm_pix_loss: bool = False,
) -> Float[Tensor, ""]:
    """Stage one: the mean over hidden patches of mean (predicted - target)^2.

    With `norm_pix_loss`, each target patch is first normalised to mean 0 and variance 1.
    """
    predicted = predicted.float()
    if norm_pix_loss:
        centred = target - target.mean(-1, keepdim=True)
        target = centred / (target.var(-1, keepdim=True) + NORM_EPS).sqrt()
    error = (predicted - target).square().mean(-1)
    if error.device.type == "cpu":
        return error[hidden].mean()
    return torch.where(hidden, error, 0).sum() / hidden.sum()  # how many are picked, a GPU would have to tell first


def classification(
    logits: Float[Tensor, "batch classes"],
    target: Float[Tensor, "batch classes"],
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """L_cls = mean of -sum_k w_k y_k log p_k, for distributions y; the weights w are 1 if not given."""
    target = target if weights is None else target * weights
    return -(target * logits.float().log_softmax(-1)).sum(-1).mean()


def class_weights(counts: Sequence[int], power: float) -> Float[Tensor, " classes"]:
    """Return w_k proportional to n_k^-power, where n_k faces show class k, scaled so that the mean face weighs 1."""
    faces = torch.tensor(counts, dtype=torch.float64)
    weights = faces.clamp(min=1) ** -power
    return (weights * faces.sum() / (weights * faces).sum()).float()


def multi_label(logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """FER+'s multi-label loss = mean of -max_k over y_k > 0 of log p_k: one of the right emotions is enough."""
    right = logits.float().log_softmax(-1).masked_fill(target <= 0, -torch.inf)
    return -right.amax(-1).mean()


def reconstruction(reconstructed: FaceBatch, face: FaceBatch) -> Float[Tensor, ""]:
    """L_rec = mean |x_hat - x|."""
    return (reconstructed.float() - face).abs().mean()


def feature_matching(reconstructed: Tokens, real: Tokens) -> Float[Tensor, ""]:
    """The feature part of L_rec = mean |f(x_hat) - sg f(x)|."""
    return (reconstructed.float() - real.detach().float()).abs().mean()


def discriminator_hinge(real: Float[Tensor, "*shape"], fake: Float[Tensor, "*other"]) -> Float[Tensor, ""]:
    """L_D's realism = mean relu(1 - D(real)) + mean relu(1 + D(fake))."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def generator_hinge(fake: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """L_adv = -mean D(fake)."""
    return -fake.float().mean()


def neutral_identity(poker_face: FaceBatch, face: FaceBatch, neutral: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """L_self = mean of n |x_poker - x|, with n in [0, 1] how neutral a face already is.

    The mean is over the batch and not over its neutral faces.
    """
    change = (poker_face.float() - face).abs().mean(dim=(1, 2, 3))
    return (change * neutral).mean()


def residue_confusion(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """L_conf = KL(uniform || A(v_p)) = -log K - mean log a_k, where A is the probe."""
    logarithms = logits.float().log_softmax(-1)
    return -math.log(logits.shape[-1]) - logarithms.mean()


def orthogonality(emotion: Tokens, residue: Tokens) -> Float[Tensor, ""]:
    """L_orth = mean over tokens of cos(v_e, v_p)^2."""
    return F.cosine_similarity(emotion.float(), residue.float(), dim=-1).square().mean()


def cycle(residue: Tokens, residue_again: Tokens) -> Float[Tensor, ""]:
    """L_cyc's residue part = mean |sg v_p - v_p(E(x_poker))|."""
    return (residue.detach().float() - residue_again.float()).abs().mean()


def minimal_change(reconstructed: FaceBatch, poker_face: FaceBatch) -> Float[Tensor, ""]:
    """Mean |x_hat - x_poker|: change only what the expression changes."""
    return (reconstructed.float() - poker_face.float()).abs().mean()


def poker_target(
    target: Float[Tensor, "batch classes"], strength: Float[Tensor, " batch"], neutral: int
) -> Float[Tensor, "batch classes"]:
    """(1 - s) y + s onehot(neutral): the emotion of a face that lacks the share s in [0, 1] of its expression."""
    s = strength[:, None]
    neutral_target = torch.zeros_like(target)
    neutral_target[:, neutral] = 1
    return (1 - s) * target + s * neutral_target

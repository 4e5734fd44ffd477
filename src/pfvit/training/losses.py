"""The losses of both stages, one function per equation of PAPER.md section 2. Pixels are in [-1, 1]."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

NORM_EPS = 1e-6  # of the per-patch normalised target (MAE's norm_pix_loss)

Faces = Float[Tensor, "batch channels high wide"]
Tokens = Float[Tensor, "batch tokens width"]


def masked_reconstruction(
    drawn: Float[Tensor, "batch patches pixels"],
    target: Float[Tensor, "batch patches pixels"],
    hidden: Bool[Tensor, "batch patches"],
    normalise: bool = False,
) -> Float[Tensor, ""]:
    """Stage one: the mean over hidden patches of mean (drawn - target)^2.

    With `normalise`, each target patch is first brought to mean 0 and variance 1.
    """
    drawn = drawn.float()
    if normalise:
        centred = target - target.mean(-1, keepdim=True)
        target = centred / (target.var(-1, keepdim=True) + NORM_EPS).sqrt()
    error = (drawn - target).square().mean(-1)
    return error[hidden].mean()


def classification(logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """L_cls = mean of -sum_k y_k log p_k, for distributions y."""
    return -(target * logits.float().log_softmax(-1)).sum(-1).mean()


def any_right(logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """FER+'s multi-label loss = mean of -max_k over y_k > 0 of log p_k: to answer one of the right ones is enough."""
    right = logits.float().log_softmax(-1).masked_fill(target <= 0, -torch.inf)
    return -right.amax(-1).mean()


def reconstruction(drawn: Faces, face: Faces) -> Float[Tensor, ""]:
    """L_rec = mean |x_hat - x|."""
    return (drawn.float() - face).abs().mean()


def feature_matching(drawn: Tokens, real: Tokens) -> Float[Tensor, ""]:
    """The feature part of L_rec = mean |f(x_hat) - sg f(x)|."""
    return (drawn.float() - real.detach().float()).abs().mean()


def critic_hinge(real: Float[Tensor, "*shape"], made: Float[Tensor, "*other"]) -> Float[Tensor, ""]:
    """L_D's realism = mean relu(1 - D(x)) + mean relu(1 + D(made))."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + made.float()).mean()


def maker_hinge(made: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """L_adv = -mean D(made)."""
    return -made.float().mean()


def untouched(poker: Faces, face: Faces, neutral: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """L_self = mean of n |x_poker - x|, with n in [0, 1] how neutral a face already is.

    Over the batch and not over its neutral faces, so that several processes average to the joined batch.
    """
    change = (poker.float() - face).abs().mean(dim=(1, 2, 3))
    return (change * neutral).mean()


def confusion(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """L_conf = KL(uniform || A(v_p)) = -log K - mean log a_k: nothing about the emotion may be read off."""
    logarithms = logits.float().log_softmax(-1)
    return -math.log(logits.shape[-1]) - logarithms.mean()


def orthogonality(emotion: Tokens, residue: Tokens) -> Float[Tensor, ""]:
    """L_orth = mean over tokens of cos(v_e, v_p)^2."""
    return F.cosine_similarity(emotion.float(), residue.float(), dim=-1).square().mean()


def cycle(residue: Tokens, residue_again: Tokens) -> Float[Tensor, ""]:
    """L_cyc's residue part = mean |sg v_p - v_p(E(x_poker))|."""
    return (residue.detach().float() - residue_again.float()).abs().mean()


def small_change(drawn: Faces, poker: Faces) -> Float[Tensor, ""]:
    """Mean |x_hat - x_poker|: move only what the expression moves."""
    return (drawn.float() - poker.float()).abs().mean()


def dial_target(
    target: Float[Tensor, "batch classes"], strength: Float[Tensor, " batch"], neutral: int
) -> Float[Tensor, "batch classes"]:
    """(1 - s) y + s onehot(neutral): what the discriminator should see when a share s of the expression is gone."""
    s = strength[:, None]
    calm = torch.zeros_like(target)
    calm[:, neutral] = 1
    return (1 - s) * target + s * calm

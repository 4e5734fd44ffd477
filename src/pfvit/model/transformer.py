"""The vanilla vision transformer that every part shares: patches, fixed positions, attention, block.

Dosovitskiy et al., arXiv 2010.11929, with the fixed sine-cosine positions of MAE (He et al., arXiv 2111.06377).
Parameters are named as in timm, so that public ViT and MAE checkpoints fit without a mapping table.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-6  # that of ViT and MAE, not torch's 1e-5
MLP_RATIO = 4
MAX_PERIOD = 10_000.0  # wavelength base of the sine-cosine positions (Vaswani et al., 2017)


def patchify(face: Float[Tensor, "batch channels high wide"], size: int) -> Float[Tensor, "batch patches pixels"]:
    """Cut a face into patches in reading order, each flattened as (row, column, channel)."""
    batch, channels, height, width = face.shape
    grid = face.reshape(batch, channels, height // size, size, width // size, size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, size * size * channels)


def unpatchify(
    patches: Float[Tensor, "batch patches pixels"], size: int, channels: int
) -> Float[Tensor, "batch channels side side"]:
    """Join patches to square faces: the inverse of `patchify`."""
    batch, count, _ = patches.shape
    side = round(count**0.5)
    grid = patches.reshape(batch, side, side, size, size, channels)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, side * size, side * size)


def positions(width: int, side: int) -> Float[Tensor, "1 tokens width"]:
    """Return fixed 2-D sine-cosine positions of a side x side grid after one all-zero row for the class token.

    Half of the width encodes the column, half the row, as in MAE's `get_2d_sincos_pos_embed`.
    """
    frequency = 1 / MAX_PERIOD ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    line = torch.cat([angle.sin(), angle.cos()], dim=1)  # side, width / 2
    row = line[:, None].expand(side, side, -1)
    column = line[None].expand(side, side, -1)
    grid = torch.cat([column, row], dim=2).reshape(side * side, width)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), grid])[None].float()


def attend(
    q: Float[Tensor, "batch heads tokens part"],
    k: Float[Tensor, "batch heads others part"],
    v: Float[Tensor, "batch heads others part"],
) -> Float[Tensor, "batch heads tokens part"]:
    """Return softmax(q k^T / sqrt(part)) v, the scaled dot-product attention of Vaswani et al. (2017).

    On processors it is written out: torch's fused kernel has a backward pass many times slower in bfloat16.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Attend from every token to every token."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # each: batch, heads, tokens, width / heads
        attended = attend(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, width))


class CrossAttention(nn.Module):
    """Multi-head attention from one stream of tokens to another."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], other: Float[Tensor, "batch others width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Attend from every token to every token of the other stream."""
        batch, count, width = tokens.shape
        q = self.q(tokens).reshape(batch, count, self.heads, -1).transpose(1, 2)
        kv = self.kv(other).reshape(batch, other.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind()
        attended = attend(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Transform every token by itself."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """The pre-norm transformer block that encoder, generator and discriminator share."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], paths: Float[Tensor, "batch 2"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Apply attention and MLP, each residual and scaled by its column of `paths` (stochastic depth)."""
        attended = self.attn(self.norm1(tokens))
        tokens = tokens + (attended if paths is None else paths[:, 0, None, None] * attended)
        transformed = self.mlp(self.norm2(tokens))
        return tokens + (transformed if paths is None else paths[:, 1, None, None] * transformed)


def initialise(module: nn.Module) -> None:
    """Initialise weights as MAE does: Xavier-uniform linear layers (the patch projection as one), zero biases."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))  # flatten shares memory with the weight
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""Stage one: predict the hidden patches of a face from the others (He et al., arXiv 2111.06377; docs/paper.md, 3)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pfvit.model.encoder import TOKEN_STD, Encoder
from pfvit.model.transformer import LAYER_NORM_EPS, Block, initialise, positions


class Decoder(nn.Module):
    """Predict the pixels of a face from its tokens; starts the generator after pre-training."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        patch_size: int,
        encoder_width: int,
        width: int,
        depth: int,
        heads: int,
    ):
        super().__init__()
        self.patch_size, self.channels = patch_size, channels
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", positions(width, image_size // patch_size), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.pred = nn.Linear(width, patch_size * patch_size * channels)
        self.apply(initialise)
        nn.init.normal_(self.mask_token, std=TOKEN_STD)

    def fill(
        self, tokens: Float[Tensor, "batch kept_and_class encoder_width"], restore: Int[Tensor, "batch patches"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Embed the visible tokens and put mask tokens where patches were hidden."""
        tokens = self.embed(tokens)
        hidden = restore.shape[1] + 1 - tokens.shape[1]
        patches = torch.cat([tokens[:, 1:], self.mask_token.to(tokens.dtype).expand(len(tokens), hidden, -1)], dim=1)
        patches = patches.gather(1, restore[:, :, None].expand(-1, -1, patches.shape[2]))
        return torch.cat([tokens[:, :1], patches], dim=1)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch patches pixels"]:
        """Return the pixels of every patch, given embedded tokens of all positions."""
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens))[:, 1:]


class Mask(NamedTuple):
    """Which patches are visible: `kept` their indices, `restore` the inverse order, `hidden` true for the others."""

    kept: Int[Tensor, "batch kept"]
    restore: Int[Tensor, "batch patches"]
    hidden: Bool[Tensor, "batch patches"]


def mask_patches(noise: Float[Tensor, "batch patches"], ratio: float) -> Mask:
    """Hide the share `ratio` of each face's patches, those with the greatest noise."""
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    keep = round(noise.shape[1] * (1 - ratio))
    return Mask(kept=order[:, :keep], restore=restore, hidden=restore >= keep)


class Autoencoder(nn.Module):
    """The encoder sees the visible patches, the decoder predicts all of them."""

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(
        self, face: Float[Tensor, "batch channels high wide"], mask: Mask
    ) -> Float[Tensor, "batch patches pixels"]:
        """Return the predicted pixels of every patch of faces with pixels in [-1, 1]."""
        return self.decoder(self.decoder.fill(self.encoder(face, mask.kept), mask.restore))

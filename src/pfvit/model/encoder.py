"""Face -> complete representation: a vanilla ViT with fixed positions (paper, section III; PAPER 1.2)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfvit.model.transformer import LAYER_NORM_EPS, Block, ConvStem, PatchEmbed, initialise, positions

TOKEN_STD = 0.02  # of the learned tokens (ViT, MAE)


class Encoder(nn.Module):
    """Encode a face as a class token and one token per patch."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        stem: Sequence[int] = (),
        stem_residual: int = 1,
    ):
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"patches of {patch_size} px do not tile a face of {image_size} px")
        self.patch_size = patch_size
        if stem and patch_size != 2 ** len(stem):
            raise ValueError(f"a stem of {len(stem)} stages makes patches of {2 ** len(stem)} px, not {patch_size}")
        self.patch_embed: nn.Module
        if stem:
            self.patch_embed = ConvStem(stem, channels, width, stem_residual)
        else:
            self.patch_embed = PatchEmbed(patch_size, channels, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", positions(width, image_size // patch_size), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.apply(initialise)
        nn.init.normal_(self.cls_token, std=TOKEN_STD)

    def learn_positions(self) -> None:
        """Make the positions weights, the class token's included, as in the original ViT and in timm's."""
        start = self.pos_embed
        del self.pos_embed
        self.pos_embed = nn.Parameter(start.clone())

    def forward(
        self,
        face: Float[Tensor, "batch channels high wide"],
        kept: Int[Tensor, "batch kept"] | None = None,
        paths: Float[Tensor, "batch depth 2"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the representation of faces with pixels in [-1, 1], class token first.

        With `kept`, only these patches are seen (indices in reading order), as in masked pre-training. With `paths`,
        what each face keeps of both layers of each block (`augment.kept_paths`).
        """
        if kept is not None:
            face = self._hide(face, kept)
        tokens = self.patch_embed(face) + self.pos_embed[:, 1:]
        if kept is not None:
            tokens = tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))
        first = self.cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([first.expand(len(face), -1, -1), tokens], dim=1)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens) if paths is None else block(tokens, paths[:, number])
        return self.norm(tokens)

    def _hide(
        self, face: Float[Tensor, "batch channels high wide"], kept: Int[Tensor, "batch kept"]
    ) -> Float[Tensor, "batch channels high wide"]:
        """Gray out the patches that are not kept: a stem's convolutions look across the edges of patches."""
        side = face.shape[2] // self.patch_size
        seen = torch.zeros(len(face), side * side, device=face.device, dtype=face.dtype).scatter_(1, kept, 1.0)
        seen = seen.reshape(-1, 1, side, side).repeat_interleave(self.patch_size, 2)
        return face * seen.repeat_interleave(self.patch_size, 3)

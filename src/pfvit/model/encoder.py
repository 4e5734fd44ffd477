"""Face -> representation: a vanilla ViT with fixed positions (paper, section III; docs/paper.md, section 1.2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfvit.model.stems import Stem
from pfvit.model.transformer import LAYER_NORM_EPS, Block, initialise, positions

TOKEN_STD = 0.02  # of the learned tokens (ViT, MAE)


class Encoder(nn.Module):
    """Encode a face as a class token and one token per patch of its stem."""

    def __init__(self, stem: Stem, image_size: int, width: int, depth: int, heads: int):
        super().__init__()
        self.patch_size = stem.patch_size
        if image_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} px do not tile a face of {image_size} px")
        self.patch_embed = stem
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", positions(width, image_size // self.patch_size), persistent=False)
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

        With `kept`, only these patches are encoded (indices in reading order), as in masked pre-training. `paths`
        scales attention and MLP of each block for each face (stochastic depth, `augment.kept_paths`).
        """
        if kept is not None:
            face = self._hide(face, kept)
        tokens = self.patch_embed(face) + self.pos_embed[:, 1:]
        if kept is not None:
            tokens = tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))
        first = self.cls_token + self.pos_embed[:, :1]
        # Not len(face), which is one number for good in what torch.export traces.
        tokens = torch.cat([first.expand(face.shape[0], -1, -1), tokens], dim=1)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens) if paths is None else block(tokens, paths[:, number])
        return self.norm(tokens)

    def _hide(
        self, face: Float[Tensor, "batch channels high wide"], kept: Int[Tensor, "batch kept"]
    ) -> Float[Tensor, "batch channels high wide"]:
        """Set the patches that are not kept to 0: a stem's convolutions see across the edges of patches."""
        side = face.shape[2] // self.patch_size
        visible = torch.zeros(len(face), side * side, device=face.device, dtype=face.dtype).scatter_(1, kept, 1.0)
        visible = visible.reshape(-1, 1, side, side).repeat_interleave(self.patch_size, 2)
        return face * visible.repeat_interleave(self.patch_size, 3)

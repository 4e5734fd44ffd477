"""Sizes of the model."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Architecture:
    """Sizes of the five parts of PF-ViT and of the masked autoencoder that starts them."""

    image_size: int = 48
    """Side of the square face in pixels."""
    channels: int = 1
    """3 for colour, 1 for gray: other pictures are converted on the way in."""
    patch_size: int = 6
    """Side of a patch in pixels."""
    stem: tuple[int, ...] = ()
    """Channels of a convolutional stem's stages (a patch is then 2 ** stages pixels); none: the vanilla projection."""
    stem_residual: int = 1
    """Residual layers in each later stage of a convolutional stem."""
    width: int = 192
    """Width of the encoder's tokens."""
    depth: int = 6
    """Blocks in the encoder."""
    heads: int = 3
    """Attention heads in the encoder."""
    separator: Literal["projection", "subspace", "soft", "none"] = "projection"
    """How emotion and residue are parted (PAPER 1.3): per-token projection, shared subspace, free, not at all."""
    decoder_width: int = 128
    """Width of the generator's tokens."""
    decoder_depth: int = 4
    """Blocks in the generator; every second one also attends to the emotion."""
    decoder_heads: int = 4
    """Attention heads in the generator."""
    critic_depth: int = 4
    """Blocks in the discriminator, a ViT of the encoder's width that starts from the encoder's weights."""
    classes: int = 8
    """Emotions told apart: 7 or 8."""
    positions: Literal["fixed", "learned"] = "fixed"
    """Of the encoder's patches: MAE's fixed sines, or weights, as public ViT checkpoints have them."""

    @property
    def tokens(self) -> int:
        """Patches of one face, without the class token."""
        return (self.image_size // self.patch_size) ** 2

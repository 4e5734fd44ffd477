"""Sizes of the model."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Suppress

from pfvit.config.checks import at_least, flag
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError

POSITION_PARTS = 4  # of a token's width: sine and cosine of row and column


@dataclass(frozen=True)
class Architecture:
    """Sizes of the five parts of PF-ViT, and of the masked autoencoder that they start from."""

    image_size: int = 48
    """Side of the square face in pixels."""
    channels: int = 1
    """3 for colour, 1 for gray; pictures are converted."""
    patch_size: Annotated[int, Suppress] = 6
    """Side of a patch in pixels."""
    stem: Annotated[tuple[int, ...], Suppress] = ()
    """Channels of a convolutional stem's stages (a patch is then 2 ** stages pixels); none: the vanilla projection."""
    stem_residual: Annotated[int, Suppress] = 1
    """Residual layers in each later stage of a convolutional stem."""
    width: Annotated[int, Suppress] = 192
    """Width of the encoder's tokens."""
    depth: Annotated[int, Suppress] = 6
    """Blocks in the encoder."""
    heads: Annotated[int, Suppress] = 3
    """Attention heads in the encoder."""
    separator: Literal["projection", "subspace", "soft", "none"] = "projection"
    """How emotion and residue are separated: a projection per token, a shared subspace, soft (not constrained),
    none."""
    decoder_width: Annotated[int, Suppress] = 128
    """Width of the generator's tokens."""
    decoder_depth: Annotated[int, Suppress] = 4
    """Blocks in the generator; every second one also attends to the emotion."""
    decoder_heads: Annotated[int, Suppress] = 4
    """Attention heads in the generator."""
    discriminator_depth: Annotated[int, Suppress] = 4
    """Blocks in the discriminator, a ViT of the encoder's width that starts from the encoder's weights."""
    classes: int | None = None
    """Number of classes; those of the data if not given. 7 leaves contempt out."""
    positions: Literal["fixed", "learned"] = "fixed"
    """Position embeddings of the encoder: fixed (MAE's sines), or learned as in public ViT checkpoints."""

    PREFIX = "model."

    def __post_init__(self) -> None:
        at_least(1, self, "image_size", "patch_size", "width", "depth", "heads", "decoder_width", "decoder_depth")
        at_least(1, self, "decoder_heads", "discriminator_depth")
        at_least(0, self, "stem_residual")
        if self.channels not in (1, 3):
            raise UsageError(f"--model.channels must be 1 (gray) or 3 (colour), not {self.channels}")
        at_least(2, self, "classes")
        if self.image_size % self.patch_size:
            raise UsageError(
                f"patches of {self.patch_size} px do not tile a face of {self.image_size} px: choose another "
                "--model.image-size"
            )
        if self.stem and self.patch_size != 2 ** len(self.stem):
            raise UsageError(
                f"a stem of {len(self.stem)} stages makes patches of {2 ** len(self.stem)} px, not {self.patch_size}"
            )
        if self.stem and min(self.stem) < 1:
            raise UsageError(f"a stem's stages have 1 channel or more each, not {min(self.stem)}")
        for width, heads in (("width", "heads"), ("decoder_width", "decoder_heads")):
            size, parts = getattr(self, width), getattr(self, heads)
            if size % parts or size % POSITION_PARTS:
                several = f"a multiple of {POSITION_PARTS} and of {flag(heads, self)} {parts}"
                raise UsageError(f"{flag(width, self)} must be {several}, not {size}")

    @property
    def outputs(self) -> int:
        """Answers of the classifier: the eight emotions where the number of classes is not known yet."""
        return len(EIGHT) if self.classes is None else self.classes

    @property
    def tokens(self) -> int:
        """Patches of one face, without the class token."""
        return (self.image_size // self.patch_size) ** 2

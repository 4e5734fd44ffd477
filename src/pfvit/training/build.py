"""Make the parts of PF-ViT at the sizes of an architecture, with fresh weights."""

from pfvit.config import Architecture
from pfvit.model import Classifier, Decoder, Discriminator, Encoder, Generator, PFViT, Separator


def build_encoder(sizes: Architecture, depth: int | None = None) -> Encoder:
    """Make an encoder with fresh weights; `depth` overrides that of `sizes`."""
    encoder = Encoder(
        sizes.image_size,
        sizes.channels,
        sizes.patch_size,
        sizes.width,
        depth or sizes.depth,
        sizes.heads,
        sizes.stem,
        sizes.stem_residual,
    )
    if sizes.positions == "learned":
        encoder.learn_positions()
    return encoder


def build_decoder(sizes: Architecture) -> Decoder:
    """Make a decoder with fresh weights."""
    return Decoder(
        sizes.image_size,
        sizes.channels,
        sizes.patch_size,
        sizes.width,
        sizes.decoder_width,
        sizes.decoder_depth,
        sizes.decoder_heads,
    )


def build_pfvit(sizes: Architecture) -> PFViT:
    """Make a PF-ViT with fresh weights."""
    return PFViT(
        build_encoder(sizes),
        Separator(sizes.width, sizes.separator),
        Generator(build_decoder(sizes), sizes.decoder_heads),
        Classifier(sizes.width, sizes.classes),
    )


def build_discriminator(sizes: Architecture) -> Discriminator:
    """Make a discriminator with fresh weights: the encoder's shape, `critic_depth` blocks deep."""
    return Discriminator(build_encoder(sizes, depth=sizes.critic_depth), sizes.classes)

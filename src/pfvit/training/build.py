"""Make the parts of PF-ViT at the sizes of an architecture, with fresh weights."""

from pfvit.config import Architecture
from pfvit.model import SEPARATORS, Classifier, Decoder, Discriminator, Encoder, Generator, PFViT
from pfvit.model.stems import ConvStem, PatchEmbed


def build_encoder(sizes: Architecture, depth: int | None = None) -> Encoder:
    """Make an encoder with fresh weights; `depth` overrides that of `sizes`."""
    if sizes.stem:
        stem = ConvStem(sizes.stem, sizes.channels, sizes.width, sizes.stem_residual)
    else:
        stem = PatchEmbed(sizes.patch_size, sizes.channels, sizes.width)
    encoder = Encoder(stem, sizes.image_size, sizes.width, depth or sizes.depth, sizes.heads)
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
        SEPARATORS[sizes.separator](sizes.width),
        Generator(build_decoder(sizes), sizes.decoder_heads),
        Classifier(sizes.width, sizes.outputs),
    )


def build_discriminator(sizes: Architecture) -> Discriminator:
    """Make a discriminator with fresh weights: the encoder's shape, `discriminator_depth` blocks deep."""
    return Discriminator(build_encoder(sizes, depth=sizes.discriminator_depth), sizes.outputs)

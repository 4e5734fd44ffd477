"""Named settings: the paper's sizes for data centres, compact ones for two processor cores."""

from dataclasses import replace

from pfvit.config.architecture import Architecture
from pfvit.errors import UsageError

#: 64 tokens of 6 x 6 pixels through 2.7 M parameters: 0.35 GFLOP, about 4 ms on two cores. Gray, 48 px as FER2013.
COMPACT = Architecture()
#: The same faces through a convolutional stem: 36 tokens of 8 x 8 pixels, more accurate for the same time.
COMPACT_CONV = Architecture(patch_size=8, stem=(32, 64, 128), depth=3, separator="subspace", discriminator_depth=2)
#: The same with a wider and deeper stem, where most of the time goes.
SMALL_CONV = replace(COMPACT_CONV, stem=(48, 96, 192), stem_residual=2)
#: Colour faces of 112 px for two cores: 64 tokens of 14 x 14 pixels.
COMPACT_COLOUR = Architecture(image_size=112, channels=3, patch_size=14, width=256, heads=4, decoder_width=192)
#: Small enough for tests: seconds per run.
NANO = Architecture(
    image_size=24,
    patch_size=6,
    width=32,
    depth=2,
    heads=2,
    decoder_width=32,
    decoder_depth=2,
    decoder_heads=2,
    discriminator_depth=1,
)


def _paper(width: int, heads: int, decoder_width: int, decoder_depth: int, decoder_heads: int) -> Architecture:
    return Architecture(
        image_size=224,
        channels=3,
        patch_size=16,
        width=width,
        depth=12,
        heads=heads,
        decoder_width=decoder_width,
        decoder_depth=decoder_depth,
        decoder_heads=decoder_heads,
        discriminator_depth=12,
    )


ARCHITECTURES = {
    "compact": COMPACT,
    "compact-conv": COMPACT_CONV,
    "small-conv": SMALL_CONV,
    "compact-colour": COMPACT_COLOUR,
    "nano": NANO,
    # Encoder sizes: the authors' models/vit.py. Decoders: MAE's for base, ours for the others (docs/paper.md, 1.4).
    "paper-tiny": _paper(192, 3, 192, 4, 3),
    "paper-small": _paper(384, 6, 256, 4, 8),
    "paper-base": _paper(768, 12, 512, 8, 16),
}
SUMMARIES = {
    "compact": "48 px gray, patch 6, width 192 x 6: two cores, hours",
    "compact-conv": "48 px gray, convolutional stem, width 192 x 3: two cores, hours",
    "small-conv": "48 px gray, larger convolutional stem, width 192 x 3: two cores, hours; the shipped weights",
    "compact-colour": "112 px colour, patch 14, width 256 x 6: two cores, a day; or a GPU, minutes",
    "nano": "24 px gray, width 32 x 2: tests, seconds",
    "paper-tiny": "224 px colour, ViT-Tiny/16: a GPU; paper's MAE baseline reaches 88.67 on FER+",
    "paper-small": "224 px colour, ViT-Small/16: a GPU; paper's MAE baseline reaches 89.35 on FER+",
    "paper-base": "224 px colour, ViT-Base/16: a GPU, days; paper's MAE baseline reaches 90.18 on FER+",
}


def architecture(name: str) -> Architecture:
    """Return a preset by name; an unknown name raises UsageError that lists them."""
    if name not in ARCHITECTURES:
        raise UsageError(f"there is no preset {name!r}; choose from {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]

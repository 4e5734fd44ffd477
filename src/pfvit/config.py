"""The settings of every verb as frozen dataclasses: they are the command line, its help and the record of a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

DataPaths = tuple[Path, ...]
Precision = Literal["auto", "32", "bf16"]


@dataclass(frozen=True)
class Architecture:
    """Sizes of the five parts of PF-ViT and of the masked autoencoder that starts them."""

    image_size: int = 48
    """Side of the square face in pixels."""
    channels: int = 1
    """3 for colour, 1 for gray: other pictures are converted on the way in."""
    patch_size: int = 6
    """Side of a patch in pixels."""
    width: int = 192
    """Width of the encoder's tokens."""
    depth: int = 6
    """Blocks in the encoder."""
    heads: int = 3
    """Attention heads in the encoder."""
    separator: Literal["projection", "subspace", "soft"] = "projection"
    """How emotion and residue are parted (PAPER 1.3): per-token projection, shared subspace, or unconstrained."""
    decoder_width: int = 128
    """Width of the generator's tokens."""
    decoder_depth: int = 4
    """Blocks in the generator; every second one also attends to the emotion."""
    decoder_heads: int = 4
    """Attention heads in the generator."""
    critic_width: int = 128
    """Width of the discriminator's tokens."""
    critic_depth: int = 3
    """Blocks in the discriminator."""
    critic_heads: int = 4
    """Attention heads in the discriminator."""
    classes: int = 8
    """Emotions told apart: 7 or 8."""

    @property
    def tokens(self) -> int:
        """Patches of one face, without the class token."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class Info:
    """Print the size and cost of a preset, part by part."""

    preset: Positional[str] = "compact"
    """One of the presets; `pfvit info list` names them all."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Evaluate:
    """Measure recognition and poker faces on labelled faces, with 95% bootstrap intervals."""

    data: DataPaths
    """Parquet files with an image column and votes (the ten FER+ columns) or a `label` column."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is looked for beside it) or a training run; the shipped weights if not given."""
    judge: Path | None = None
    """A separately trained recogniser .onnx that says how neutral the poker faces look."""
    order: str = "ferplus"
    """What label 0, 1, 2, ... of a `label` column mean: ferplus, fer2013, rafdb, affectnet7, affectnet8."""
    protocol: Literal["clean", "official"] = "clean"
    """clean leaves out rows whose pixels are also in another split (`also_in`); official keeps them."""
    faces: bool = True
    """Also measure the poker faces; --no-faces for recognition alone."""
    batch: int = 64
    """Faces at a time."""
    json: bool = False
    """Print one JSON object instead of a table."""
    sheet: Path | None = None
    """Write a picture of faces, reconstructions, poker faces and expression maps here (PNG)."""


@dataclass(frozen=True)
class Predict:
    """Find faces in pictures and read their expressions."""

    paths: Positional[tuple[str, ...]]
    """Pictures, folders of pictures, or Parquet files with an image column."""
    json: bool = False
    """Print one JSON object per face and line on stdout, and nothing else there."""
    whole: bool = False
    """Take each picture as one face that is already cropped: no detection."""
    picture: Path | None = None
    """Write a picture per face into this folder: face, reconstruction, poker face and expression map."""
    weights: Path | None = None
    """A recogniser .onnx; the shipped weights if not given."""
    threads: int | None = None
    """Processor threads for the model; all cores if not given."""


@dataclass(frozen=True)
class Poker:
    """Take the expression off each face: one PNG per face, `<source stem>_<face>.png`."""

    paths: Positional[tuple[str, ...]]
    """Pictures, folders of pictures, or Parquet files with an image column."""
    out: Path
    """Folder for the PNG files; made if it is not there."""
    strength: float = 1.0
    """Share of the expression to remove: 0 leaves the face as it is, 1 gives the poker face."""
    whole: bool = False
    """Take each picture as one face that is already cropped: no detection."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is looked for beside it); the shipped weights if not given."""
    threads: int | None = None
    """Processor threads for the model; all cores if not given."""

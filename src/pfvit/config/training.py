"""Settings of the verbs that train: sizes, hardware, both stages, export."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pfvit.config.architecture import Architecture

DataPaths = tuple[Path, ...]
Precision = Literal["auto", "32", "bf16"]


@dataclass(frozen=True)
class Hardware:
    """What to run on; results do not depend on it beyond rounding."""

    devices: int = 1
    """Processes, each with its own GPU or sharing the processor; torchrun sets them itself."""
    precision: Precision = "auto"
    """auto is bf16 where the hardware is fast at it, else 32."""
    threads: int | None = None
    """Processor threads; all cores if not given."""
    workers: int = 0
    """Processes that decode pictures; 0 decodes between steps."""
    resident: bool = False
    """Decode all faces once and keep them in the device's memory, as bytes; needs workers 0."""
    compile: bool = False
    """Compile the models with torch.compile: minutes at the start, faster steps."""
    shard: bool = False
    """Part weights, gradients and optimizers over the processes (FSDP2) instead of a whole model in each (DDP)."""
    accumulate: int = 1
    """Pass each process's share of a step's batch in so many pieces: the same step in less memory."""
    recompute: bool = False
    """Keep no activations inside blocks and compute them again on the way back: less memory, a third slower."""


@dataclass(frozen=True)
class Training:
    """What both stages are asked for."""

    data: DataPaths
    """Parquet files, or folders of them, with an image column; stage two also needs votes (the ten FER+ columns) or a
    `label` column."""
    out: Path
    """Run folder: checkpoint, metrics.jsonl, TensorBoard board, sample sheets."""
    start: Path | None = None
    """What to start from; fresh weights if not given. A run folder of stage one (or, in stage two, of an earlier stage
    two), an exported NAME.safetensors or `shipped`, the one in a clone (stage two), or a public ViT or MAE checkpoint
    (timm's or facebookresearch's file, Hugging Face's folder)."""
    epochs: float = 30.0
    """Times that every face is seen."""
    warmup: float = 1.0
    """Epochs of linear warm-up."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon for all matrices but the last: more accurate in the same number of steps. Discriminators keep to adamw."""
    weight_decay: float = 0.05
    """Decay of matrices."""
    protocol: Literal["clean", "official"] = "clean"
    """clean leaves out rows whose pixels are also in another split (`also_in`)."""
    seed: int = 0
    """Of weights, order, masks and augmentation."""
    minutes: float | None = None
    """Stop cleanly with a checkpoint after so many minutes."""
    checkpoint_minutes: float = 5.0
    """Write a checkpoint this often."""
    log_every: int = 20
    """Write the losses every so many steps."""
    resume: bool = False
    """Continue the run in the run folder, bitwise as if it had never stopped."""
    model: Architecture = field(default_factory=Architecture)
    hardware: Hardware = field(default_factory=Hardware)


@dataclass(frozen=True)
class Pretrain(Training):
    """Stage one: masked autoencoding of unlabelled faces. Continue a stopped run with --resume."""

    batch: int = 128
    """Faces per step, over all processes."""
    rate: float = 1.0e-3
    """Peak learning rate per 256 faces."""
    mask_ratio: float = 0.75
    """Share of patches hidden."""
    normalise: bool = False
    """Per-patch normalised targets: better features, but the decoder can no longer start the generator."""
    zoom: tuple[float, float] = (1.0, 1.4)
    """Range of the random zoom."""
    degrees: float = 10.0
    """Largest random turn."""
    shift: float = 0.05
    """Largest random shift, as a share of the side."""
    clip: float = 3.0
    """Largest norm of the gradient."""
    evaluate_every: int = 500
    """Write a sample sheet every so many steps."""


@dataclass(frozen=True)
class Game:
    """Weights and settings of the poker-face game (PAPER 2); a weight of 0 leaves that term out."""

    batch: int = 24
    """Faces per step that play, the first of the step's batch."""
    every: int = 1
    """Play once every so many steps of recognition."""
    reconstruction: float = 1.0
    features: float = 0.05
    """Feature matching on the discriminator's last tokens."""
    adversary: float = 0.003
    """Realism of made faces. The slope of L1 is small beside the critics': weights near 1 would drown it."""
    emotion: float = 0.03
    """Discriminator's emotion head: calm poker faces, expressive reconstructions."""
    restraint: float = 1.0
    """The critics pull on a face at most so many times as hard as the L1 reconstruction does."""
    unmask: float = 0.5
    """The emotion head also learns the true emotion of calm faces: a texture that fools it gets found out."""
    untouched: float = 1.0
    """Faces that are neutral already stay as they are."""
    confusion: float = 0.1
    """Nothing about the emotion can be read off the residue."""
    orthogonality: float = 0.0
    """Needed by the soft separator only; the others are orthogonal by construction."""
    cycle: float = 0.0
    """The residue of the poker face, encoded again, is the residue of the face."""
    cycle_emotion: float = 0.0
    """The poker face, encoded again, is classified as neutral; looked at where `cycle` is."""
    small_change: float = 0.05
    """Move only what the expression moves."""
    penalty: float = 0.05
    """R1 on real faces (Mescheder et al., 2018); near 0.0002 pixels / batch, StyleGAN 2-ADA's rule of thumb."""
    penalty_every: int = 8
    """Games from one penalty to the next, which then counts as much more (lazily, as in StyleGAN 2)."""
    critic_stem_stays: bool = False
    """The discriminator's stem stays as the encoder's, and only what comes after it learns: a third of the time, and as
    steady as a projected GAN (Sauer et al., arXiv 2111.01007)."""
    encoder_share: float = 0.1
    """Scale of the game's gradient into the encoder."""
    alone: bool = False
    """Encoder, separator and classifier stay as they are; only the drawing is learnt, several times as fast."""
    start: float = 0.55
    """Share of the training before the critics enter; the discriminator starts as the encoder is then. 1: never."""
    ramp: float = 0.05
    """Share of the training over which the makers begin to listen to the critics."""
    rate: float = 2.0e-4
    """Peak learning rate of the discriminator, not scaled by the batch."""


@dataclass(frozen=True)
class Train(Training):
    """Stage two: recognition, separation and the poker-face game. Continue a stopped run with --resume."""

    validation: Path | None = None
    """Parquet file to look at while training; never trained on and never used to choose."""
    batch: int = 64
    """Faces per step, over all processes."""
    rate: float = 2.0e-3
    """Peak learning rate per 256 faces."""
    layer_decay: float = 0.75
    """Learning-rate factor per encoder layer below the top."""
    labels: Literal["votes", "majority", "mv", "ml", "pld", "cel"] = "votes"
    """Soft targets from the annotators' votes, or the majority alone; or the four schemes of the FER+ paper: majority
    voting, multi-label learning, probabilistic label drawing, cross-entropy loss (`data/votes.py`)."""
    order: str = "ferplus"
    """What label 0, 1, 2, ... of a `label` column mean: ferplus, fer2013, rafdb, affectnet7, affectnet8, expw,
    ckplus. Files of `pfvit prepare` need none."""
    smoothing: float = 0.05
    """Label smoothing."""
    mixup: float = 0.3
    """Share of faces blended with another in the recognition view."""
    cutmix: float = 0.0
    """Share of faces, of those that mixup leaves, with a rectangle of another (CutMix)."""
    drop_path: float = 0.0
    """Highest rate at which a face of the recognition view skips a layer; it grows from 0 at the encoder's first block
    to this at its last (stochastic depth)."""
    oversample: float = 0.0
    """How much more often rare emotions are shown: 0 shows every face once an epoch, 1 every emotion equally often."""
    erase: float = 0.3
    """Share of faces with a rectangle erased in the recognition view."""
    zoom: tuple[float, float] = (0.95, 1.25)
    """Range of the random zoom."""
    degrees: float = 12.0
    """Largest random turn."""
    shift: float = 0.06
    """Largest random shift, as a share of the side."""
    clip: float = 2.0
    """Largest norm of the gradient."""
    erase_at: float | None = None
    """Share of the training after which a `subspace` separator is set to where the emotion shows linearly (LEACE,
    arXiv 2306.03819), and kept there."""
    encoder_stays: bool = False
    """The encoder stays as it is, and what reads or draws from it learns, several times as fast: for refitting the
    classifier after --erase-at."""
    average: float = 0.999
    """EMA factor of the weights that are evaluated and exported; it rises to this over the first steps."""
    evaluate_every: int = 400
    """Look at the validation faces and write a sample sheet every so many steps."""
    game: Game = field(default_factory=Game)

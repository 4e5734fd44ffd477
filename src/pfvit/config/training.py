"""Settings of the verbs that train. What only recipes set (`config.recipes`) has no flag on the command line."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Suppress

from pfvit.config.architecture import Architecture
from pfvit.config.checks import (
    MOST_THREADS,
    at_least,
    below_one,
    check_best,
    check_folds,
    check_order,
    positive,
    within,
)
from pfvit.config.gan import Gan
from pfvit.config.several import ANY_NUMBER, Paths, Words
from pfvit.errors import UsageError

Precision = Literal["auto", "32", "bf16"]
#: What can be kept from learning. The discriminator's stem is a copy of the encoder's.
Part = Literal["encoder", "separator", "classifier", "discriminator_stem"]
MAX_SEED = 2**31 - 1
MOST_EPOCHS = 1_000_000
MOST_SIDE = 2.0  # of a window, as a share of a picture's side
#: Warm-up that is not given: an epoch, or this share of the training if that is less.
WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Hardware:
    """Hardware to run on. Results do not depend on it beyond rounding."""

    devices: int = 1
    """Number of processes, each with its own GPU or sharing the CPU; torchrun sets it itself."""
    precision: Precision = "auto"
    """auto is bf16 if the hardware is fast at it, else 32."""
    threads: int | None = None
    """CPU threads; all cores if not given."""
    workers: int = 0
    """Number of processes that decode pictures; 0 decodes between steps."""
    resident: bool = False
    """Decode all faces once and keep them in the device's memory, as bytes; needs workers 0."""
    compile: bool = False
    """Compile the models with torch.compile: minutes at the start, faster steps."""
    shard: bool = False
    """Shard weights, gradients and optimizers over the processes (FSDP2) instead of a whole model in each (DDP)."""
    accumulate: int = 1
    """Compute each process's share of a batch in this many pieces: the same step in less memory."""
    deterministic: Annotated[bool, Suppress] = False
    """On a GPU, use deterministic algorithms only, so that a resumed run is bitwise equal to an uninterrupted one: a
    third slower. On CPUs it always is."""
    recompute: Annotated[bool, Suppress] = False
    """Recompute the activations inside blocks in the backward pass (checkpointing): less memory, a third slower."""

    PREFIX = "hardware."

    def __post_init__(self) -> None:
        at_least(1, self, "devices", "accumulate")
        within(1, MOST_THREADS, self, "threads")
        at_least(0, self, "workers")
        if self.resident and self.workers:
            raise UsageError("--hardware.resident needs --hardware.workers 0: the faces are decoded already")


@dataclass(frozen=True)
class Training:
    """Settings of both stages."""

    data: Paths
    """Parquet files or folders of them, folders of class folders, or CSV lists of files and labels. Of a folder with
    parts, the training part is used. Stage one needs no labels."""
    out: Path
    """Run folder: checkpoint, metrics.jsonl, TensorBoard board, sample sheets."""
    start: Path | None = None
    """Weights to start from; random ones if not given. Stage one takes a run folder of stage one, or a public ViT
    or MAE checkpoint (timm's or facebookresearch's file, Hugging Face's folder). Stage two also takes a run folder
    of stage two, an exported NAME.safetensors, or `shipped` (in a clone)."""
    epochs: float = 30.0
    """How often each face is seen."""
    warmup: float | None = None
    """Epochs of linear warm-up; if not given, 1 or a tenth of the training, whichever is less."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon optimizes all matrices but the last: more accurate in the same number of steps. Discriminators use adamw."""
    weight_decay: Annotated[float, Suppress] = 0.05
    """Decay of matrices."""
    protocol: Literal["clean", "official"] = "clean"
    """clean leaves out rows whose pixels are also in another split (`also_in`)."""
    views: Literal["plain", "wild"] = "plain"
    """How faces are augmented. wild imitates users' pictures: every framing, turned, small, compressed, blurred, badly
    lit, partly covered (`data/wild.py`); stage one takes only the framing."""
    window: Words = ()
    """FILE=SIDE,DOWN for files with a wider view than the others, as in faces_color=0.92,-0.08: the square that frames
    the face. SIDE is a share of the picture's side; DOWN is how far below the middle the square is, in half sides."""
    seed: int = 0
    """Seed of weights, order, masks and augmentation."""
    minutes: float | None = None
    """Stop cleanly with a checkpoint after this many minutes."""
    checkpoint_minutes: float = 5.0
    """Minutes from one checkpoint to the next."""
    log_every: int = 20
    """Steps from one line of losses to the next."""
    resume: bool = False
    """Continue the run in the run folder, bitwise as if it had never stopped."""
    model: Architecture = field(default_factory=Architecture)
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        positive(self, "epochs", "minutes")
        within(0, MOST_EPOCHS, self, "epochs")
        at_least(0, self, "warmup", "weight_decay", "checkpoint_minutes")
        at_least(1, self, "log_every")
        within(0, MAX_SEED, self, "seed")
        self.windows()
        if self.warmup is not None and self.warmup > self.epochs:
            raise UsageError(
                f"--warmup {self.warmup:g} is more than --epochs {self.epochs:g}: --lr would never be reached"
            )

    def windows(self) -> dict[str, tuple[float, float]]:
        """Return {stem of a file's name: side and down} of --window; UsageError for words unlike faces=0.92,-0.08."""
        found = {}
        for word in self.window:
            name, _, numbers = word.rpartition("=")
            try:
                side, down = map(float, numbers.split(","))
            except ValueError:
                side = down = math.nan
            if not (name and 0 < side <= MOST_SIDE and abs(down) < 1):
                raise UsageError(f"--window takes FILE=SIDE,DOWN as in faces_color=0.92,-0.08, not {word}")
            found[Path(name).stem] = (side, down)
        return found

    @property
    def warmup_epochs(self) -> float:
        """Epochs over which the learning rate rises from 0."""
        return min(1.0, WARMUP_SHARE * self.epochs) if self.warmup is None else self.warmup


@dataclass(frozen=True)
class Pretrain(Training):
    """Stage one: masked autoencoding of unlabelled faces. Continue a stopped run with --resume."""

    batch: int = 128
    """Faces per step, over all processes."""
    lr: float = 1.0e-3
    """Peak learning rate per 256 faces."""
    mask_ratio: float = 0.75
    """Share of patches hidden."""
    norm_pix_loss: Annotated[bool, Suppress] = False
    """Per-patch normalised targets: better features, but the decoder can no longer start the generator."""
    zoom: Annotated[tuple[float, float], Suppress] = (1.0, 1.4)
    """Range of the random zoom."""
    degrees: Annotated[float, Suppress] = 10.0
    """Largest random rotation."""
    shift: Annotated[float, Suppress] = 0.05
    """Largest random shift, as a share of the side."""
    max_grad_norm: Annotated[float, Suppress] = 3.0
    """Gradients are clipped to this norm."""
    evaluate_every: Annotated[int, Suppress] = 500
    """Write a sample sheet every so many steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_views(self)
        within(0, 1, self, "mask_ratio")
        hidden = round(self.mask_ratio * self.model.tokens)
        if not 0 < hidden < self.model.tokens:
            raise UsageError(
                f"--mask-ratio {self.mask_ratio:g} hides {hidden} of {self.model.tokens} patches: some must be hidden "
                "and some seen"
            )


@dataclass(frozen=True)
class Train(Training):
    """Stage two: recognition, separation and generation. Continue a stopped run with --resume."""

    validation: Paths = ()
    """What to validate on during training, in the formats of --data; never trained on. Of a folder with parts, the
    validation or test part is used. Several sets have separate figures."""
    folds: int = 1
    """Cross-validation: train this many times, each time with another fold of --data held out, and report the figures
    together. Near duplicates are in the same fold."""
    fold: int | None = None
    """Train this one of --folds alone, counted from 1."""
    person: str = ""
    """With --folds: who is in a picture, so that all pictures of a person are in the same fold. A column; the number of
    a folder in the picture's path, 1 being the first; or a regular expression for the path, as in S[0-9]+. If not
    given, a column called person or subject."""
    best: str = ""
    """Also keep the checkpoint with the best figure of the validation, as best.safetensors: war, uar, loss,
    reconstruction, recall_NAME of a class, or war/NAME of one of several sets."""
    patience: int | None = None
    """Stop early when --best has not improved in this many validations in a row."""
    keep: Annotated[int, Suppress] = 0
    """Keep so many of the last checkpoints, as checkpoints/STEP.safetensors."""
    batch: int = 64
    """Faces per step, over all processes."""
    lr: float = 2.0e-3
    """Peak learning rate per 256 faces."""
    layer_decay: Annotated[float, Suppress] = 0.75
    """Learning-rate factor per encoder layer below the top."""
    labels: Literal["votes", "majority", "mv", "ml", "pld", "cel"] = "votes"
    """votes: soft targets from the annotators' votes. majority: only the emotion with the most votes. The others
    are the schemes of the FER+ paper: majority voting, multi-label learning, probabilistic label drawing,
    cross-entropy loss (`data/label_schemes.py`)."""
    order: Words = ()
    """What labels 0, 1, 2, ... mean if a file does not say it: ferplus, fer2013, rafdb, affectnet7, affectnet8, expw,
    ckplus, or the names of the classes. FER+'s order if not given."""
    label_smoothing: float = 0.05
    """Share of each target to spread over all emotions."""
    mixup: float = 0.3
    """Share of faces blended with another face, for recognition (mixup)."""
    cutmix: float = 0.0
    """Share of faces with a rectangle of another face (CutMix); such faces are not blended by mixup."""
    drop_path: Annotated[float, Suppress] = 0.0
    """Highest rate at which a face of the recognition view skips a layer; it grows from 0 at the encoder's first block
    to this at its last (stochastic depth)."""
    oversample: float = 0.0
    """How evenly emotions are shown: 0 shows every face once an epoch, 1 shows every emotion equally often."""
    class_weights: Annotated[float, Suppress] = 0.0
    """Weight of each class in the classification loss: its number of faces to the power of minus this, scaled so that
    the mean face weighs 1. 0: all alike, 0.5: inverse square root, 1: inverse frequency."""
    random_erasing: Annotated[float, Suppress] = 0.3
    """Share of faces with a rectangle erased in the recognition view."""
    zoom: Annotated[tuple[float, float], Suppress] = (0.95, 1.25)
    """Range of the random zoom."""
    degrees: Annotated[float, Suppress] = 12.0
    """Largest random rotation."""
    shift: Annotated[float, Suppress] = 0.06
    """Largest random shift, as a share of the side."""
    max_grad_norm: Annotated[float, Suppress] = 2.0
    """Gradients are clipped to this norm."""
    fit_emotion_subspace: Annotated[float | None, Suppress] = None
    """Share of the training after which a `subspace` separator is set to where the emotion shows linearly (LEACE,
    arXiv 2306.03819), and kept there."""
    freeze: Annotated[tuple[Part, ...], ANY_NUMBER] = ()
    """Parts that do not learn. With encoder, separator and classifier only the generator learns, several times as fast.
    A frozen discriminator_stem takes a third of the time, and is as stable as a projected GAN (arXiv 2111.01007)."""
    ema_decay: Annotated[float, Suppress] = 0.999
    """Decay of the averaged weights, which are evaluated and exported; it rises to this over the first steps."""
    teacher: Paths = ()
    """Distillation: also learn the mean answer of these teachers. Recognisers (NAME.onnx), run folders of `pfvit
    train`, or the answers that an earlier run stored (RUN/teachers.safetensors)."""
    teacher_share: Annotated[float, Suppress] = 0.5
    """Share of the teachers' answers in the targets of labelled faces; the rest is the labels."""
    mesh_points: Annotated[Path | None, Suppress] = None
    """Mesh points of the --unlabelled faces (experiments/mesh_points.py): between neutral and happiness their shape
    decides, not the teachers, since recognisers call mild smiles neutral (`training/smiles.py`)."""
    unlabelled: Paths = ()
    """Parquet files of faces that are learnt from the teachers alone; labels in them are ignored."""
    unlabelled_share: Annotated[float, Suppress] = 1 / 3
    """Share of each step's faces that comes from --unlabelled."""
    evaluate_every: Annotated[int, Suppress] = 400
    """Validate and write a sample sheet every so many steps."""
    gan: Gan = field(default_factory=Gan)

    def __post_init__(self) -> None:
        if not isinstance(self.validation, tuple):
            object.__setattr__(self, "validation", () if self.validation is None else (Path(self.validation),))
        super().__post_init__()
        _check_views(self)
        check_folds(self)
        check_best(self)
        within(0, 1, self, "mixup", "cutmix", "oversample", "class_weights", "random_erasing", "fit_emotion_subspace")
        below_one(self, "label_smoothing", "drop_path", "ema_decay")
        positive(self, "layer_decay")
        within(0, 1, self, "layer_decay", "teacher_share")
        if self.mixup + self.cutmix > 1:
            raise UsageError(f"--mixup {self.mixup:g} and --cutmix {self.cutmix:g} are shares: at most 1 together")
        check_order(self)
        if self.hardware.deterministic and self.labels == "pld":
            raise UsageError(
                "hardware.deterministic needs other --labels than pld, which no GPU draws deterministically"
            )
        if self.unlabelled and not self.teacher:
            raise UsageError("--unlabelled faces are learnt from teachers: name some with --teacher")
        if self.unlabelled and not 0 < self.batch - self.labelled_batch < self.batch:
            raise UsageError(
                f"--unlabelled-share {self.unlabelled_share:g} leaves one kind of faces out of a batch of "
                f"{self.batch}: take a share nearer to 0.5, or a larger --batch"
            )
        if self.mesh_points and not self.unlabelled:
            raise UsageError("mesh_points belong to --unlabelled faces: give those too, or leave mesh_points out")
        if self.teacher and self.labels == "ml":
            raise UsageError("--teacher needs other --labels than ml, where any emotion above zero counts as right")
        if self.labels == "ml" and (self.mixup or self.cutmix or self.label_smoothing):
            raise UsageError(
                "--labels ml needs --mixup 0 --cutmix 0 --label-smoothing 0: any emotion above zero counts as right"
            )
        if self.labels == "ml" and self.class_weights:
            raise UsageError("--labels ml needs class_weights 0: any emotion above zero counts as right")
        if {*self.freeze} - {"discriminator_stem"} and self.start is None:
            raise UsageError(f"--freeze {' '.join(self.freeze)} needs weights to keep: --start RUN")
        if self.generator_only and self.gan.every != 1:
            raise UsageError(
                "with encoder, separator and classifier in --freeze only the generator learns: --gan.every 1"
            )
        if self.fit_emotion_subspace is not None and (self.model.separator != "subspace" or "separator" in self.freeze):
            raise UsageError("fit_emotion_subspace needs --model.separator subspace, and no separator in --freeze")

    @property
    def generator_only(self) -> bool:
        """Whether nothing but the generator and the discriminator learns."""
        return {"encoder", "separator", "classifier"} <= {*self.freeze}

    @property
    def labelled_batch(self) -> int:
        """Labelled faces per step; they come first in it."""
        return self.batch - round(self.batch * self.unlabelled_share) if self.unlabelled else self.batch

    @property
    def gan_batch(self) -> int:
        """Faces per step that the generator draws: all of them where nothing else learns."""
        return self.batch if self.generator_only else min(self.gan.batch, self.batch)


def _check_views(config: Pretrain | Train) -> None:
    """Check what both stages make of a step."""
    at_least(1, config, "batch", "evaluate_every")
    positive(config, "lr", "max_grad_norm")
    within(0, 180, config, "degrees")
    below_one(config, "shift")
    if not isinstance(config.zoom, tuple | list) or len(config.zoom) != 2:
        raise UsageError(f"zoom must be two factors, the smallest and the largest, not {config.zoom}")
    if not 0 < config.zoom[0] <= config.zoom[1] < math.inf:
        raise UsageError(f"zoom must rise from a factor above 0, not from {config.zoom[0]:g} to {config.zoom[1]:g}")

"""Settings of the photo model's training."""

from dataclasses import dataclass, field
from pathlib import Path

from pfvit.config.checks import at_least, below_one, flag, positive, within
from pfvit.config.several import Paths
from pfvit.config.training import Hardware
from pfvit.errors import UsageError


@dataclass(frozen=True)
class PhotoWeights:
    """Weights of the photo model's loss terms, for pixels in [-1, 1]. docs/lab-book.md says why."""

    flow: float = 30.0
    """The flow follows the teacher's points. In the adversarial phase the weight falls to `flow_end` of this."""
    flow_end: float = 0.8
    """Share of the weight of the flow that remains at the end."""
    regions: float = 0.3
    """Mean position of brows, lids and mouth against their neutral places, each relative to its typical movement. Brows
    move by a tenth of what lips do, so that the flow alone teaches them next to nothing."""
    line: float = 30.0
    """Height above the line of the closed lips."""
    split_outside: float = 40.0
    """No split of the flow outside of the mouth, where corners would tear."""
    roughness: float = 60.0
    """Second differences of the flow, which should be smooth."""
    smooth_lips: float = 0.4
    """Share of `roughness` near the lips, where the flow must be more precise."""
    outside: float = 60.0
    """No flow outside the face."""
    still: float = 40.0
    """No flow on neutral faces."""
    unchanged: float = 20.0
    """Neutral faces keep their pixels."""
    light: float = 2.0
    """The change of brightness is small, smooth, inside the face, and zero for neutral faces."""
    reconstruction: float = 2.0
    """L1 of the drawing from both components."""
    poker_drawing: float = 1.0
    """L1 of the drawing from the residue alone to the moved photo."""
    classification: float = 0.3
    """Cross-entropy of the emotion."""
    forget: float = 0.2
    """An emotion probe on the residue answers the same for every face."""
    realism: float = 0.7
    """Adversarial loss of the whole face."""
    mouth_realism: float = 1.0
    """Adversarial loss of the mouth."""
    neutral: float = 0.5
    """The discriminators' neutral heads classify the poker face as neutral."""
    kept: float = 3.0
    """The maps of the earlier model of --keep."""


@dataclass(frozen=True)
class TrainPhoto:
    """Train the photo model in three phases: masked pre-training, movement from a teacher, adversarial training."""

    data: Paths
    """Parquet files of faces with an image column."""
    points: Path
    """Mesh points of these faces, as experiments/mesh_points.py writes them."""
    out: Path
    """Run folder: checkpoint, metrics.jsonl, sheets of faces."""
    start: Path | None = None
    """Run folder or .safetensors file with weights to start from; random weights if not given."""
    masked_faces: int = 840_000
    """Faces seen in masked pre-training."""
    movement_faces: int = 170_000
    """Faces seen while only the teacher's movement is learned."""
    adversarial_faces: int = 600_000
    """Faces seen in the adversarial phase."""
    batch: int = 64
    """Expressive faces per step; a quarter as many middling ones and neutral ones come with them."""
    masked_batch: int = 256
    """Faces per step of masked pre-training."""
    lr: float = 2.0e-4
    """Peak learning rate of the generator side."""
    encoder_lr: float = 0.5
    """Learning rate of the encoder, as a share of --lr."""
    fit_emotion_subspace: float = 0.5
    """Share of the movement and adversarial phases after which the subspace of the emotional component is computed in
    closed form (LEACE, arXiv 2306.03819). The encoder is frozen from then on, and each step is cheaper."""
    keep: Path | None = None
    """Run folder of an earlier photo model whose maps are kept on faces of colour sets, except around brows and
    lids. So a trained model can learn more (gray faces, another subspace, better brows) without losing what it does
    well."""
    discriminator_lr: float = 3.0e-4
    """Peak learning rate of the discriminators."""
    masked_lr: float = 1.2e-3
    """Peak learning rate of masked pre-training."""
    ema_decay: float = 0.998
    """Decay of the averaged weights, which are exported."""
    small_faces: float = 0.35
    """Share of expressive faces from gray data sets, which have the rarer expressions."""
    lip_reach: float = 0.6
    """How far inside the lips of an open mouth the photo is sampled, in rings of mesh points: the mesh lies on the
    edge of the teeth."""
    discriminator_widths: tuple[int, int, int, int] = (48, 96, 160, 256)
    """Channels of the discriminators."""
    seed: int = 0
    minutes: float | None = None
    """Stop cleanly with a checkpoint after this many minutes."""
    checkpoint_minutes: float = 5
    """Minutes from one checkpoint to the next."""
    log_every: int = 20
    """Steps from one line of losses to the next."""
    sheet_every: int = 400
    """Steps from one sheet of faces to the next."""
    resume: bool = False
    """Continue the run in the run folder."""
    limit: int | None = None
    """Use at most this many faces of each file, to try things out."""
    weights: PhotoWeights = field(default_factory=PhotoWeights)
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        at_least(0, self, "masked_faces", "movement_faces", "adversarial_faces", "encoder_lr", "lip_reach")
        at_least(4, self, "batch")
        at_least(1, self, "masked_batch", "log_every", "sheet_every", "limit")
        positive(self, "lr", "discriminator_lr", "masked_lr", "minutes", "checkpoint_minutes")
        below_one(self, "ema_decay")
        within(0, 1, self, "small_faces", "fit_emotion_subspace")
        if not (self.masked_faces or self.movement_faces or self.adversarial_faces):
            raise UsageError("there is nothing to train: give --masked-faces, --movement-faces or --adversarial-faces")
        sizes = {"masked": ("masked_batch", self.masked_batch), "movement": ("batch", self.faces_of_a_step)}
        for phase, (size, least) in (sizes | {"adversarial": sizes["movement"]}).items():
            if 0 < (faces := getattr(self, f"{phase}_faces")) < least:
                raise UsageError(
                    f"--{phase}-faces {faces} are too few for one step, which takes {least}: give more, 0 to leave the "
                    f"phase out, or a smaller {flag(size)}"
                )
        if self.hardware.devices != 1:
            raise UsageError("the photo model trains in one process: --hardware.devices 1")

    @property
    def faces_of_a_step(self) -> int:
        """Faces that a step takes after the masked phase: expressive, middling and neutral ones."""
        return self.batch + 2 * (self.batch // 4)

"""Settings of the adversarial stage. Most have no flag: recipes (`config.recipes`) and Python set them."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Suppress

from pfvit.config.checks import at_least, positive, within


@dataclass(frozen=True)
class Gan:
    """Settings of the adversarial stage (docs/paper.md, Losses). A weight of 0 leaves a term out."""

    batch: Annotated[int, Suppress] = 24
    """Faces per step that the generator draws: the first of the step's batch."""
    every: int = 1
    """Train generator and discriminator in every Nth step of recognition; 0 for never (a plain classifier)."""
    reconstruction: Annotated[float, Suppress] = 1.0
    """L1 between a face and its reconstruction."""
    feature_matching: Annotated[float, Suppress] = 0.05
    """L1 between the discriminator's last tokens of a face and of its reconstruction."""
    adversarial: Annotated[float, Suppress] = 0.003
    """Realism of generated faces. L1's gradient is small beside the discriminator's: near 1 this would drown it."""
    emotion: Annotated[float, Suppress] = 0.03
    """Discriminator's emotion head: neutral poker faces, expressive reconstructions."""
    max_adversarial_gradient: Annotated[float, Suppress] = 1.0
    """The discriminator's gradient on a face is clipped to so many times the norm of the L1 reconstruction's."""
    fake_emotion: Annotated[float, Suppress] = 0.5
    """The emotion head also learns the true emotion of poker faces: a texture that fools it is found out."""
    neutral_identity: Annotated[float, Suppress] = 1.0
    """Faces that are neutral already stay as they are."""
    residue_confusion: Annotated[float, Suppress] = 0.1
    """A probe reads no emotion off the residue."""
    orthogonality: Annotated[float, Suppress] = 0.0
    """Needed by the soft separator only; the others are orthogonal by construction."""
    cycle: Annotated[float, Suppress] = 0.0
    """The residue of the poker face, encoded again, is the residue of the face."""
    cycle_emotion: Annotated[float, Suppress] = 0.0
    """The poker face, encoded again, is classified as neutral; only where `cycle` is above 0."""
    minimal_change: Annotated[float, Suppress] = 0.05
    """L1 between reconstruction and poker face: change only what the expression changes."""
    r1: Annotated[float, Suppress] = 0.05
    """R1 on real faces (Mescheder et al., 2018); near 0.0002 pixels / batch, StyleGAN 2-ADA's rule of thumb."""
    r1_every: Annotated[int, Suppress] = 8
    """Discriminator steps from one R1 penalty to the next, which then weighs as many times (lazily, StyleGAN 2)."""
    encoder_gradient: Annotated[float, Suppress] = 0.1
    """Scale of the adversarial stage's gradient into the encoder."""
    discriminator_start: Annotated[float, Suppress] = 0.55
    """Share of the training before the discriminator enters, as a copy of the encoder as it is then; 1: never."""
    discriminator_ramp: Annotated[float, Suppress] = 0.05
    """Share of the training over which the weights of its terms rise from 0."""
    discriminator_lr: Annotated[float, Suppress] = 2.0e-4
    """Peak learning rate of the discriminator, not scaled by the batch."""

    PREFIX = "gan."

    def __post_init__(self) -> None:
        at_least(1, self, "batch", "r1_every")
        at_least(0, self, "every", "reconstruction", "feature_matching", "adversarial", "emotion", "fake_emotion")
        at_least(0, self, "max_adversarial_gradient", "neutral_identity", "residue_confusion", "orthogonality")
        at_least(0, self, "cycle", "cycle_emotion", "minimal_change", "r1")
        within(0, 1, self, "encoder_gradient", "discriminator_start", "discriminator_ramp")
        positive(self, "discriminator_lr")

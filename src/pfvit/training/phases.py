"""The losses of stage two's phases: the generator side learns in every step, the discriminator side where it is due."""

from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule as FabricModule
from torch import Tensor, cat

from pfvit.config import Train
from pfvit.training import distributed, losses
from pfvit.training.gan import DiscriminatorSide, discriminator_losses, generator_losses
from pfvit.training.loop import is_due
from pfvit.training.views import StepInputs


class GeneratorLosses:
    """Classification; in the steps of the adversarial stage also what `gan.generator_losses` returns.

    The weights of the discriminator's terms rise from 0 at the step `ramp_start`, over `ramp_steps` steps.
    """

    def __init__(
        self,
        side: FabricModule,
        opponent: DiscriminatorSide,
        fabric: Fabric,
        config: Train,
        ramp_start: int,
        steps: int,
        class_weights: Tensor | None = None,
    ):
        self.side, self.opponent, self.fabric, self.config = side, opponent, fabric, config
        self.class_weights = class_weights
        self.ramp_start, self.ramp_steps = ramp_start, max(1, round(config.gan.discriminator_ramp * steps))

    def __call__(self, inputs: StepInputs, step: int) -> dict[str, Tensor]:
        """Return the weighted losses; keeps what was generated in `inputs` for the discriminator's phase."""
        config = self.config
        for part in self.opponent.children():
            distributed.set_requires_grad(part, False)
        if not is_due(config.gan.every, step):
            logits, _ = self.side(inputs.view, paths=inputs.paths)
            return {"classification": self.classification(logits, inputs.view_target)}
        logits, generated = self.side(inputs.view, inputs.clean, inputs.strength, inputs.paths)
        inputs.generated = generated
        # Where only the generator learns, the logits are those of the clean faces and go into the log alone.
        seen = inputs.target if config.generator_only else inputs.view_target
        ramp = min(1.0, max(0, step - self.ramp_start) / self.ramp_steps)
        with self.fabric.autocast():
            terms = generator_losses(
                config.gan, self.opponent, generated, inputs.clean, inputs.target, inputs.strength, ramp
            )
        return {"classification": self.classification(logits, seen), **terms}

    def classification(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return L_cls in the form that the kind of labels asks for."""
        if self.config.labels == "ml":
            return losses.multi_label(logits, target)
        return losses.classification(logits, target, self.class_weights)


class DiscriminatorLosses:
    """Realism, emotion and probe, on real faces and on what the generator side made of them in the same step."""

    def __init__(self, side: FabricModule, bare: DiscriminatorSide, config: Train):
        self.side, self.bare, self.config = side, bare, config

    def __call__(self, inputs: StepInputs, step: int) -> dict[str, Tensor]:
        """Return the weighted losses, in every `gan.r1_every`-th turn with R1."""
        gan, generated = self.config.gan, inputs.generated
        if generated is None:
            raise RuntimeError("the discriminator's phase comes after the generator's")
        for part in self.bare.children():
            distributed.set_requires_grad(part, True)
        if "discriminator_stem" in self.config.freeze:
            self.bare.discriminator.backbone.patch_embed.requires_grad_(False)
        fakes = cat([generated.reconstruction, generated.poker_face]).detach()
        with_r1 = gan.r1 > 0 and is_due(gan.every * gan.r1_every, step)
        output = self.side(inputs.clean, fakes, generated.residue.detach(), with_r1)
        return discriminator_losses(gan, output, inputs.target, with_r1)

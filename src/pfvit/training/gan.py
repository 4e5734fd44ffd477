"""The adversarial stage: what each side computes in one step, and its weighted losses (docs/paper.md, sections 1.7, 2).

Two sides, each with its own optimizer. The *generator side* (encoder, separator, generator, classifier) recognises the
emotion, reconstructs the face and generates the poker face. The *discriminator side* tells generated faces from real
ones, recognises the emotion of real ones, and tries to read the emotion off the residue. Each side does one forward per
phase, so that it can be wrapped for DDP.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from pfvit.config import Gan
from pfvit.model import Classifier, Discriminator, DiscriminatorOutput, PFViT
from pfvit.training import losses

NEUTRAL_INDEX = 0  # of our label sets (pfvit.emotions.EIGHT)
FULL_STRENGTH = 0.7  # share of poker faces generated at strength 1; the others anywhere between 0 and 1
RECONSTRUCTION_SHARE = 0.5  # realism of reconstructions weighs half (docs/paper.md, section 2)


class Generated(NamedTuple):
    """What the generator side makes of the clean faces. The last two are there where the cycle losses need them."""

    residue: Float[Tensor, "play tokens width"]
    emotion: Float[Tensor, "play tokens width"]
    reconstruction: Float[Tensor, "play channels high wide"]
    poker_face: Float[Tensor, "play channels high wide"]
    residue_again: Float[Tensor, "play tokens width"] | None
    logits_again: Float[Tensor, "play classes"] | None


class GeneratorSide(nn.Module):
    """Encoder, separator, generator and classifier: one forward for recognition and generation.

    `freeze` names the parts among encoder, separator and classifier that do not learn. If all three are frozen, the
    recognition view is not looked at, and the logits are those of the clean faces.
    """

    def __init__(self, model: PFViT, gan: Gan, freeze: Collection[str] = ()):
        super().__init__()
        self.model, self.gan = model, gan
        parts = {"encoder": model.encoder, "separator": model.separator, "classifier": model.classifier}
        frozen = [name for name in parts if name in freeze]
        for name in frozen:
            parts[name].requires_grad_(False)
        self.encoder_frozen, self.generator_only = "encoder" in frozen, len(frozen) == len(parts)
        self.train()

    def train(self, mode: bool = True) -> "GeneratorSide":
        """Switch as every module does; a frozen encoder also keeps its batch-norm statistics."""
        super().train(mode)
        if self.encoder_frozen:
            self.model.encoder.eval()
        return self

    def forward(
        self,
        view: Float[Tensor, "batch channels high wide"],
        clean: Float[Tensor, "play channels high wide"] | None = None,
        strength: Float[Tensor, " play"] | None = None,
        paths: Float[Tensor, "batch depth 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], Generated | None]:
        """Return logits of the view and, given clean faces, their reconstruction and poker face.

        Pixels are in [-1, 1]; `strength` in [0, 1] is the share of the expression that the poker face lacks. With
        `paths`, faces of the view skip layers of the encoder (`augment.kept_paths`).
        """
        model, scale = self.model, self.gan.encoder_gradient
        if clean is None or strength is None:
            return model.recognise(view, paths), None
        if self.generator_only:
            emotion, residue = model.separator(model.encoder(clean))
            return model.classifier(emotion), self._generate(emotion, residue, strength)
        if paths is not None:
            paths = torch.cat([paths, paths.new_ones(len(clean), *paths.shape[1:])])
        tokens = model.encoder(torch.cat([view, clean]), paths=paths)
        of_view, of_clean = tokens[: len(view)], tokens[len(view) :]
        # The adversarial losses may harm recognition: they move the encoder at a fraction of their strength.
        of_clean = scale * of_clean + (1 - scale) * of_clean.detach()
        emotion, residue = model.separator(torch.cat([of_view, of_clean]))
        logits = model.classifier(emotion[: len(view)])
        return logits, self._generate(emotion[len(view) :], residue[len(view) :], strength)

    def _generate(self, emotion: Tensor, residue: Tensor, strength: Tensor) -> Generated:
        both = self.model.generator(
            emotion.repeat(2, 1, 1),
            residue.repeat(2, 1, 1),
            torch.cat([torch.zeros_like(strength), strength]),
        )
        reconstruction, poker_face = both.chunk(2)
        if not self.gan.cycle:
            return Generated(residue, emotion, reconstruction, poker_face, None, None)
        clipped = ClipGradient.apply(poker_face.float(), gradient_limit(self.gan, poker_face))
        again = self.model.separator(self.model.encoder(clipped))
        logits = self.model.classifier(again.emotion)
        return Generated(residue, emotion, reconstruction, poker_face, again.residue, logits)


def gradient_limit(gan: Gan, face: Float[Tensor, "play channels high wide"]) -> float:
    """Return the largest norm of the gradient on one face: `max_adversarial_gradient` times that of the L1 loss.

    The gradient of the mean |x_hat - x| over a batch has the norm 1 / (faces * sqrt(pixels)) on each face.
    """
    return gan.max_adversarial_gradient * gan.reconstruction / (len(face) * math.sqrt(face[0].numel()))


class ClipGradient(torch.autograd.Function):
    """Identity on faces [batch, channels, high, wide] that clips the norm of each face's gradient to `limit`."""

    @staticmethod
    def forward(ctx: FunctionCtx, faces: Tensor, limit: float) -> Tensor:
        """Return the faces as they are."""
        ctx.limit = limit  # pyrefly: ignore[missing-attribute]
        return faces.view_as(faces)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the clipped gradient."""
        norm = gradients[0].square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return gradients[0] * (ctx.limit / norm.clamp(min=ctx.limit)), None  # pyrefly: ignore[missing-attribute]


class DiscriminatorSideOutput(NamedTuple):
    """What the discriminator says of real and of generated faces, and the probe of the residue."""

    real: DiscriminatorOutput
    generated: DiscriminatorOutput
    probe_logits: Float[Tensor, "play classes"]


class DiscriminatorSide(nn.Module):
    """The discriminator, and a probe that reads the emotion off the residue, in one forward."""

    def __init__(self, discriminator: Discriminator, probe: Classifier):
        super().__init__()
        self.discriminator, self.probe = discriminator, probe

    def forward(
        self,
        real: Float[Tensor, "play channels high wide"],
        generated: Float[Tensor, "double channels high wide"],
        residue: Float[Tensor, "play tokens width"],
        with_r1: bool,
    ) -> DiscriminatorSideOutput:
        """Judge real faces, generated ones and residues; with R1 on the real faces, which then go by themselves."""
        if with_r1:
            of_real, of_generated = self.discriminator(real, with_r1=True), self.discriminator(generated)
        else:
            of_real, of_generated = self.discriminator(torch.cat([real, generated])).split(len(real))
        return DiscriminatorSideOutput(of_real, of_generated, self.probe(residue))


def generator_losses(
    gan: Gan,
    opponent: DiscriminatorSide,
    generated: Generated,
    face: Float[Tensor, "play channels high wide"],
    target: Float[Tensor, "play classes"],
    strength: Float[Tensor, " play"],
    ramp: float,
) -> dict[str, Tensor]:
    """Return the generator side's weighted losses; the opponent's weights must not require gradients.

    `target` are distributions over emotions. `ramp` in [0, 1] scales the terms of the discriminator side,
    which has to learn for a while before they are of use; at 0 they are not computed. The discriminator's gradient on a
    face is clipped to `max_adversarial_gradient` times that of the L1 loss, as VQGAN's adaptive weight does with one
    ratio for all faces (arXiv 2012.09841).
    """
    neutral = target[:, NEUTRAL_INDEX]
    terms = {
        "reconstruction": gan.reconstruction * losses.reconstruction(generated.reconstruction, face),
        "neutral_identity": gan.neutral_identity * losses.neutral_identity(generated.poker_face, face, neutral),
    }
    if gan.orthogonality:
        terms["orthogonality"] = gan.orthogonality * losses.orthogonality(generated.emotion, generated.residue)
    poker_target = losses.poker_target(target, strength, NEUTRAL_INDEX)
    if generated.residue_again is not None and generated.logits_again is not None:
        terms["cycle"] = gan.cycle * losses.cycle(generated.residue, generated.residue_again)
        terms["cycle_emotion"] = gan.cycle_emotion * losses.classification(generated.logits_again, poker_target)
    if ramp == 0:
        return terms
    change = losses.minimal_change(generated.reconstruction, generated.poker_face)
    terms["minimal_change"] = ramp * gan.minimal_change * change
    if gan.residue_confusion and generated.residue.requires_grad:
        confusion = losses.residue_confusion(opponent.probe(generated.residue))
        terms["residue_confusion"] = ramp * gan.residue_confusion * confusion
    if gan.adversarial or gan.emotion or gan.feature_matching:
        count = len(face)
        faces = torch.cat([generated.reconstruction, generated.poker_face]).float()
        judged = opponent.discriminator(ClipGradient.apply(faces, gradient_limit(gan, face)))
        emotion = losses.classification(judged.emotion_logits, torch.cat([target, poker_target]))
        terms["emotion"] = ramp * gan.emotion * emotion * 2
        of_reconstruction, of_poker_face = (
            losses.generator_hinge(half.realism) + losses.generator_hinge(half.patch_realism)
            for half in judged.split(count)
        )
        realism = RECONSTRUCTION_SHARE * of_reconstruction + of_poker_face
        terms["adversarial"] = ramp * gan.adversarial * realism
        if gan.feature_matching:
            with torch.no_grad():
                real = opponent.discriminator(face).features
            matching = losses.feature_matching(judged.features[:count], real)
            terms["feature_matching"] = ramp * gan.feature_matching * matching
    return terms


def discriminator_losses(
    gan: Gan, output: DiscriminatorSideOutput, target: Float[Tensor, "play classes"], with_r1: bool
) -> dict[str, Tensor]:
    """Return the discriminator side's weighted losses; of the generated faces, reconstructions come first."""
    real = output.real
    reconstructions, poker_faces = output.generated.split(len(target))
    hinge = torch.zeros((), device=target.device)
    for weight, fake in ((RECONSTRUCTION_SHARE, reconstructions), (1.0, poker_faces)):
        hinge = hinge + weight * losses.discriminator_hinge(real.realism, fake.realism)
        hinge = hinge + weight * losses.discriminator_hinge(real.patch_realism, fake.patch_realism)
    terms = {
        "discriminator_realism": hinge,
        "discriminator_emotion": losses.classification(real.emotion_logits, target),
        "probe": losses.classification(output.probe_logits, target),
    }
    if gan.fake_emotion:
        terms["discriminator_fake_emotion"] = gan.fake_emotion * losses.classification(
            poker_faces.emotion_logits, target
        )
    if with_r1:
        terms["discriminator_r1"] = gan.r1 * gan.r1_every / 2 * real.r1
    return terms

"""The poker-face game: what each side sees in one step, and what it is asked for (PAPER 1.7 and 2).

Two sides, each with its own optimizer. The *makers* (encoder, separator, generator, classifier) name the emotion,
draw the face back and draw it calm. The *critics* tell made faces from real ones, name the emotion of real ones, and
try to read the emotion off the residue. Each side does one forward per phase, so that it can be wrapped for DDP.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from pfvit.config import Game
from pfvit.model import Classifier, Discriminator, PFViT, Verdict
from pfvit.training import losses

NEUTRAL_INDEX = 0  # of our label sets (pfvit.emotions.EIGHT)
PURE_POKER = 0.7  # share of calm faces drawn at strength 1; the others anywhere on the dial
RECONSTRUCTION_SHARE = 0.5  # realism counts half for reconstructions (PAPER 2)


class Made(NamedTuple):
    """What the makers drew from the clean faces, and from what."""

    residue: Float[Tensor, "play tokens width"]
    emotion: Float[Tensor, "play tokens width"]
    expressive: Float[Tensor, "play channels high wide"]
    calm: Float[Tensor, "play channels high wide"]
    residue_again: Float[Tensor, "play tokens width"] | None
    logits_again: Float[Tensor, "play classes"] | None


class Makers(nn.Module):
    """One forward of the makers: names for the recognition view, drawings of the clean view."""

    def __init__(self, model: PFViT, game: Game, encoder_stays: bool = False):
        super().__init__()
        self.model, self.game, self.encoder_stays = model, game, encoder_stays or game.alone
        if self.encoder_stays:
            model.encoder.requires_grad_(False)
        if game.alone:
            for part in (model.separator, model.classifier):
                part.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Makers":
        """Switch as every module does; an encoder that stays as it is keeps its statistics too."""
        super().train(mode)
        if self.encoder_stays:
            self.model.encoder.eval()
        return self

    def forward(
        self,
        view: Float[Tensor, "batch channels high wide"],
        clean: Float[Tensor, "play channels high wide"] | None = None,
        strength: Float[Tensor, " play"] | None = None,
        paths: Float[Tensor, "batch depth 2"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], Made | None]:
        """Return logits of the view and, given clean faces, their reconstruction and a calmer face.

        With `paths`, faces of the view skip layers of the encoder (`augment.kept_paths`).
        """
        model, game = self.model, self.game
        if clean is None or strength is None:
            return model.recognise(view, paths), None
        if game.alone:
            emotion, residue = model.separator(model.encoder(clean))
            return model.classifier(emotion), self._draw(emotion, residue, strength)
        if paths is not None:
            paths = torch.cat([paths, paths.new_ones(len(clean), *paths.shape[1:])])
        whole = model.encoder(torch.cat([view, clean]), paths=paths)
        seen, drawn_from = whole[: len(view)], whole[len(view) :]
        # The game may harm recognition: it moves the encoder at a fraction of its strength (PAPER 2, failure iv).
        drawn_from = game.encoder_share * drawn_from + (1 - game.encoder_share) * drawn_from.detach()
        emotion, residue = model.separator(torch.cat([seen, drawn_from]))
        logits = model.classifier(emotion[: len(view)])
        return logits, self._draw(emotion[len(view) :], residue[len(view) :], strength)

    def _draw(self, emotion: Tensor, residue: Tensor, strength: Tensor) -> Made:
        both = self.model.generator(
            emotion.repeat(2, 1, 1),
            residue.repeat(2, 1, 1),
            torch.cat([torch.zeros_like(strength), strength]),
        )
        expressive, calm = both.chunk(2)
        if not self.game.cycle:
            return Made(residue, emotion, expressive, calm, None, None)
        watched = Restrain.apply(calm.float(), restraint(self.game, calm))
        again = self.model.separator(self.model.encoder(watched))
        return Made(residue, emotion, expressive, calm, again.residue, self.model.classifier(again.emotion))


def restraint(game: Game, face: Float[Tensor, "play channels high wide"]) -> float:
    """Return the largest norm of what may come back to one face: `restraint` times the norm of L1's slope on it."""
    return game.restraint * game.reconstruction / (len(face) * math.sqrt(face[0].numel()))


class Restrain(torch.autograd.Function):
    """Return faces as they are, and cut the gradient that comes back to each to a norm of at most `limit`."""

    @staticmethod
    def forward(ctx: FunctionCtx, faces: Tensor, limit: float) -> Tensor:
        """Pass the faces [batch, channels, high, wide] on."""
        ctx.limit = limit  # pyrefly: ignore[missing-attribute]
        return faces.view_as(faces)

    @staticmethod
    def backward(ctx: FunctionCtx, *slopes: Tensor) -> tuple[Tensor, None]:
        """Shorten what is too long."""
        norm = slopes[0].square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return slopes[0] * (ctx.limit / norm.clamp(min=ctx.limit)), None  # pyrefly: ignore[missing-attribute]


class Critics(nn.Module):
    """One forward of the critics: the discriminator, and a probe that reads the emotion off the residue."""

    def __init__(self, discriminator: Discriminator, probe: Classifier):
        super().__init__()
        self.discriminator, self.probe = discriminator, probe

    def forward(
        self,
        real: Float[Tensor, "play channels high wide"],
        made: Float[Tensor, "double channels high wide"],
        residue: Float[Tensor, "play tokens width"],
        penalise: bool,
    ) -> tuple[Verdict, Verdict, Float[Tensor, "play classes"]]:
        """Judge real faces, made faces and residues."""
        if penalise:
            return self.discriminator(real, penalise=True), self.discriminator(made), self.probe(residue)
        both = self.discriminator(torch.cat([real, made]))
        count = len(real)
        of_real = Verdict(*(v[:count] for v in both[:-1]), penalty=both.penalty)
        of_made = Verdict(*(v[count:] for v in both[:-1]), penalty=both.penalty)
        return of_real, of_made, self.probe(residue)


def maker_terms(
    game: Game,
    critics: Critics,
    made: Made,
    face: Float[Tensor, "play channels high wide"],
    target: Float[Tensor, "play classes"],
    strength: Float[Tensor, " play"],
    ramp: float,
) -> dict[str, Tensor]:
    """Return the makers' weighted loss terms; the critics' weights must not require gradients.

    `ramp` in [0, 1] scales what comes from the critics, who need time to become worth listening to; at 0 they are
    not asked. L1's slope has the norm 1 / sqrt(pixels) for each face of the mean; what the critics ask for is kept
    to `restraint` times that, as VQGAN's adaptive weight does with one ratio for all faces (arXiv 2012.09841).
    """
    terms = {
        "reconstruction": game.reconstruction * losses.reconstruction(made.expressive, face),
        "untouched": game.untouched * losses.untouched(made.calm, face, target[:, NEUTRAL_INDEX]),
    }
    if game.orthogonality:
        terms["orthogonality"] = game.orthogonality * losses.orthogonality(made.emotion, made.residue)
    calm_target = losses.dial_target(target, strength, NEUTRAL_INDEX)
    if made.residue_again is not None and made.logits_again is not None:
        terms["cycle"] = game.cycle * losses.cycle(made.residue, made.residue_again)
        terms["cycle_emotion"] = game.cycle_emotion * losses.classification(made.logits_again, calm_target)
    if ramp == 0:
        return terms
    terms["small_change"] = ramp * game.small_change * losses.small_change(made.expressive, made.calm)
    if game.confusion and made.residue.requires_grad:
        terms["confusion"] = ramp * game.confusion * losses.confusion(critics.probe(made.residue))
    if game.adversary or game.emotion or game.features:
        count = len(face)
        drawn = torch.cat([made.expressive, made.calm]).float()
        verdict = critics.discriminator(Restrain.apply(drawn, restraint(game, face)))
        terms["emotion"] = (
            ramp * game.emotion * losses.classification(verdict.emotion_logits, torch.cat([target, calm_target])) * 2
        )
        realism = [
            losses.maker_hinge(verdict.realism[part]) + losses.maker_hinge(verdict.patch_realism[part])
            for part in (slice(count), slice(count, None))
        ]
        terms["adversary"] = ramp * game.adversary * (RECONSTRUCTION_SHARE * realism[0] + realism[1])
        if game.features:
            with torch.no_grad():
                real = critics.discriminator(face).features
            terms["features"] = ramp * game.features * losses.feature_matching(verdict.features[:count], real)
    return terms


def critic_terms(
    game: Game,
    verdicts: tuple[Verdict, Verdict, Tensor],
    target: Float[Tensor, "play classes"],
    penalised: bool,
) -> dict[str, Tensor]:
    """Return the critics' weighted loss terms; made faces are reconstructions first, calm faces second."""
    real, made, guessed = verdicts
    count = len(target)
    hinge = torch.zeros((), device=target.device)
    for weight, part in ((RECONSTRUCTION_SHARE, slice(count)), (1.0, slice(count, None))):
        hinge = hinge + weight * losses.critic_hinge(real.realism, made.realism[part])
        hinge = hinge + weight * losses.critic_hinge(real.patch_realism, made.patch_realism[part])
    terms = {
        "critic_realism": hinge,
        "critic_emotion": losses.classification(real.emotion_logits, target),
        "critic_probe": losses.classification(guessed, target),
    }
    if game.unmask:
        terms["critic_unmask"] = game.unmask * losses.classification(made.emotion_logits[count:], target)
    if penalised:
        terms["critic_penalty"] = game.penalty * game.penalty_every / 2 * real.penalty
    return terms

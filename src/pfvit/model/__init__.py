"""PF-ViT: the five parts put together (Li et al., arXiv 2207.11081)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.autoencoder import Autoencoder, Decoder, mask_patches
from pfvit.model.classifier import Classifier
from pfvit.model.discriminator import Discriminator, DiscriminatorOutput
from pfvit.model.encoder import Encoder
from pfvit.model.generator import Generator
from pfvit.model.separator import SEPARATORS, Separated, Separator

__all__ = [
    "SEPARATORS",
    "Autoencoder",
    "Classifier",
    "Decoder",
    "Discriminator",
    "DiscriminatorOutput",
    "Encoder",
    "Generator",
    "PFViT",
    "PFViTOutput",
    "Separated",
    "Separator",
    "mask_patches",
]


class PFViTOutput(NamedTuple):
    """All that one forward gives. Faces have pixels around [-1, 1]."""

    representation: Float[Tensor, "batch tokens width"]
    emotion: Float[Tensor, "batch tokens width"]
    residue: Float[Tensor, "batch tokens width"]
    logits: Float[Tensor, "batch classes"]
    reconstruction: Float[Tensor, "batch channels high wide"]
    poker_face: Float[Tensor, "batch channels high wide"]


class PFViT(nn.Module):
    """Encoder, separator, generator and classifier; the discriminator is the other side of the adversarial stage."""

    def __init__(self, encoder: Encoder, separator: Separator, generator: Generator, classifier: Classifier):
        super().__init__()
        self.encoder = encoder
        self.separator = separator
        self.generator = generator
        self.classifier = classifier

    def recognise(
        self, face: Float[Tensor, "batch channels high wide"], paths: Float[Tensor, "batch depth 2"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return the emotion's logits of faces with pixels in [-1, 1], generating none. `paths` as in `Encoder`."""
        return self.classifier(self.separator(self.encoder(face, paths=paths)).emotion)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> PFViTOutput:
        """Separate faces with pixels in [-1, 1], recognise their emotion, and generate them with and without it."""
        tokens = self.encoder(face)
        emotion, residue = self.separator(tokens)
        strength = torch.cat([residue.new_zeros(len(face)), residue.new_ones(len(face))])
        both = self.generator(emotion.repeat(2, 1, 1), residue.repeat(2, 1, 1), strength)
        reconstruction, poker_face = both.chunk(2)
        return PFViTOutput(tokens, emotion, residue, self.classifier(emotion), reconstruction, poker_face)

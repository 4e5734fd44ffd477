"""PF-ViT: the five parts put together (Li et al., arXiv 2207.11081)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.autoencoder import Autoencoder, Decoder, mask_patches
from pfvit.model.classifier import Classifier
from pfvit.model.discriminator import Discriminator, Verdict
from pfvit.model.encoder import Encoder
from pfvit.model.generator import Generator
from pfvit.model.separator import Separated, Separator

__all__ = [
    "Autoencoder",
    "Classifier",
    "Decoder",
    "Discriminator",
    "Encoder",
    "Faces",
    "Generator",
    "PFViT",
    "Separated",
    "Separator",
    "Verdict",
    "mask_patches",
]


class Faces(NamedTuple):
    """All that one forward gives."""

    representation: Float[Tensor, "batch tokens width"]
    emotion: Float[Tensor, "batch tokens width"]
    residue: Float[Tensor, "batch tokens width"]
    logits: Float[Tensor, "batch classes"]
    reconstruction: Float[Tensor, "batch channels high wide"]
    poker_face: Float[Tensor, "batch channels high wide"]


class PFViT(nn.Module):
    """Encoder, separator, generator and classifier; the discriminator plays on the other side."""

    def __init__(self, encoder: Encoder, separator: Separator, generator: Generator, classifier: Classifier):
        super().__init__()
        self.encoder, self.separator, self.generator, self.classifier = (
            encoder,
            separator,
            generator,
            classifier,
        )

    def recognise(
        self, face: Float[Tensor, "batch channels high wide"], paths: Float[Tensor, "batch depth 2"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return the emotion's logits; the generator does not run. `paths` as for the encoder."""
        return self.classifier(self.separator(self.encoder(face, paths=paths)).emotion)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> Faces:
        """Take faces with pixels in [-1, 1] apart, name the emotion, and draw them with and without it."""
        whole = self.encoder(face)
        emotion, residue = self.separator(whole)
        strength = torch.cat([residue.new_zeros(len(face)), residue.new_ones(len(face))])
        both = self.generator(emotion.repeat(2, 1, 1), residue.repeat(2, 1, 1), strength)
        expressive, poker = both.chunk(2)
        return Faces(whole, emotion, residue, self.classifier(emotion), expressive, poker)

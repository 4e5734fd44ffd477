"""(emotion, residue) -> expressive face; residue alone -> poker face (paper, section III; docs/paper.md, 1.4)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.autoencoder import Decoder
from pfvit.model.stems import channels_last
from pfvit.model.transformer import LAYER_NORM_EPS, CrossAttention, initialise, unpatchify

CROSS_EVERY = 2  # every second block also attends to the emotion
REFINER_WIDTH = 24


class CrossFusion(nn.Module):
    """Cross-attention from the residue's tokens to the emotion's, times a gate that starts at 0.

    With the gate at 0 the generator is the pre-trained decoder.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = CrossAttention(width, heads)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], emotion: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Return tokens + gate * attention(norm(tokens), emotion)."""
        return tokens + self.gate * self.attn(self.norm(tokens), emotion)


class Refiner(nn.Module):
    """Smooth the seams between patches: three convolutions at full resolution, residual and 0 at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, REFINER_WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(REFINER_WIDTH, REFINER_WIDTH, 3, padding=1)
        self.conv3 = nn.Conv2d(REFINER_WIDTH, channels, 3, padding=1)
        for parameter in self.conv3.parameters():
            nn.init.zeros_(parameter)

    def forward(self, face: Float[Tensor, "batch channels high wide"]) -> Float[Tensor, "batch channels high wide"]:
        """Return the face with its seams smoothed."""
        face = channels_last(face)
        return face + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(face)))))


class Generator(nn.Module):
    """Generate a face from its residue and a share of its emotion."""

    def __init__(self, decoder: Decoder, heads: int):
        super().__init__()
        width = decoder.embed.out_features
        encoder_width = decoder.embed.in_features
        self.decoder = decoder
        self.emotion_embed = nn.Linear(encoder_width, width)
        self.no_emotion = nn.Parameter(torch.zeros(1, 1, width))
        self.cross = nn.ModuleDict(
            {str(i): CrossFusion(width, heads) for i in range(0, len(decoder.blocks), CROSS_EVERY)}
        )
        self.refiner = Refiner(decoder.channels)
        # 0 at first, like the gates. What is added to the tokens has an effect at once; behind a gate alone, poker
        # faces and reconstructions stayed the same for a thousand steps.
        nn.init.zeros_(self.emotion_embed.weight)
        nn.init.zeros_(self.emotion_embed.bias)
        self.cross.apply(initialise)

    def forward(
        self,
        emotion: Float[Tensor, "batch tokens width"],
        residue: Float[Tensor, "batch tokens width"],
        strength: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels high wide"]:
        """Return faces with pixels around [-1, 1].

        `strength` in [0, 1] is the share of the expression that is taken off: 0 gives the reconstruction, 1 the poker
        face. At 1 the emotion has no influence: a learned constant takes its place.
        """
        s = strength[:, None, None]
        emotion = (1 - s) * self.emotion_embed(emotion) + s * self.no_emotion
        tokens = self.decoder.embed(residue) + emotion + self.decoder.pos_embed
        emotion = emotion + self.decoder.pos_embed
        for i, block in enumerate(self.decoder.blocks):
            if str(i) in self.cross:
                tokens = self.cross[str(i)](tokens, emotion)
            tokens = block(tokens)
        patches = self.decoder.pred(self.decoder.norm(tokens))[:, 1:]
        return self.refiner(unpatchify(patches, self.decoder.patch_size, self.decoder.channels))

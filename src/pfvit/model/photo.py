"""PF-ViT for photographs: the five parts at 112 px in colour, with a generator that also moves the photo's own pixels.

The parts are the paper's: a vanilla ViT encoder, pre-trained as a masked autoencoder; a separator with emotion +
residue = representation; a generator of a drawing (reconstruction from both components, poker face from the residue
alone) and, ours, of a movement; a classifier that reads the emotion from the emotional component; a discriminator
(`PhotoDiscriminator`). Differences to `pfvit.model.PFViT`: there is no class token (what is wanted is where things
are), and the discriminators are convolutional, one for the whole face and one for the mouth.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from pfvit.model.movement import EyeReadout, MovementHead, MovementMaps, Upsample, to_grid
from pfvit.model.separator import SUBSPACE_SHARE, Separated, SubspaceSeparator
from pfvit.model.stems import PatchEmbed
from pfvit.model.transformer import LAYER_NORM_EPS, Block, initialise, positions

SIZE = 112  # pixels a side
PATCH = 8
SIDE = SIZE // PATCH  # patches a side
WIDTH, DEPTH, HEADS = 256, 8, 4
DECODER_WIDTH, DECODER_DEPTH = 128, 2
LEAK = 0.2  # of the discriminators' rectifiers


class PhotoEncoder(nn.Module):
    """A vanilla ViT of 8 blocks over 14 x 14 patches of 8 px, without a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(PATCH, 3, WIDTH)
        self.register_buffer("pos_embed", positions(WIDTH, SIDE)[:, 1:])
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)
        self.apply(initialise)

    def forward(
        self, face: Float[Tensor, "batch 3 high wide"], kept: Int[Tensor, "batch kept"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Return one token per patch; with `kept` only these patches are seen, as in masked pre-training."""
        tokens = self.patch_embed(face) + self.pos_embed
        if kept is not None:
            tokens = tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class PhotoDecoder(nn.Module):
    """The decoder of masked pre-training: visible tokens -> the pixels of all patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(WIDTH, DECODER_WIDTH)
        self.mask_token = nn.Parameter(torch.zeros(DECODER_WIDTH))
        self.register_buffer("pos_embed", positions(DECODER_WIDTH, SIDE)[:, 1:])
        self.blocks = nn.ModuleList(Block(DECODER_WIDTH, HEADS) for _ in range(DECODER_DEPTH))
        self.head = nn.Sequential(
            nn.LayerNorm(DECODER_WIDTH, eps=LAYER_NORM_EPS), nn.Linear(DECODER_WIDTH, 3 * PATCH * PATCH)
        )
        self.apply(initialise)

    def forward(
        self, tokens: Float[Tensor, "batch kept width"], kept: Int[Tensor, "batch kept"]
    ) -> Float[Tensor, "batch patches pixels"]:
        """Return the pixels of every patch, in the order of `pixel_unshuffle` (channel, row, column)."""
        tokens = self.embed(tokens)
        everywhere = self.mask_token.to(tokens.dtype).expand(len(tokens), SIDE * SIDE, -1)
        tokens = everywhere.scatter(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]), tokens) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens)


class PhotoDrawing(nn.Module):
    """The generator's drawing: tokens -> a face of 112 px in [-1, 1]."""

    def __init__(self, depth: int = 2):
        super().__init__()
        self.register_buffer("pos_embed", positions(WIDTH, SIDE)[:, 1:])
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(depth))
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)
        self.up = nn.Sequential(Upsample(WIDTH, 96), Upsample(96, 48), Upsample(48, 24), nn.Conv2d(24, 3, 3, 1, 1))
        self.apply(initialise)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch 3 high wide"]:
        """Draw: from emotion + residue the reconstruction, from the residue alone the poker face."""
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.up(to_grid(self.norm(tokens)))


class PhotoFaces(NamedTuple):
    """All that one forward gives."""

    emotion: Float[Tensor, "batch tokens width"]
    residue: Float[Tensor, "batch tokens width"]
    logits: Float[Tensor, "batch classes"]
    maps: MovementMaps


class PhotoPFViT(nn.Module):
    """Encoder, separator, generator (drawing and movement) and classifier for colour faces of 112 px.

    The emotional component is the part of each token in one subspace that all share, the residue what is orthogonal to
    it.
    """

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.encoder = PhotoEncoder()
        self.separator = SubspaceSeparator(WIDTH)
        self.drawing = PhotoDrawing()
        self.movement = MovementHead(WIDTH, SIDE, HEADS)
        self.eyes = EyeReadout(WIDTH, SIDE)
        self.classifier = nn.Linear(WIDTH, classes)
        initialise(self.classifier)

    def separate(self, face: Float[Tensor, "batch 3 high wide"]) -> Separated:
        """Return the emotional component and the residue; they add up to the representation."""
        separated: Separated = self.separator(self.encoder(face))
        return separated

    def classify(self, emotion: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch classes"]:
        """Return the emotion's logits, from the mean of the emotional component's tokens."""
        return self.classifier(emotion.mean(dim=1))

    def forward(self, face: Float[Tensor, "batch 3 high wide"]) -> PhotoFaces:
        """Read faces with pixels in [-1, 1] and predict how they lose their expression; nothing is drawn.

        Faces are framed as a detector's crops are, by which brows and lids are found (`EyeReadout`).
        """
        emotion, residue = self.separate(face)
        maps = self.eyes(emotion + residue, self.movement(face, emotion, residue))
        return PhotoFaces(emotion, residue, self.classify(emotion), maps)

    @torch.no_grad()
    def set_emotion_axes(self, axes: Float[Tensor, "width rank"]) -> None:
        """Take other axes for the emotional component, so that maps and reconstructions stay what they were.

        Both halves of what merges the components are set to what they did together to a whole token.
        """
        old = torch.linalg.qr(self.separator.basis).Q
        for layer in (self.movement.merge, self.movement.deep_merge[0]):
            residue, emotion = cast(Tensor, layer.weight).chunk(2, dim=1)
            whole = residue + (emotion - residue) @ old @ old.T
            cast(Tensor, layer.weight).copy_(torch.cat([whole, whole], dim=1))
        self.separator.basis.copy_(axes)


def is_former(names: Collection[str]) -> bool:
    """Return whether weights by these names are of an earlier photo model, with an unconstrained separator."""
    return "separator.0.weight" in names


def of_former(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of today's model that move faces exactly as those of an earlier photo model.

    Its separator, W2 gelu(W1 z + b1) + b2, becomes a part of what merges the components in the movement. The emotional
    component is set anew by `set_emotion_axes`, so classifier and drawing of the residue have to learn anew.
    """
    new = {name: value.float() for name, value in weights.items()}
    first, first_bias = new.pop("separator.0.weight"), new.pop("separator.0.bias")
    last, last_bias = new.pop("separator.2.weight"), new.pop("separator.2.bias")
    residue, emotion = new["movement.merge.weight"].chunk(2, dim=1)
    change = emotion - residue
    return new | {
        "separator.basis": torch.eye(WIDTH)[:, : WIDTH // SUBSPACE_SHARE],
        "movement.merge.weight": residue.repeat(1, 2),
        "movement.merge.bias": new["movement.merge.bias"] + change @ last_bias,
        "movement.deep_merge.0.weight": first.repeat(1, 2),
        "movement.deep_merge.0.bias": first_bias,
        "movement.deep_merge.2.weight": change @ last,
        "movement.deep_merge.2.bias": torch.zeros(WIDTH),
    }


class Judgement(NamedTuple):
    """What a photo discriminator says; realism is positive for real, negative for made."""

    patch_realism: Float[Tensor, "batch patches"]
    realism: Float[Tensor, "batch 1"]
    neutral_logit: Float[Tensor, " batch"]
    """Of the face being neutral."""


class PhotoDiscriminator(nn.Module):
    """Tell real neutral faces from made ones, and neutral faces from expressive ones: a small convolutional network.

    Spectral normalisation (Miyato et al., arXiv 1802.05957) keeps its slope bounded.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (64, 128, 256, 384)):
        super().__init__()
        first, second, third, last = widths
        spectral = nn.utils.parametrizations.spectral_norm

        def layer(inward: int, outward: int, stride: int = 1) -> list[nn.Module]:
            kernel = 4 if stride == 2 else 3
            return [spectral(nn.Conv2d(inward, outward, kernel, stride, 1)), nn.LeakyReLU(LEAK)]

        self.body = nn.Sequential(
            *layer(12, first), *layer(first, second, 2), *layer(second, second), *layer(second, third, 2),
            *layer(third, third),
        )  # fmt: skip
        self.patch_realism = spectral(nn.Conv2d(third, 1, 3, 1, 1))
        self.deep = nn.Sequential(*layer(third, last, 2), *layer(last, last))
        self.realism = spectral(nn.Linear(last, 1))
        self.neutral = nn.Linear(last, 1)

    def forward(self, face: Float[Tensor, "batch 3 high wide"]) -> Judgement:
        """Judge faces, or mouths, with pixels in [-1, 1], whatever their brightness and contrast."""
        mean = face.mean((1, 2, 3), keepdim=True)
        face = 0.5 * (face - mean) / (face.std((1, 2, 3), keepdim=True) + 0.05)
        features = self.body(F.pixel_unshuffle(face, 2).contiguous(memory_format=torch.channels_last))
        summary = self.deep(features).mean((2, 3))
        return Judgement(
            self.patch_realism(features).flatten(1).float(),
            self.realism(summary).float(),
            self.neutral(summary).float()[:, 0],
        )

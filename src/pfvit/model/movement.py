"""Emotion + residue -> how the photo has to move for the expression to go: the generator's second half.

The drawing of a generator is small and soft. A photo keeps its grain if its own pixels are moved instead, so the
generator also predicts a movement, at half the model's resolution, which is enlarged and applied to the photo at the
photo's own size (`pfvit.inference.face_edit`; here `apply_movement`, for training). This part is ours, not the paper's:
docs/paper.md, section 8.

One smooth flow cannot close an open mouth: from the upper lip to the lower one, the place to read from jumps over the
teeth. So there are two flows, one for what lies above the line of the closed lips and one for what lies below it, and a
map of the height above that line that tells which of the two to read.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pfvit.model.transformer import LAYER_NORM_EPS, Block, initialise, positions

#: Channels of the movement maps, in their order in files: base and split flow (x, y each), height, gate, light (RGB).
CHANNELS = {"base": 2, "split": 2, "height": 1, "gate": 1, "light": 3}
#: What the head's raw outputs are multiplied by, so that fresh weights learn movements of a few pixels quickly.
FLOW_SCALE, LIGHT_SCALE = 0.2, 0.5
GATE_BIAS = -3.0  # a gate starts nearly shut: sigmoid(-3) = 0.05
#: Width of the cut along the lip line, in pixels of the picture that is moved.
EDGE = 0.6
DETAIL_CHANNELS = 32
NORM_GROUPS = 8
#: What `EyeReadout` tells: how far down the brows read, and how much further the lower lids do than the upper ones.
EYE_REGIONS = ("brows", "lids")
#: Rows of tokens that it sees, and the most that it adds, in halves of the picture's side.
UPPER_ROWS, MOST_READ = slice(2, 7), 0.03


class MovementMaps(NamedTuple):
    """How a face moves and what light it takes on to lose its expression. Maps are [batch, channels, side, side].

    Flows say from where, relative to itself, a pixel of the result is read: in halves of the picture's side (2 is the
    whole side), x to the right, y down.
    """

    base: Float[Tensor, "batch 2 side side"]
    """Flow of both halves of the mouth together, and of all else."""
    split: Float[Tensor, "batch 2 side side"]
    """Added to the base above the lip line, subtracted below it."""
    height: Float[Tensor, "batch 1 side side"]
    """Signed height above the line of the closed lips, in shares of the picture's side; positive above."""
    gate: Float[Tensor, "batch 1 side side"]
    """Share of the drawing in the result, from 0 to 1."""
    light: Float[Tensor, "batch 3 side side"]
    """Added to the pixels, which range from -1 to 1."""


class Upsample(nn.Sequential):
    """Double the side of a map: 3 x 3 convolution, pixel shuffle, group normalisation, SiLU."""

    def __init__(self, inward: int, outward: int):
        super().__init__(
            nn.Conv2d(inward, 4 * outward, 3, 1, 1),
            nn.PixelShuffle(2),
            nn.GroupNorm(NORM_GROUPS, outward),
            nn.SiLU(),
        )


def to_grid(tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch width side side"]:
    """Return patch tokens in reading order as a square map, in the memory layout that convolutions prefer."""
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).unflatten(2, (side, side)).contiguous(memory_format=torch.channels_last)


class MovementHead(nn.Module):
    """Predict the movement maps of a face from its two components, with fine detail from its pixels.

    Tokens of `side` x `side` patches give maps of 4 * side pixels a side. The last layer starts at zero: a fresh head
    moves nothing.
    """

    def __init__(self, width: int, side: int, heads: int = 4, depth: int = 2):
        super().__init__()
        self.merge = nn.Linear(2 * width, width)
        self.deep_merge = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("pos_embed", positions(width, side)[:, 1:])
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.up1, self.up2 = Upsample(width, 96), Upsample(96, 64)
        self.detail = nn.Sequential(nn.Conv2d(12, DETAIL_CHANNELS, 3, 1, 1), nn.SiLU())
        self.mix = nn.Sequential(nn.Conv2d(64 + DETAIL_CHANNELS, 96, 3, 1, 1), nn.GroupNorm(NORM_GROUPS, 96), nn.SiLU())
        self.apply(initialise)
        self.head = nn.Conv2d(96, sum(CHANNELS.values()), 3, 1, 1)
        for weight in self.head.parameters():
            nn.init.zeros_(weight)

    def forward(
        self,
        face: Float[Tensor, "batch 3 high wide"],
        emotion: Float[Tensor, "batch tokens width"],
        residue: Float[Tensor, "batch tokens width"],
    ) -> MovementMaps:
        """Return the maps for faces with pixels in [-1, 1] and their components."""
        both = torch.cat([residue, emotion], dim=2)
        tokens = self.merge(both) + self.deep_merge(both) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        coarse = self.up2(self.up1(to_grid(self.norm(tokens))))
        raw = self.head(self.mix(torch.cat([coarse, self.detail(F.pixel_unshuffle(face, 2))], dim=1))).float()
        base, split, height, gate, light = raw.split(list(CHANNELS.values()), dim=1)
        return MovementMaps(
            FLOW_SCALE * base,
            FLOW_SCALE * split,
            height,
            torch.sigmoid(gate + GATE_BIAS),
            LIGHT_SCALE * torch.tanh(light),
        )


class EyeReadout(nn.Module):
    """Add what the tokens say of brows and lids to the flow of a face that is framed as a detector's crops are.

    A linear readout of the upper face's tokens, fitted in closed form after training
    (`pfvit.training.eye_readout`): brows move by a tenth of what lips do, so that the movement's own flow learns little
    of them. A fresh one adds nothing.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        inputs = (UPPER_ROWS.stop - UPPER_ROWS.start) * (side // 2) * width
        self.register_buffer("weight", torch.zeros(inputs, len(EYE_REGIONS)))
        self.register_buffer("bias", torch.zeros(len(EYE_REGIONS)))
        #: What 1 of each region adds to the vertical flow.
        self.register_buffer("shapes", torch.zeros(len(EYE_REGIONS), 4 * side, 4 * side))
        self.register_load_state_dict_pre_hook(_as_fresh_where_missing)

    @staticmethod
    def features(tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch inputs"]:
        """Return the tokens of the upper face, neighbours in a row averaged."""
        side = round(tokens.shape[1] ** 0.5)
        upper = tokens.unflatten(1, (side, side))[:, UPPER_ROWS]
        return upper.unflatten(2, (side // 2, 2)).mean(3).flatten(1)

    def forward(self, tokens: Float[Tensor, "batch tokens width"], maps: MovementMaps) -> MovementMaps:
        """Return the maps with the readout's flow added."""
        values = (self.features(tokens) @ self.weight + self.bias).clamp(-MOST_READ, MOST_READ)
        down = (values @ self.shapes.flatten(1)).view_as(maps.height)
        return maps._replace(base=maps.base + torch.cat([torch.zeros_like(down), down], dim=1))


def _as_fresh_where_missing(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Weights of before this part was there have none of it."""
    for name, held in module.named_buffers():
        tensors.setdefault(prefix + name, torch.zeros_like(held))


def identity_grid(side: int, device: torch.device) -> Float[Tensor, "1 side side 2"]:
    """Return where each pixel lies, from -1 to 1, as `torch.nn.functional.grid_sample` counts (x first)."""
    line = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side * 2 - 1
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)[None]


_ENLARGING: dict[tuple[int, int, torch.device], Tensor] = {}


def enlarge(maps: Float[Tensor, "batch channels small small"], side: int) -> Float[Tensor, "batch channels side side"]:
    """Enlarge maps by bicubic interpolation, as two matrix products.

    torch's own bicubic interpolation has a backward pass that is some twenty times slower on processors.
    """
    if maps.shape[-1] == side:
        return maps
    key = (maps.shape[-1], side, maps.device)
    if key not in _ENLARGING:
        eye = torch.eye(maps.shape[-1], device=maps.device)[None, None]
        _ENLARGING[key] = F.interpolate(eye, (side, maps.shape[-1]), mode="bicubic", align_corners=False)[0, 0]
    matrix = _ENLARGING[key]
    return matrix @ maps.float() @ matrix.T


class Moved(NamedTuple):
    """A picture after a movement."""

    poker_face: Float[Tensor, "batch 3 side side"]
    """Moved, with the light added and, if given, the drawing mixed in."""
    moved: Float[Tensor, "batch 3 side side"]
    """Moved alone."""
    flow: Float[Tensor, "batch 2 side side"]
    """The flow that was followed."""


def apply_movement(
    face: Float[Tensor, "batch 3 side side"],
    maps: MovementMaps,
    drawing: Float[Tensor, "batch 3 size size"] | None = None,
    strength: float = 1.0,
) -> Moved:
    """Move a picture with pixels in [-1, 1] as the maps say, at its own size.

    The picture is read twice, by the flow above the lip line and by the one below it, and the *colours* are mixed. To
    mix the flows instead would read what lies between the lips: the teeth.
    """
    side = face.shape[-1]
    base, split, height, gate, light = enlarge(torch.cat(maps, dim=1), side).split(list(CHANNELS.values()), dim=1)
    above = torch.sigmoid(height * side / EDGE)
    grid = identity_grid(side, face.device)
    upper, lower = (base + split) * strength, (base - split) * strength

    def read(flow: Tensor) -> Tensor:
        places = grid + flow.permute(0, 2, 3, 1)
        return F.grid_sample(face.float(), places, padding_mode="border", align_corners=False)

    moved = above * read(upper) + (1 - above) * read(lower)
    flow = above * upper + (1 - above) * lower
    poker_face = moved + strength * light
    if drawing is not None:
        share = gate.clamp(0, 1) * strength
        poker_face = (1 - share) * poker_face + share * enlarge(drawing.float(), side)
    return Moved(poker_face, moved, flow)

"""Views of faces as they come from users: framed by any detector, taken with any camera, partly covered.

Tensor operations on batches of faces, with random numbers of the step (`augment.Draws`). A third of the faces are seen
calmly: framed nearly as they are, and neither covered nor degraded. What is rare is computed for the faces that it is
drawn for alone.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pfvit.data.augment import Draws, placed, resample, within
from pfvit.data.face_batch import onto
from pfvit.data.views import PARTS

Faces = Float[Tensor, "batch channels high wide"]
Rows = Float[Tensor, " batch"]

CALM, CALMLY = 0.35, 0.3  # share of the faces that are seen calmly, and how strongly those are changed
#: Framing: the side of the square that is seen, of the face's own; the share of faces with one near 1, and how near.
TIGHTEST, WIDEST = 0.88, 1.35
NEAR, NEARNESS = 0.45, 0.05
DEGREES, SHIFT, STRETCH = 25.0, 0.11, 0.08
PLAIN = 0.2  # share of the faces with one gray in place of what a crop does not show
#: What is covered: share of the faces that are not calm, and left, right, top and bottom (`views.PARTS`).
COVERS = (
    (0.06, PARTS["mouth"]),
    (0.05, PARTS["eyes"]),
    (0.03, (-2.0, 0.0, -2.0, 2.0)),  # half of the face, and the other half
    (0.03, (0.0, 2.0, -2.0, 2.0)),
    (0.06, (-0.9, 0.9, 0.0, 2.0)),  # the lower face, as by a mask
)
ANYWHERE = 0.03  # any rectangle
JITTER = 0.08  # how much these edges vary
GAMMA, DARKER, BRIGHTER, OFFSET, UNEVEN = 0.4, 0.4, 0.3, 0.15, 0.35
BLURRED, SIGMA, MOTION = 0.3, (0.3, 1.2), 0.3  # sigma in pixels of a face of 48; share of blurs that have a direction
SHARPENED = 0.1
SMALLEST, LARGEST, KINDS = 20, 200, 16  # pixels across the faces as they were taken
NOISY, NOISE = 0.25, 0.06
COMPRESSED, QUALITY = 0.3, (15.0, 85.0)
COLOURLESS, SATURATION, TINT = 0.2, 0.5, 0.15
#: JPEG's table for luminance (ITU-T T.81, annex K).
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def wild(face: Faces, draws: Draws, window: Float[Tensor, "batch 2"] | None = None) -> Faces:
    """See faces in [-1, 1] as users' pictures show them. `window` as in `frame`."""
    lively = draws.uniform() >= CALM
    force = torch.where(lively, 1.0, CALMLY)
    view, matrix = frame(face, draws, force, window)
    view = (view + 1) / 2
    view = cover(view, draws, matrix, lively)
    view = light(view, draws, force)
    view = blur(view, draws, lively)
    view = noise(view, draws, lively)
    view = compress(view.clamp(0, 1), draws, lively)
    if view.shape[1] == 3:
        view = recolour(view, draws)
    return view.clamp(0, 1) * 2 - 1


def frame(
    face: Faces, draws: Draws, force: Rows, window: Float[Tensor, "batch 2"] | None = None
) -> tuple[Faces, Float[Tensor, "6 batch"]]:
    """See each face in a random square: its side, place, direction and shape vary by `force` times the constants.

    `window` is the square within each picture that frames a face as the others are framed (`face_batch.Window`); the
    whole picture if None. Returns the views, and the map from a place in a view to the place in that square
    (`augment.resample`).
    """
    near = draws.uniform() < NEAR
    sides = torch.where(near, 1 + NEARNESS * draws.between(-2.0, 2.0), draws.between(TIGHTEST, WIDEST))
    side = 1 + (sides - 1) * force

    def about(most: float) -> Tensor:  # most often near 0
        return (draws.uniform() + draws.uniform() - 1) * most * force

    angle, right, down = about(math.radians(DEGREES)), about(2 * SHIFT), about(2 * SHIFT)
    stretch = 1 + about(STRETCH)
    mirror = 1 - 2 * (draws.uniform() < 0.5).float()
    wide, high = side * stretch * mirror, side / stretch
    cosine, sine = angle.cos(), angle.sin()
    matrix = torch.stack([wide * cosine, -wide * sine, right, high * sine, high * cosine, down])
    place = matrix if window is None else within(matrix, window)
    seen = resample(face, place)
    plain = (draws.uniform() < PLAIN).nonzero().flatten()
    gray = placed(draws.between(-1.0, 1.0)[plain], face)
    if len(plain):
        x, y = places(face, place[:, plain])
        beyond = (x.abs() > 1) | (y.abs() > 1)
        plain = onto(plain, face.device)
        seen[plain] = torch.where(beyond[:, None], gray[:, None, None, None], seen[plain])
    return seen, matrix


def places(face: Faces, matrix: Float[Tensor, "6 rows"]) -> tuple[Tensor, Tensor]:
    """Return x and y [rows, high, wide] of where the pixels of some views lie, from -1 to 1 within the edges."""
    _, _, height, width = face.shape
    x = ((torch.arange(width, device=face.device) * 2 + 1) / width - 1)[None, None]
    y = ((torch.arange(height, device=face.device) * 2 + 1) / height - 1)[None, :, None]
    a, b, c, d, e, f = placed(matrix, face)[:, :, None, None]
    return a * x + b * y + c, d * x + e * y + f


def cover(view: Faces, draws: Draws, matrix: Float[Tensor, "6 batch"], lively: Bool[Tensor, " batch"]) -> Faces:
    """Cover mouth, eyes, half, the lower face or any rectangle of some faces in [0, 1] with a shade or a texture."""
    shares = [share for share, _ in COVERS]
    edges = torch.tensor([0.0, *shares, ANYWHERE]).cumsum(0)
    drawn, middle, half = draws.uniform(), draws.between(-0.8, 0.8, 2), draws.between(0.1, 0.45, 2)
    jitter, shade = draws.between(-2 * JITTER, 2 * JITTER, 4), draws.uniform(view.shape[1])
    coarse, fine, contrast = draws.uniform(4, 4), draws.uniform(12, 12), draws.between(0.0, 0.6)
    kind = torch.bucketize(drawn, edges, right=True) - 1
    chosen = (lively & (kind < len(COVERS) + 1)).nonzero().flatten()
    if not len(chosen):
        return view
    known = torch.tensor([box for _, box in COVERS] + [(0.0, 0.0, 0.0, 0.0)])
    kind, middle, half = kind[chosen], middle[chosen], half[chosen]
    anywhere = torch.stack([middle - half, middle + half], 2).flatten(1)
    box = torch.where((kind == len(COVERS))[:, None], anywhere, known[kind] + jitter[chosen])
    left, right, top, bottom = placed(box, view).T[:, :, None, None]
    x, y = places(view, matrix[:, chosen])
    hidden = (x > left) & (x < right) & (y > top) & (y < bottom)
    size = view.shape[2:]
    texture = F.interpolate(coarse[chosen, None], size=size, mode="bilinear") + F.interpolate(
        fine[chosen, None], size=size
    )
    texture = shade[chosen, :, None, None] + (texture - 1) * contrast[chosen, None, None, None]
    chosen = onto(chosen, view.device)
    filled = torch.where(hidden[:, None], placed(texture, view), view[chosen])
    return view.index_copy(0, chosen, filled)


def light(view: Faces, draws: Draws, force: Rows) -> Faces:
    """Change gamma, contrast and brightness of faces in [0, 1], and light one side more than the other."""
    gamma = (draws.between(-GAMMA, GAMMA) * force).exp()
    contrast = (draws.between(-DARKER, BRIGHTER) * force).exp()
    offset, amount = draws.between(-OFFSET, OFFSET) * force, draws.between(-UNEVEN, UNEVEN) * force
    angle, width, edge = draws.between(0.0, 2 * math.pi), draws.between(0.3, 2.0), draws.between(-0.5, 0.5)
    view = view.clamp(1e-3, 1) ** _each(gamma, view)
    middle = view.mean((1, 2, 3), keepdim=True)
    view = (view - middle).mul_(_each(contrast, view)).add_(middle + _each(offset, view))
    nothing = torch.zeros_like(angle)
    across, _ = places(view, torch.stack([angle.cos() / width, angle.sin() / width, -edge / width, *[nothing] * 3]))
    return view.mul_((across.tanh() * _each(amount, view)[:, 0]).exp()[:, None])


def blur(view: Faces, draws: Draws, lively: Bool[Tensor, " batch"]) -> Faces:
    """Blur or sharpen some faces, along both axes or more along one, and let some have been taken with few pixels.

    All of it is linear along rows and along columns: two matrix products for each face.
    """
    size = view.shape[2]
    pixels = (draws.uniform() * math.log(LARGEST / SMALLEST)).exp() * SMALLEST
    kind, sigma = draws.uniform(), draws.between(*SIGMA) * size / 48
    along, direction = draws.between(0.0, 1.0), draws.uniform()
    amount = torch.where(kind < BLURRED, 1.0, torch.where(kind < BLURRED + SHARPENED, -along, 0.0))
    chosen = (lively & ((amount != 0) | (pixels < size))).nonzero().flatten()
    if not len(chosen) or view.shape[2] != view.shape[3]:
        return view
    amount, sigma, pixels, one_way = amount[chosen, None, None], sigma[chosen], pixels[chosen], direction[chosen]
    nearest = torch.bucketize(pixels, _sizes(size)).clamp(max=KINDS - 1)
    distance, whole = (torch.arange(size)[:, None] - torch.arange(size)).square(), torch.eye(size)
    maps = []
    for still in (one_way < MOTION / 2, (one_way >= MOTION / 2) & (one_way < MOTION)):
        spread = torch.where(still, 1e-3, sigma)[:, None, None]
        soft = whole + amount * ((-distance / (2 * spread.square())).softmax(-1) - whole)
        maps.append((_fewer_pixels(size)[nearest] @ soft)[:, None])
    chosen = onto(chosen, view.device)
    first, second = (placed(one, view) for one in maps)
    return view.index_copy(0, chosen, first @ view[chosen] @ second.mT)


def noise(view: Faces, draws: Draws, lively: Bool[Tensor, " batch"]) -> Faces:
    """Add normal noise to some faces; each takes its own part of one field."""
    _, channels, height, width = view.shape
    field = draws.shared_normal(channels, 2 * height, 2 * width)
    chosen = (lively & (draws.uniform() < NOISY)).nonzero().flatten()
    down, right = (draws.uniform() * height).long()[chosen], (draws.uniform() * width).long()[chosen]
    strength = draws.between(0.0, NOISE)[chosen]
    if not len(chosen):
        return view
    parts = field.unfold(1, height, 1).unfold(2, width, 1)[:, down, right].transpose(0, 1)
    added = placed(parts * strength[:, None, None, None], view)
    return view.index_add(0, onto(chosen, view.device), added)


def compress(view: Faces, draws: Draws, lively: Bool[Tensor, " batch"]) -> Faces:
    """Lose what JPEG loses: cosines of blocks of 8 x 8 pixels are rounded to its table for luminance."""
    quality = draws.between(*QUALITY)
    chosen = (lively & (draws.uniform() < COMPRESSED)).nonzero().flatten()
    if not len(chosen):
        return view
    _, _, height, width = view.shape
    rows, columns = (placed(_cosines(length), view) for length in (height, width))
    quality = placed(quality[chosen], view)
    share = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[:, None, None, None]
    table = placed(torch.tensor(LUMINANCE), view)
    table = table.repeat(-(-height // 8), -(-width // 8))[:height, :width]
    step = (table * share).clamp(1, 255)
    chosen = onto(chosen, view.device)
    waves = rows @ (view[chosen] * 255 - 128) @ columns.T
    lossy = rows.T @ ((waves / step).round() * step) @ columns
    return view.index_copy(0, chosen, (lossy + 128) / 255)


def recolour(view: Faces, draws: Draws) -> Faces:
    """Make some colour faces gray, and change saturation and tint of the others."""
    gray = view.mean(1, keepdim=True)
    saturation = torch.where(draws.uniform() < COLOURLESS, 0.0, draws.between(1 - SATURATION, 1 + SATURATION))
    tint = draws.between(1.0 - TINT, 1.0 + TINT, view.shape[1])
    tint = torch.where(saturation[:, None] == 0, 1.0, tint)
    return (gray + (view - gray) * _each(saturation, view)) * placed(tint[:, :, None, None], view)


def _each(value: Rows, view: Faces) -> Float[Tensor, "batch 1 1 1"]:
    return placed(value, view)[:, None, None, None]


@lru_cache(maxsize=4)
def _cosines(length: int) -> Float[Tensor, "length length"]:
    """Return the orthonormal cosines of blocks of 8 along a line; the last block may be shorter."""
    blocks = []
    for start in range(0, length, 8):
        count = min(8, length - start)
        k = torch.arange(count)
        basis = ((2 * k + 1) * k[:, None] * (math.pi / (2 * count))).cos() * math.sqrt(2 / count)
        basis[0] = math.sqrt(1 / count)
        blocks.append(basis)
    return torch.block_diag(*blocks)


def _sizes(size: int) -> Float[Tensor, " kinds"]:
    """Return numbers of pixels, from the fewest to `size`."""
    few = max(2.0, min(SMALLEST, size - 1.0))
    return torch.logspace(math.log10(few), math.log10(min(LARGEST, size)), KINDS).round()


@lru_cache(maxsize=4)
def _fewer_pixels(size: int) -> Float[Tensor, "kinds size size"]:
    """Return what becomes of a line of `size` pixels when it is shrunk to so many (`_sizes`) and enlarged again."""
    counts = [int(few) for few in _sizes(size)]
    return torch.stack([_triangle(few, size) @ _triangle(size, few) for few in counts])


def _triangle(length: int, target: int) -> Float[Tensor, "target length"]:
    """Return the weights that resample a line with Pillow's antialiased BILINEAR filter; rows sum to 1."""
    scale = length / target
    centre = (torch.arange(target) + 0.5) * scale
    distance = (torch.arange(length) + 0.5)[None] - centre[:, None]
    weight = (1 - distance.abs() / max(scale, 1.0)).clamp(min=0)
    return weight / weight.sum(1, keepdim=True)

"""Faces with their mesh points and their neutral points, on the device; random views with the points carried along."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pfvit.datasets import mesh_points as mesh
from pfvit.errors import InputError
from pfvit.model.movement import identity_grid
from pfvit.model.photo import SIZE

#: Which points belong to which file, by words in its name.
POINTS_OF = {"color": "utk", "fair": "fair", "gray": "lfw", "ferplus": "fer"}
#: Sets of small gray faces: their mesh lies differently, so they have a teacher of their own.
GRAY = {"lfw", "fer"}
#: Heads turned further than this are only seen in masked pre-training.
MOST_TURNED = 0.25
#: A view's side and its jitter, in distances between the outer corners of the eyes: 2.1 to 3.4 between the pupils.
VIEW_SIDE, VIEW_SPREAD = 1.5, 0.85
VIEW_DOWN = 0.30
VIEW_TURN = 0.42
VIEW_JITTER = 0.12
#: Side and middle of a plain view, which is framed as a detector's crops are: the middle is so far below the eyes.
PLAIN_SIDE, PLAIN_DOWN = 1 / 0.51, 0.245
LEAST_SIDE, MOST_SIDE = 0.6, 1.15
#: The upper face, aligned by the eyes, is compared on so many places to find people who look alike.
THUMB = (16, 10)


@dataclass(frozen=True)
class FaceSet:
    """The faces of one file."""

    name: str
    image: Tensor
    """uint8 [n, channels, side, side]."""
    p: Tensor
    """[n, 478, 2]: points as shares of the side."""
    q: Tensor
    """[n, 478, 2]: where they would be in the neutral face."""
    origin: Tensor
    axis: Tensor
    shares: Tensor
    neutral: Tensor
    """Indices of strictly neutral faces."""
    expressive: Tensor
    middling: Tensor
    expressive_weight: Tensor
    """How often each expressive face is drawn: rarer emotions more often."""


class Views(NamedTuple):
    """Views of some faces."""

    face: Tensor
    """[batch, 3, 112, 112] in [-1, 1]."""
    p: Tensor
    q: Tensor
    flip: Tensor
    """-1 for mirrored views, else 1."""
    shares: Tensor
    gray: Tensor
    """Whether the face is from a set of gray faces."""


def points_of(path: Path) -> str | None:
    """Return under which name a file's mesh points are stored, by a word in the file's name; None if none is known."""
    return next((name for word, name in POINTS_OF.items() if word in path.name), None)


class PhotoFaces:
    """All faces of a run."""

    def __init__(self, paths: Sequence[Path], points: Path, lip_reach: float, device: torch.device, limit: int | None):
        if not paths:
            words = ", ".join(POINTS_OF)
            raise InputError(f"there are no faces to train on: give Parquet files with one of {words} in their names")
        named = [(path, points_of(path)) for path in paths]
        if unknown := [path.name for path, name in named if name is None]:
            raise InputError(
                f"no mesh points are known for {', '.join(unknown)}: which are whose is known by a word in the file's "
                f"name ({', '.join(f'{word}: {name}' for word, name in POINTS_OF.items())}), so rename the file"
            )
        meshes = {name: mesh.load_mesh_points(points, name) for _, name in named if name}
        colour = [name for name in meshes if name not in GRAY]
        small = [name for name in meshes if name == "fer"]
        teachers = {}
        for group in (colour or list(meshes), small):
            if group:
                found = [meshes[name] for name in group]
                keep = np.concatenate([one.found for one in found])
                teacher = mesh.NeutralTeacher(
                    np.concatenate([one.points for one in found])[keep],
                    np.concatenate([one.shares for one in found])[keep],
                )
                teachers |= dict.fromkeys(group, teacher)
        self.device = device
        self.sets = [
            _face_set(
                name, path, meshes[name], teachers.get(name) or next(iter(teachers.values())), lip_reach, device, limit
            )
            for path, name in named
            if name
        ]

    def everything(self, count: int, generator: torch.Generator) -> list[tuple[int, Tensor]]:
        """Draw faces from all sets alike: (set, indices) pairs."""
        sizes = torch.tensor([float(len(one.image)) for one in self.sets])
        which = torch.multinomial(sizes, count, replacement=True, generator=generator)
        return [
            (k, torch.randint(len(one.image), (int((which == k).sum()),), generator=generator))
            for k, one in enumerate(self.sets)
        ]

    def group(self, kind: str, count: int, small: float, generator: torch.Generator) -> list[tuple[int, Tensor]]:
        """Draw `neutral`, `expressive` or `middling` faces, a share `small` of them from the gray sets."""
        if not any(len(getattr(one, kind)) for one in self.sets):
            if kind != "middling":
                raise InputError(f"there are no {kind} faces in the data: the photo model needs both kinds")
            kind = "expressive"
        gray = [k for k, one in enumerate(self.sets) if one.name in GRAY and len(getattr(one, kind))]
        colour = [k for k, one in enumerate(self.sets) if one.name not in GRAY and len(getattr(one, kind))]
        few = 0 if not gray else count if not colour else round(count * small)
        drawn = []
        for sets, number in ((colour, count - few), (gray, few)):
            if number:
                pools = [getattr(self.sets[k], kind) for k in sets]
                sizes = torch.tensor([float(len(pool)) for pool in pools])
                which = torch.multinomial(sizes, number, replacement=True, generator=generator)
                for k, pool, wanted in zip(
                    sets, pools, torch.bincount(which, minlength=len(pools)).tolist(), strict=True
                ):
                    if wanted:
                        if kind == "expressive":
                            weight = self.sets[k].expressive_weight
                            places = torch.multinomial(weight, wanted, replacement=True, generator=generator)
                        else:
                            places = torch.randint(len(pool), (wanted,), generator=generator)
                        drawn.append((k, pool[places]))
        return drawn

    def alike(self, faces: list[tuple[int, Tensor]], generator: torch.Generator) -> list[tuple[int, Tensor]]:
        """Return for each face a neutral face of the same set that looks alike, one of the nearest 24 at random."""
        drawn = []
        for k, indices in faces:
            near = self._near[k]
            pick = torch.randint(near.shape[1], (len(indices),), generator=generator)
            drawn.append((k, near[indices, pick]))
        return drawn

    @cached_property
    def _near(self) -> list[Tensor]:
        return [_neighbours(one) for one in self.sets]

    def plain(self, k: int, indices: Tensor, whole: bool = False) -> tuple[Tensor, Tensor]:
        """Return faces of a set as a reader sees them, [batch, 3, 112, 112] in [-1, 1], and their shares.

        They are framed as a detector's crops are, or, if `whole`, whole pictures.
        """
        one, indices = self.sets[k], indices.to(self.device)
        origin, axis = one.origin[indices], one.axis[indices]
        down = torch.stack([-axis[:, 1], axis[:, 0]], -1)
        axes, centre = torch.stack([axis, down], 2) * PLAIN_SIDE, origin + PLAIN_DOWN * down
        if whole:
            axes, centre = torch.eye(2, device=self.device).expand_as(axes), torch.full_like(centre, 0.5)
        return _cut(one.image[indices], centre, axes), one.shares[indices]

    def views(self, faces: list[tuple[int, Tensor]], generator: torch.Generator, degrade: bool = True) -> Views:
        """Return random views of faces: framing, turn, mirror, gray, tone, and (if `degrade`) few pixels and noise."""
        parts = [self._view(self.sets[k], indices, generator) for k, indices in faces if len(indices)]
        face, p, q, flip, gray, shares = (torch.cat(values) for values in zip(*parts, strict=True))
        batch = len(face)

        def draw(*shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=generator).to(self.device)

        colourless = (draw() < 0.15)[:, None, None, None] | gray[:, None, None, None]
        face = torch.where(colourless, face.mean(1, keepdim=True).expand_as(face), face)
        mean = face.mean((1, 2, 3), keepdim=True)
        face = (face - mean) * (0.75 + 0.5 * draw(1, 1, 1)) + mean + (draw(1, 1, 1) - 0.5) * 0.4
        tint = torch.where(colourless[:, :, :1, :1], torch.zeros(1, device=self.device), (draw(3, 1, 1) - 0.5) * 0.12)
        face = (face + tint).clamp(-1, 1)
        if degrade:
            few = int(torch.randint(36, 100, (1,), generator=generator))
            low = F.interpolate(face, (few, few), mode="bilinear", antialias=True)
            low = F.interpolate(low, (SIZE, SIZE), mode="bicubic")
            face = torch.where(draw(1, 1, 1) < 0.2, low, face)
            noise = _noise(face, generator)
            face = (face + noise * (draw(1, 1, 1) < 0.3) * 0.06 * draw(1, 1, 1)).clamp(-1, 1)
        return Views(face, p, q, flip, shares, gray)

    def _view(self, faces: FaceSet, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        batch = len(indices)

        def draw(*shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=generator).to(self.device)

        indices = indices.to(self.device)
        origin, axis = faces.origin[indices], faces.axis[indices]
        unit = axis.norm(dim=1)
        side = ((VIEW_SIDE + VIEW_SPREAD * draw()) * unit).clamp(LEAST_SIDE, MOST_SIDE)
        angle = (draw() - 0.5) * VIEW_TURN + torch.atan2(axis[:, 1], axis[:, 0])
        cosine, sine = angle.cos(), angle.sin()
        down = torch.stack([-sine, cosine], -1)
        centre = origin + down * (VIEW_DOWN * unit)[:, None] + (draw(2) - 0.5) * VIEW_JITTER * side[:, None]
        flip = torch.where(draw() < 0.5, -1.0, 1.0)
        # The view's own right and down, in the stored picture.
        axes = torch.stack([torch.stack([cosine * flip, -sine], -1), torch.stack([sine * flip, cosine], -1)], 1)
        face = _cut(faces.image[indices], centre, axes * side[:, None, None])

        def seen(points: Tensor) -> Tensor:
            return ((points - centre[:, None]) @ axes) / side[:, None, None] + 0.5

        gray = torch.full((batch,), faces.image.shape[1] == 1, device=self.device)
        return face, seen(faces.p[indices]), seen(faces.q[indices]), flip, gray, faces.shares[indices]


def _cut(image: Tensor, centre: Tensor, axes: Tensor) -> Tensor:
    """Return squares of pictures, uint8, in [-1, 1]: `axes` has their right and down sides as columns."""
    grid = identity_grid(SIZE, image.device).reshape(1, -1, 2)
    places = centre[:, None] + (grid @ axes.transpose(1, 2)) / 2
    places = (places * 2 - 1).view(len(image), SIZE, SIZE, 2)
    stored = image.float() / 127.5 - 1
    return F.grid_sample(stored, places, padding_mode="border", align_corners=False).expand(-1, 3, -1, -1)


def _noise(face: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal numbers of a batch's shape. A GPU draws them itself: a processor takes longer than the step."""
    if face.device.type == "cpu":
        return torch.randn(face.shape, generator=generator)
    seed = int(torch.randint(1 << 62, (1,), generator=generator))
    return torch.randn(face.shape, generator=torch.Generator(face.device).manual_seed(seed), device=face.device)


def _face_set(
    name: str, path: Path, points: mesh.MeshPoints, teacher: mesh.NeutralTeacher, lip_reach: float,
    device: torch.device, limit: int | None,
) -> FaceSet:  # fmt: skip
    image, kept = _images(path, points.rows, limit, gray=name in GRAY)
    c, shares = points.points[kept], points.shares[kept]
    found = points.found[kept] & (mesh.turn(c) < MOST_TURNED)
    neutral = found & mesh.strictly_neutral(c, shares)
    if name in GRAY:  # fewer of them, and smaller: a trace of a smile is not to be seen
        neutral = found & (shares[:, 0] > mesh.STRICT_NEUTRAL) & (shares[:, 1] < 0.05) & (mesh.mouth_opening(c) < 0.03)
    expressive = found & (shares[:, 0] < mesh.EXPRESSIVE)
    q = teacher(c, shares)
    q[neutral] = c[neutral]
    p = _inside_lips(c, lip_reach * ~neutral[:, None, None])
    origin, axis = (np.nan_to_num(v, nan=0.5) for v in (points.origin[kept], points.axis[kept]))
    most = shares.argmax(1)
    common = np.bincount(most[expressive], minlength=8)
    weight = np.maximum(common, 1)[most[expressive]] ** -0.5

    def on(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    return FaceSet(
        name, torch.from_numpy(image).to(device), on(mesh.from_face_units(p, origin, axis)),
        on(mesh.from_face_units(q, origin, axis)), on(origin), on(axis), on(shares),
        torch.from_numpy(np.flatnonzero(neutral)), torch.from_numpy(np.flatnonzero(expressive)),
        torch.from_numpy(np.flatnonzero(found & ~neutral & ~expressive)), torch.from_numpy(weight),
    )  # fmt: skip


def _inside_lips(points: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return points that lie a little inside the lips where the mouth is open: the mesh lies on the teeth's edge."""
    opened = np.clip(mesh.mouth_opening(points) / 0.04, 0, 1)[:, None, None] * reach
    inner = [*mesh.INNER_UPPER[1:-1], *mesh.INNER_LOWER[1:-1]]
    first, second = [*mesh.RING_UPPER, *mesh.RING_LOWER], [*mesh.RING2_UPPER, *mesh.RING2_LOWER]
    outer = [*mesh.OUTER_UPPER[1:-1], *mesh.OUTER_LOWER]
    out = points.copy()
    out[:, inner] += opened * (points[:, first] - points[:, inner])
    out[:, first] += 0.64 * opened * (points[:, second] - points[:, first])
    out[:, second] += 0.23 * opened * (points[:, outer] - points[:, second])
    return out


def _images(path: Path, rows: np.ndarray | None, limit: int | None, gray: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return faces, uint8 [n, channels, side, side], and which of the points belong to them; InputError if a file or
    one of its pictures cannot be read."""
    try:
        return _read_images(path, rows, limit, gray)
    except (OSError, ValueError, KeyError, pa.ArrowException) as problem:
        raise InputError(f"{path} cannot be read as a Parquet file of faces of one size: {problem}") from problem


def _read_images(path: Path, rows: np.ndarray | None, limit: int | None, gray: bool) -> tuple[np.ndarray, np.ndarray]:
    columns = pq.ParquetFile(path).schema_arrow.names
    table = pq.read_table(path, columns=[c for c in ("image", "row", "also_in") if c in columns])
    cells = table["image"].combine_chunks().field("bytes")
    place = np.arange(len(table))
    if rows is not None:
        at = {int(row): index for index, row in enumerate(table["row"].to_pylist())}
        place = np.array([at[int(row)] for row in rows])
    kept = np.arange(len(place))
    if "also_in" in table.column_names:  # the clean protocol: nothing that is also in another split
        elsewhere = np.array([len(word) > 0 for word in table["also_in"].to_pylist()])
        kept = kept[~elsewhere[place]]
    kept = kept[:limit]

    def one(index: int) -> np.ndarray:
        picture = Image.open(io.BytesIO(cells[int(place[index])].as_py())).convert("L" if gray else "RGB")
        return np.asarray(picture)[None] if gray else np.asarray(picture).transpose(2, 0, 1)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(one, kept, chunksize=256))), kept


def _neighbours(faces: FaceSet, count: int = 24) -> Tensor:
    """Return for each face the neutral faces, [n, count], whose upper face, aligned by the eyes, is nearest."""
    wide, high = THUMB
    u, v = torch.meshgrid(torch.linspace(-0.7, 0.7, wide), torch.linspace(-0.5, 0.3, high), indexing="xy")
    u, v = u.to(faces.image.device), v.to(faces.image.device)
    thumbs = []
    for start in range(0, len(faces.image), 2048):
        origin, axis = faces.origin[start : start + 2048], faces.axis[start : start + 2048]
        down = torch.stack([-axis[:, 1], axis[:, 0]], -1)
        grid = origin[:, None, None] + u[..., None] * axis[:, None, None] + v[..., None] * down[:, None, None]
        stored = faces.image[start : start + 2048].float() / 127.5 - 1
        seen = F.grid_sample(stored, grid * 2 - 1, padding_mode="border", align_corners=False)
        mean, spread = seen.mean((2, 3), keepdim=True), seen.std((2, 3), keepdim=True) + 0.1
        thumbs.append(torch.cat([((seen - mean) / spread).mean(1).flatten(1), 3 * mean.flatten(1)], 1))
    thumb, reference = torch.cat(thumbs), faces.neutral.to(faces.image.device)
    near = torch.zeros(len(thumb), min(count, len(reference)), dtype=torch.long)
    for some in faces.expressive.split(2048):
        distance = torch.cdist(thumb[some.to(thumb.device)], thumb[reference])
        near[some] = reference[distance.topk(near.shape[1], largest=False).indices].cpu()
    return near

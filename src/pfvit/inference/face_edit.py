"""Apply a change of expression to a photo at the photo's own size: move its pixels, add light, smooth folds.

The maps of a change (`pfvit.inference.face_change`) are enlarged and applied. Skin keeps its grain, since it is moved
and not painted; where nothing changes, pixels stay as they are, bit for bit.

Around the mouth there are two flows, one for what lies above the line of the closed lips and one for what lies below
it. The photo is read by both, and the colours are mixed along that line, in a cut half a pixel wide. A single flow
could not close an open mouth: between the lips it would read the teeth.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pfvit.data.images import Pixels
from pfvit.detection.alignment import Frame, cut_box
from pfvit.inference.face_change import FINEST, FaceChange
from pfvit.inference.mesh import SQUARES, read_quads, squares_over

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]

#: Over this share of the face's side a change fades out towards the edge, so that no seam shows in the photo.
FADE = 0.12
#: Width of the cut along the lip line, in pixels of the photo.
EDGE = 0.6
#: Flows are followed exactly at so many points along the face's side, and linearly between them.
KNOTS = 112
SMALL_SIDE = 48  # pixels: smaller faces have a knot at every pixel, larger ones at least at every second
#: Flows below so many pixels move nothing that could be seen.
LEAST_FLOW = 0.02
#: So many widths of the cut from the lip line, only one of the two flows shows.
CLEAR = 8
#: Maps are continued beyond their edge by so many places, so that the cubic filter has something to read there.
EDGE_PLACES = 2
LEAST_SMOOTHED = 0.01  # less could not be seen
#: Bytes for each point at which maps are read.
PER_POINT = 150
#: Large faces are changed in strips of about so many pixels, as some of their numbers take 12 bytes for each.
STRIP = 500_000


def apply_change(crop: Pixels, change: FaceChange) -> Pixels:
    """Return a crop, uint8 [height, width, 3], with a change applied to all of it."""
    out = crop.copy()
    paste_into(out, change, None)
    return out


def paste_back(photo: Pixels, change: FaceChange, square: Frame) -> Pixels:
    """Return a photo, uint8 [height, width, 3], with a change applied to the face in `square`.

    Nothing outside the square changes, and no change gives the photo back exactly.
    """
    out = photo.copy()
    paste_into(out, change, square)
    return out


def paste_into(photo: Pixels, change: FaceChange, square: Frame | None) -> None:
    """Apply a change to the face in `square` of a photo, uint8 [height, width, 3], which is overwritten; None: to all
    of it."""
    if square is None:
        height, width = photo.shape[:2]
        _apply(photo, change, np.array([[width, 0], [0, height]]), np.zeros(2), fade=False)
        return
    cosine, sine = math.cos(square.roll) * square.side, math.sin(square.roll) * square.side
    axes = np.array([[cosine, -sine], [sine, cosine]])  # the face's own right and down, as columns
    _apply(photo, change, axes, np.array([square.x, square.y]) - axes.sum(1) / 2, fade=True)


def drawing_memory(width: int, height: int) -> int:
    """Return about how many bytes `paste_into` takes for a face of this size, without the photo."""
    knots = _knots_over(np.diag([float(width), float(height)]), np.zeros(2))
    points = width * height if width < 2 * KNOTS else knots.columns * knots.rows
    return 4 * width * height + PER_POINT * points


class _Knots(NamedTuple):
    """A grid of points over the part of a photo that changes."""

    left: int
    top: int
    step: int
    """Pixels from one point to the next."""
    columns: int
    rows: int
    """Cells between the points."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.columns * self.step, self.rows * self.step


def _apply(
    photo: Pixels, change: FaceChange, axes: NDArray[np.float64], origin: NDArray[np.float64], fade: bool
) -> None:
    """Apply a change to the face whose corner is at `origin` and whose right and down are the columns of `axes`."""
    knots = _knots_over(axes, origin)
    at_knots = _Sampler(knots, axes, origin, fade)
    to_pixels = axes.T.astype(np.float32)
    base = (at_knots(change.base) * at_knots.share @ to_pixels).astype(np.float32, copy=False)
    split = (at_knots(change.split) * at_knots.share @ to_pixels).astype(np.float32, copy=False)
    window = _Window(photo, knots, reach=math.ceil(float(np.abs(base).max() + np.abs(split).max())) + 3)
    if window.empty:
        return
    # How far above the lip line, in widths of the cut.
    above = at_knots(change.height) * np.float32(float(np.hypot(*axes[:, 1])) / EDGE)
    parted = _cells_with(_moves(split))
    upper, lower = ~(parted & ~_cells_with(above > -CLEAR)), _cells_with(above < CLEAR)
    _move(photo, window, base + split, _cells_with(_moves(base + split)), upper)
    _move(photo, window, base - split, parted, lower, above)
    for channel, left, light in _light(change.light, at_knots):
        window.add(photo, left, light, channel if change.light.shape[2] > 1 else None)
    if change.smooth is not None:
        share = at_knots(change.smooth).clip(0, 1) * at_knots.share[..., 0]
        _smooth(photo, window, share, FINEST * float(np.hypot(*axes[:, 0])))


class _Sampler:
    """Reads maps over a face, bicubic: at the knots, or with `pixels` in the middle of every pixel under them."""

    def __init__(
        self, knots: _Knots, axes: NDArray[np.float64], origin: NDArray[np.float64], fade: bool, pixels: bool = False
    ):
        self.knots, self.axes, self.origin, self.fade = knots, axes, origin, fade
        self.to_face = np.linalg.inv(axes)  # from pixels of the photo to shares of the face's sides
        self.step, middle = (1, 0.5) if pixels else (knots.step, 0.0)
        self.extent = knots.size if pixels else (knots.columns + 1, knots.rows + 1)
        self.start = np.array([knots.left, knots.top]) + middle - origin

    def __call__(self, layers: Array) -> Array:
        """Return [size, size] or [size, size, channels] at the places, [high, wide] or [high, wide, channels]."""
        if layers.ndim == 2:
            return self._one(layers)
        return np.stack([self._one(layers[..., c]) for c in range(layers.shape[2])], axis=2)

    @cached_property
    def share(self) -> Array:
        """Weights at the places, [high, wide, 1]: 1 inside the face, smoothly to 0 at its edge; 1 if nothing fades."""
        wide, high = self.extent
        if not self.fade:
            return np.ones((high, wide, 1), np.float32)
        grid = np.mgrid[:high, :wide][::-1].reshape(2, -1) * self.step
        places = (self.to_face @ (grid + self.start[:, None])).reshape(2, high, wide)
        margin = 1.5 * self.knots.step / float(np.hypot(*self.axes[:, 0]))  # so that no cell reaches out of the face
        from_edge = ((np.minimum(places, 1 - places) - margin) / FADE).clip(0, 1)
        return np.prod(from_edge * from_edge * (3 - 2 * from_edge), axis=0)[..., None].astype(np.float32)

    def _one(self, layer: Array) -> Array:
        to_map = self.to_face * len(layer)
        per_place = to_map * self.step
        first = to_map @ self.start + EDGE_PLACES - per_place.sum(1) / 2  # Pillow reads for the middles of its pixels
        affine = (*per_place[0], first[0], *per_place[1], first[1])
        image = Image.fromarray(np.pad(layer.astype(np.float32), EDGE_PLACES, mode="edge"))
        return np.asarray(image.transform(self.extent, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))


class _Window:
    """The part of a photo under the knots, and the pixels around it that flows may reach; beyond the photo its edge."""

    def __init__(self, photo: Pixels, knots: _Knots, reach: int):
        (width, height), (high, wide) = knots.size, photo.shape[:2]
        self.knots, self.reach = knots, reach
        self.target = (
            max(knots.left, 0), max(knots.top, 0), min(knots.left + width, wide), min(knots.top + height, high),
        )  # fmt: skip
        self.empty = self.target[0] >= self.target[2] or self.target[1] >= self.target[3]
        if not self.empty:
            width, height = width + 2 * reach, height + 2 * reach
            self.source = Image.new("RGB", (width, height))
            lines = max(1, STRIP // width)
            for top in range(0, height, lines):  # a part at a time, as each is copied twice on its way
                some = knots.left - reach, knots.top - reach + top, width, min(lines, height - top)
                self.source.paste(Image.fromarray(cut_box(photo, *some)), (0, top))

    def under(self, photo: Pixels, left: int, top: int, right: int, bottom: int) -> tuple[Pixels, tuple[slice, slice]]:
        """Return the part of the photo that lies in a box, in pixels from the first knot, and where in the box."""
        x, y = self.knots.left + left, self.knots.top + top
        first, last = max(x, self.target[0]), min(self.knots.left + right, self.target[2])
        upper, lower = max(y, self.target[1]), min(self.knots.top + bottom, self.target[3])
        last, lower = max(first, last), max(upper, lower)
        return photo[upper:lower, first:last], np.s_[upper - y : lower - y, first - x : last - x]

    def add(self, photo: Pixels, left: int, light: Array, channel: int | None) -> None:
        """Add light, [high, columns] of 255, from this column under the knots on, to one colour; None: to all."""
        pixels, here = self.under(photo, left, 0, left + light.shape[1], light.shape[0])
        pixels = pixels if channel is None else pixels[..., channel : channel + 1]
        pixels[...] = np.clip(pixels.astype(np.int16) + np.rint(light[here]).astype(np.int16)[..., None], 0, 255)


def _knots_over(axes: NDArray[np.float64], origin: NDArray[np.float64]) -> _Knots:
    """Return knots that cover a face."""
    corners = origin + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ axes.T
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    side = float(np.hypot(*axes[:, 0]))
    step = max(1 if side < SMALL_SIDE else 2, round(side / KNOTS))
    return _Knots(int(left), int(top), step, max(1, -(-(right - left) // step)), max(1, -(-(bottom - top) // step)))


def _moves(flow: Array) -> Mask:
    """Say for each knot whether a flow [rows + 1, columns + 1, 2] moves it."""
    return (np.abs(flow[..., 0]) > LEAST_FLOW) | (np.abs(flow[..., 1]) > LEAST_FLOW)


def _cells_with(knots: Mask) -> Mask:
    """Say for each cell, [rows, columns], whether one of the knots at its corners is true."""
    return knots[:-1, :-1] | knots[1:, :-1] | knots[1:, 1:] | knots[:-1, 1:]


def _box_of(cells: Mask) -> Box | None:
    """Return the box (left, top, right, bottom) around the cells that are true; None if there are none."""
    if not cells.any():
        return None
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _move(photo: Pixels, window: _Window, flow: Array, cells: Mask, shown: Mask, above: Array | None = None) -> None:
    """Write into the photo what a flow [rows + 1, columns + 1, 2], in pixels, reads in these cells and among them.

    Cells that are not `shown` need not be read: what lies above the lip line stays as it is in the photo, by `above`,
    [rows + 1, columns + 1], and what lies below it is written later.
    """
    box = _box_of(cells & shown)
    if box is None:
        return
    left, top, right, bottom = (value * window.knots.step for value in box)
    unit = max(SQUARES) * window.knots.step  # no square lies in two strips
    wide = unit * max(1, STRIP // (unit * (bottom - top)))
    heights: Iterator[tuple[int, Array]] = iter(())
    if above is not None:
        inside = above[box[1] : box[3] + 1, box[0] : box[2] + 1]
        heights = _between_knots(inside, (right - left, bottom - top), wide)
    for start, read in _read(window, flow, shown, box, wide):
        there, here = window.under(photo, left + start, top, left + start + read.width, bottom)
        new = np.asarray(read)[here]
        if above is not None:
            height = next(heights)[1][here]
            share = (np.float32(1) / (np.float32(1) + np.exp(-height.clip(-20, 20))))[..., None]
            mixed = there.astype(np.float32)
            mixed -= new
            mixed *= share
            mixed += new
            new = np.rint(mixed, out=mixed)
        there[...] = new


def _read(window: _Window, flow: Array, shown: Mask, box: Box, wide: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the cells of `box` as a flow [rows + 1, columns + 1, 2], in pixels, reads them: strips of so many columns,
    with the first of these. What does not move, or is not shown, is the photo's own."""
    left, top, right, bottom = box
    step = window.knots.step
    flow = flow[top : bottom + 1, left : right + 1]
    flow = np.where(_moves(flow)[..., None], flow, 0)
    wanted = shown[top:bottom, left:right] & _cells_with(_moves(flow))
    y, x = np.mgrid[: bottom - top + 1, : right - left + 1]
    places = np.stack([x + left, y + top], axis=2) * step + flow + window.reach
    found = [(np.full(len(rows), side), rows, columns) for side, rows, columns in squares_over(flow, wanted)]
    sides, rows, columns = map(np.concatenate, zip(*found, strict=True))
    squares = np.stack([columns, rows, columns + sides, rows + sides], axis=1) * step
    corners = (rows, columns), (rows + sides, columns), (rows + sides, columns + sides), (rows, columns + sides)
    quads = np.stack([places[corner] for corner in corners], axis=1)
    for start in range(0, (right - left) * step, wide):
        inside = squares[:, 0] // wide == start // wide
        end = min(start + wide, (right - left) * step)
        place = np.array([left * step + start, top * step, left * step + end, bottom * step]) + window.reach
        strip = window.source.crop(tuple(place.tolist()))
        read_quads(window.source, strip, squares[inside] - [start, 0, start, 0], quads[inside])
        yield start, strip


def _between_knots(
    values: Array, size: tuple[int, int], wide: int, how: Image.Resampling = Image.Resampling.BICUBIC
) -> Iterator[tuple[int, Array]]:
    """Yield values at knots, [rows + 1, columns + 1], for every pixel of the cells between them: strips of so many
    columns, with the first of these."""
    high, last = values.shape[0], values.shape[1] - 0.5
    # Pillow's pixels have their value in their middle, knots at the corner. Along the rows first, as Pillow does it.
    rows = Image.fromarray(np.ascontiguousarray(values)).resize((size[0], high), how, box=(0.5, 0, last, high))
    for left in range(0, size[0], wide):
        columns = min(wide, size[0] - left)
        strip = rows.crop((left, 0, left + columns, high))
        yield left, np.asarray(strip.resize((columns, size[1]), how, box=(0, 0.5, columns, high - 0.5)))


def _light(light: Array, at_knots: _Sampler) -> Iterator[tuple[int, int, Array]]:
    """Yield what to add to the pixels under the knots, [high, columns] of 255: the channel, the first column, and this;
    nothing if it is nothing."""
    if np.abs(light).max() * 255 < 0.5:
        return
    knots, axes = at_knots.knots, at_knots.axes
    fine = np.hypot(*axes[:, 0]) < KNOTS  # knots are further apart than places: between them lines would blur
    places = _Sampler(knots, axes, at_knots.origin, at_knots.fade, pixels=True) if fine else at_knots
    there = places(light) * np.float32(255) * places.share
    wide = max(1, STRIP // knots.size[1])
    for channel, layer in enumerate(np.moveaxis(there, 2, 0)):
        if fine:
            yield channel, 0, layer
            continue
        # Linearly: a cubic filter's waves would reach beyond the face.
        for left, strip in _between_knots(layer, knots.size, wide, Image.Resampling.BILINEAR):
            yield channel, left, strip


def _smooth(photo: Pixels, window: _Window, share: Array, deviation: float) -> None:
    """Take a share at the knots, [rows + 1, columns + 1], of what is finer than a blur, in pixels, from the photo."""
    box = _box_of(_cells_with(share > LEAST_SMOOTHED))
    if box is None:
        return
    left, top, right, bottom = (value * window.knots.step for value in box)
    around = math.ceil(4 * deviation)
    wider, (rows, columns) = window.under(photo, left - around, top - around, right + around, bottom + around)
    there, (high, wide) = window.under(photo, left, top, right, bottom)
    if not there.size:
        return
    above, before = around + high.start - rows.start, around + wide.start - columns.start
    blurred = np.asarray(Image.fromarray(wider).filter(ImageFilter.GaussianBlur(deviation)))
    blurred = blurred[above : above + there.shape[0], before : before + there.shape[1]]
    inside = share[box[1] : box[3] + 1, box[0] : box[2] + 1]
    columns_at_once = max(1, STRIP // (bottom - top))
    strips = _between_knots(inside, (right - left, bottom - top), columns_at_once, Image.Resampling.BILINEAR)
    for start, strip in strips:
        first, last = max(start, wide.start), min(start + strip.shape[1], wide.stop)
        if first >= last:
            continue
        here = np.s_[:, first - wide.start : last - wide.start]
        mixed = there[here].astype(np.float32)
        mixed += (blurred[here] - mixed) * strip[high, first - start : last - start, None]
        there[here] = np.rint(mixed, out=mixed)

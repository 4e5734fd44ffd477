"""Read many small quadrilaterals of an image into squares of another, as fast as Pillow's C code does it."""

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Cells = NDArray[np.bool_]

#: Sides, in cells between knots, of the squares that are read at once.
SQUARES = (8, 4, 2, 1)
#: A square of several cells may read so many pixels beside the flow.
NEARLY = 0.15


def read_quads(source: Image.Image, out: Image.Image, squares: NDArray[np.integer], quads: NDArray[np.float64]) -> None:
    """Overwrite squares of an image with what is read from quadrilaterals of another, bicubic.

    `squares` are [count, 4]: left, top, right, bottom. `quads` are [count, 4, 2]: where their corners lie in `source`,
    upper left, lower left, lower right, upper right. It is Pillow's transform MESH, to the pixel.
    """
    # Pillow's own loop over a mesh takes longer for each of thousands of squares than its C code, so that is called
    # directly. Before version 10.4 it has another name.
    transform = getattr(out.im, "transform", None)
    if transform is None:
        for (left, top, *end), quad in zip(squares.tolist(), quads.reshape(-1, 8).tolist(), strict=True):
            size = end[0] - left, end[1] - top
            out.paste(source.transform(size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC), (left, top))
        return
    start, below, across, right = np.moveaxis(quads, 1, 0)
    by_x, by_y = (1.0 / (squares[:, end, None] - squares[:, end - 2, None]) for end in (2, 3))
    slopes = (right - start) * by_x, (below - start) * by_y, (across - below - right + start) * by_x * by_y
    factors = np.stack([start, *slopes], axis=2).reshape(-1, 8).tolist()
    # Plain numbers, as an enumeration's members take a tenth of the time to convert.
    pixels, from_quad, bicubic = source.im, int(Image.Transform.QUAD), int(Image.Resampling.BICUBIC)
    for square, quad in zip(zip(*squares.T.tolist(), strict=True), factors, strict=True):
        transform(square, pixels, from_quad, quad, bicubic, True)


def squares_over(flow: NDArray[np.float32], wanted: Cells) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Cover the cells of a flow [rows + 1, columns + 1, 2] by squares: their side in cells, first rows and columns.

    Squares without any `wanted` cell, [rows, columns], are left out; the others are the same whatever is wanted.
    Squares of several cells save most of the time, and are taken where the flow inside is close to what lies between
    their corners. None has both knots that move and knots that do not, so that what does not change stays to the pixel.
    """
    rows, columns = flow.shape[0] - 1, flow.shape[1] - 1
    free = np.ones((rows, columns), bool)
    for side in SQUARES:
        down, across = rows // side, columns // side
        if not down or not across:
            continue
        inside = np.lib.stride_tricks.sliding_window_view(flow, (side + 1, side + 1), (0, 1))[::side, ::side]
        whole, some = _in_squares(free, side, np.logical_and), _in_squares(wanted, side, np.logical_or)
        if side > 1:
            # [side + 1, side + 1, 2, down, across]: numpy is fast over the last axes if they are long.
            inside = np.ascontiguousarray(inside.transpose(3, 4, 2, 0, 1))
            share = np.linspace(0, 1, side + 1, dtype=np.float32).reshape(-1, 1, 1, 1)
            edges = inside[0], inside[-1]
            ends = [edge[:1] * (1 - share) + edge[-1:] * share for edge in edges]
            between = ends[0] * (1 - share[..., None]) + ends[1] * share[..., None]
            whole &= np.abs(inside - between).max((0, 1, 2)) < NEARLY
            moves = (inside != 0).any(2)
            whole &= moves.all((0, 1)) | ~moves.any((0, 1))
        row, column = np.nonzero(whole & some)
        free[: down * side, : across * side] &= ~whole.repeat(side, 0).repeat(side, 1)
        yield side, row * side, column * side


def _in_squares(cells: Cells, side: int, both: np.ufunc) -> Cells:
    """Combine the cells [rows, columns] of each whole square, [rows // side, columns // side].

    Line by line, as numpy's own way over two short axes at once takes ten times as long.
    """
    down, across = cells.shape[0] // side * side, cells.shape[1] // side * side
    rows = reduce(both, [cells[first:down:side] for first in range(side)])
    return reduce(both, [rows[:, first:across:side] for first in range(side)])

"""Read many small quadrilaterals of an image into squares of another, as fast as Pillow's C code does it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_quads(
    source: Image.Image, size: tuple[int, int], squares: NDArray[np.integer], quads: NDArray[np.float64]
) -> Image.Image:
    """Return an image of `size` (width, height) whose squares are read from quadrilaterals of another, bicubic.

    `squares` are [count, 4]: left, top, right, bottom. `quads` are [count, 4, 2]: where their corners lie in `source`,
    upper left, lower left, lower right, upper right. It is Pillow's transform MESH, to the pixel.
    """
    out = Image.new(source.mode, size)
    # Pillow's own loop over a mesh takes longer for each of thousands of squares than its C code, so that is called
    # directly. Before version 10.4 it has another name.
    transform = getattr(out.im, "transform", None)
    if transform is None:
        mesh = list(zip(squares.tolist(), quads.reshape(-1, 8).tolist(), strict=True))
        return source.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)
    start, below, across, right = np.moveaxis(quads, 1, 0)
    by_x, by_y = (1.0 / (squares[:, end, None] - squares[:, end - 2, None]) for end in (2, 3))
    slopes = (right - start) * by_x, (below - start) * by_y, (across - below - right + start) * by_x * by_y
    factors = np.stack([start, *slopes], axis=2).reshape(-1, 8).tolist()
    how = source.im, Image.Transform.QUAD
    for square, quad in zip(map(tuple, squares.tolist()), factors, strict=True):
        transform(square, *how, quad, Image.Resampling.BICUBIC, True)
    return out

"""Contact sheets of faces: rows of pictures side by side, so that a run can be looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

ZOOM = 2  # small faces are hard to look at
GAP = 2


def save_sheet(path: Path, columns: Sequence[Float[Tensor, "batch channels high wide"]], wide: int = 4) -> None:
    """Write faces in [-1, 1] as a PNG: the columns of one face side by side, `wide` faces to a line."""
    cells = [_bytes(column) for column in columns]
    count, height, width, _ = cells[0].shape
    lines = -(-count // wide)
    cell_width = len(cells) * width + GAP
    sheet = np.full((lines * (height + GAP), wide * cell_width, 3), 255, dtype=np.uint8)
    for i in range(count):
        top, left = i // wide * (height + GAP), i % wide * cell_width
        for k, cell in enumerate(cells):
            sheet[top : top + height, left + k * width : left + (k + 1) * width] = cell[i]
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(sheet)
    picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST).save(path)


def _bytes(faces: Tensor) -> np.ndarray:
    pixels = ((faces.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels

"""Contact sheets of faces: rows of pictures side by side, so that a run can be looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 2


def save_sheet(path: Path, columns: Sequence[NDArray[np.uint8]], wide: int = 4, zoom: int = 2) -> None:
    """Write faces, uint8 [count, height, width, channels], as a PNG; `zoom` as small faces are hard to look at.

    The columns of one face stand side by side, `wide` faces to a line.
    """
    count, height, width, _ = columns[0].shape
    lines = -(-count // wide)
    cell_width = len(columns) * width + GAP
    sheet = np.full((lines * (height + GAP), wide * cell_width, 3), 255, dtype=np.uint8)
    for i in range(count):
        top, left = i // wide * (height + GAP), i % wide * cell_width
        for k, column in enumerate(columns):
            sheet[top : top + height, left + k * width : left + (k + 1) * width] = column[i]
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(sheet)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST).save(path)

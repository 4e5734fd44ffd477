"""Sheets of faces: with captions, or in rows and columns with names."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pfvit.data.images import Pixels
from pfvit.rendering import INK, PAPER, font_of

CELL = 96  # pixels along each side of a face
GAP = 6
WIDE = 8  # faces to a line
TEXT = 12
LINE = 15  # pixels from one line of text to the next
NAMES = 92  # width of the column of names


def captioned(cells: Sequence[tuple[Pixels, str]], wide: int = WIDE) -> Image.Image:
    """Return faces with lines of text below each, `wide` to a line."""
    wide = min(wide, len(cells))
    below = LINE * max(text.count("\n") + 1 for _, text in cells)
    lines = -(-len(cells) // wide)
    step = CELL + below + GAP
    sheet = Image.new("RGB", (wide * (CELL + GAP) + GAP, lines * step + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    for place, (face, text) in enumerate(cells):
        left, top = GAP + place % wide * (CELL + GAP), GAP + place // wide * step
        sheet.paste(square(face), (left, top))
        pen.multiline_text((left, top + CELL + 1), text, INK, font, spacing=2)
    return sheet


def grid(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Pixels]]]) -> Image.Image:
    """Return faces in named columns, and rows with a name each."""
    width = NAMES + len(columns) * (CELL + GAP) + GAP
    sheet = Image.new("RGB", (width, LINE + 2 * GAP + len(rows) * (CELL + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    for place, name in enumerate(columns):
        pen.text((NAMES + place * (CELL + GAP) + CELL // 2, GAP + LINE // 2), name, INK, font, anchor="mm")
    for line, (name, pictures) in enumerate(rows):
        top = LINE + 2 * GAP + line * (CELL + GAP)
        pen.text((NAMES - GAP, top + CELL // 2), name, INK, font, anchor="rm")
        for place, face in enumerate(pictures):
            sheet.paste(square(face), (NAMES + place * (CELL + GAP), top))
    return sheet


def square(face: Pixels) -> Image.Image:
    """Return a face at the size of a cell."""
    picture = Image.fromarray(np.ascontiguousarray(face))
    return picture if picture.size == (CELL, CELL) else picture.resize((CELL, CELL), Image.Resampling.BICUBIC)

"""Pictures to look at: the views of a face, photos with boxes and names, contact sheets, heat maps."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pfvit.data.images import Pixels
from pfvit.utils.files import atomic_write, cannot_write

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

SIDE = 240  # of one panel, in pixels
GAP = 16
SHEET_GAP = 2  # between faces of a contact sheet
CAPTION = 34
BARS = 300  # width of the bars' column
LABEL = 104
TEXT = 15
ROWS = 16  # of a photo, that are computed together
PAPER, INK, SOFT, ACCENT = (255, 255, 255), (32, 33, 36), (188, 193, 200), (206, 66, 43)
#: From no change to the largest in the face: transparent, through orange, to light yellow.
HEAT = np.array([[20, 12, 60, 0], [120, 28, 109, 120], [229, 92, 48, 190], [252, 255, 164, 230]], dtype=np.float32)
#: A change below this is not shown as the largest: a face that is calm already has an empty map.
FAINT = 0.1


class Named(Protocol):
    """A face to be named in a photo: `pfvit.Reading` is one."""

    @property
    def box(self) -> Box:
        """Left, top, width and height in pixels."""
        ...

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        ...

    @property
    def unsure(self) -> bool:
        """Whether the answer is no name for the expression."""
        ...

    @property
    def probabilities(self) -> dict[str, float]:
        """Of every emotion."""
        ...


def with_alpha(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Return uint8 [height, width, 4] that shows `pixels` over white again: colours under their opacity."""
    made = np.empty((*alpha.shape, 4), np.uint8)
    for top in range(0, len(alpha), ROWS):  # floats take four times the memory
        some = slice(top, top + ROWS)
        share = alpha[some, :, None].astype(np.float32) / 255
        under = 255 - (255 - pixels[some].astype(np.float32)) / np.maximum(share, 1 / 255)
        made[some, :, :3] = np.clip(np.rint(under), 0, 255)
        made[some, :, 3] = alpha[some]
    return made


def panels(shown: Sequence[tuple[Image.Image, str]], probabilities: Mapping[str, float], best: str) -> Image.Image:
    """Return pictures of one face side by side with their captions, and bars of the probabilities beside them."""
    width = GAP + len(shown) * (SIDE + GAP) + BARS
    sheet = Image.new("RGB", (width, 2 * GAP + SIDE + CAPTION), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    for place, (panel, caption) in enumerate(shown):
        left = GAP + place * (SIDE + GAP)
        fitted = fit(panel)
        sheet.paste(fitted, (left + (SIDE - fitted.width) // 2, GAP + (SIDE - fitted.height) // 2))
        pen.text((left + SIDE // 2, GAP + SIDE + CAPTION // 2), caption, INK, font, anchor="mm")
    _bars(pen, font, probabilities, best, width - BARS)
    return sheet


@lru_cache
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font; opening it costs more than a line of text."""
    return ImageFont.load_default(size)


def annotated(photo: Pixels, faces: Sequence[Named]) -> Image.Image:
    """Return the photo with a box around each face, the emotion's name above it and how sure; `?` where unsure."""
    return labelled(photo, [(face.box, name_of(face), ACCENT) for face in faces])


def name_of(face: Named) -> str:
    """Return the emotion's name, with a question mark where unsure, and how sure."""
    return f"{face.emotion}{'?' if face.unsure else ''} {face.probabilities[face.emotion]:.0%}"


def labelled(photo: Pixels, boxes: Sequence[tuple[Box, str, Colour]]) -> Image.Image:
    """Return the photo with boxes (left, top, width, height), each with its text above it, in its colour."""
    picture = Image.fromarray(photo)
    pen = ImageDraw.Draw(picture, "RGBA")
    unit = max(picture.size) / 400  # lines and letters grow with the photo
    for (left, top, width, height), text, colour in boxes:
        line = max(1, round(min(unit, max(width, height) / 40)))
        size = max(9, round(min(7 * unit, max(width, height) / 5)))
        font = font_of(size)
        pen.rectangle((left, top, left + width, top + height), outline=colour, width=line)
        wide = pen.textlength(text, font) + size / 2
        x = min(max(0, left), max(0, picture.width - wide))
        y = top - 1.4 * size if top >= 1.4 * size else min(top + height, picture.height - 1.4 * size)
        pen.rectangle((x, y, x + wide, y + 1.4 * size), (*colour, 225))
        pen.text((x + size / 4, y + 0.7 * size), text, PAPER, font, anchor="lm")
    return picture


def heat_over(crop: Pixels, change: NDArray[np.float32]) -> Image.Image:
    """Return the face in gray, SIDE pixels large, with the expression map, float32 [size, size], over it."""
    face = fit(Image.fromarray(crop)).convert("L").convert("RGBA")
    glow = Image.fromarray(heat(change)).resize(face.size, Image.Resampling.BICUBIC)
    face.alpha_composite(glow)
    return face.convert("RGB")


def heat(change: NDArray[np.float32]) -> Pixels:
    """Colour a map of changes, 0 to 1: uint8 [height, width, 4], RGB and opacity, brightest where it is largest."""
    level = change / max(float(change.max(initial=0)), FAINT) * (len(HEAT) - 1)
    low = np.clip(level.astype(int), 0, len(HEAT) - 2)
    share = (level - low)[..., None]
    return np.rint(HEAT[low] * (1 - share) + HEAT[low + 1] * share).astype(np.uint8)


def fit(image: Image.Image) -> Image.Image:
    """Return a picture at the size of one panel: its longer side has SIDE pixels."""
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)


def _bars(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    probabilities: Mapping[str, float],
    best: str,
    left: int,
) -> None:
    step = (SIDE + CAPTION) / len(probabilities)
    longest = BARS - LABEL - 4 * GAP
    for place, (name, share) in enumerate(probabilities.items()):
        middle = GAP + step * (place + 0.5)
        pen.text((left + LABEL - GAP // 2, middle), name, INK, font, anchor="rm")
        end = left + LABEL + max(1, round(longest * share))
        colour = ACCENT if name == best else SOFT
        pen.rectangle((left + LABEL, middle - step * 0.3, end, middle + step * 0.3), colour)
        pen.text((end + GAP // 2, middle), f"{share:.0%}", INK, font, anchor="lm")


def save_sheet(path: Path, columns: Sequence[NDArray[np.uint8]], wide: int = 4, zoom: int = 2) -> None:
    """Write faces, uint8 [count, height, width, channels], as a PNG; `zoom` as small faces are hard to look at.

    The columns of one face stand side by side, `wide` faces to a line.
    """
    count, height, width, _ = columns[0].shape
    lines = -(-count // wide)
    cell_width = len(columns) * width + SHEET_GAP
    sheet = np.full((lines * (height + SHEET_GAP), wide * cell_width, 3), 255, dtype=np.uint8)
    for i in range(count):
        top, left = i // wide * (height + SHEET_GAP), i % wide * cell_width
        for k, column in enumerate(columns):
            sheet[top : top + height, left + k * width : left + (k + 1) * width] = column[i]
    picture = Image.fromarray(sheet)
    save_whole(picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST), path)


def save_whole(picture: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all, and its folder; OutputError if it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    with atomic_write(path) as new:
        picture.save(new)

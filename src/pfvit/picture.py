"""One picture of all that is read in a face: it, its reconstruction, its poker face, what changed, and how sure."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pfvit.data.pictures import Pixels
from pfvit.metrics import confidence_bins
from pfvit.reader import Reading

Colour = tuple[int, int, int]

SIDE = 240  # of one panel, in pixels
GAP = 16
CAPTION = 34
BARS = 300  # width of the bars' column
LABEL = 104
TEXT = 15
PAPER, INK, SOFT, ACCENT = (255, 255, 255), (32, 33, 36), (188, 193, 200), (206, 66, 43)
#: From no change to the largest in the face: transparent, through orange, to light yellow.
HEAT = np.array([[20, 12, 60, 0], [120, 28, 109, 120], [229, 92, 48, 190], [252, 255, 164, 230]], dtype=np.float32)
#: A change below this is not shown as the largest: a face that is calm already has an empty map.
FAINT = 0.1


def panels(reading: Reading) -> Image.Image:
    """Return the picture of one face: four panels with captions, and bars of the probabilities."""
    shown = [
        (_fit(reading.crop), "face"),
        (_fit(reading.reconstruction), "reconstruction"),
        (_fit(reading.poker_face()), "poker face"),
        (heat_over(reading.crop, reading.expression_map), "expression map"),
    ]
    width = GAP + len(shown) * (SIDE + GAP) + BARS
    sheet = Image.new("RGB", (width, 2 * GAP + SIDE + CAPTION), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    for place, (panel, caption) in enumerate(shown):
        left = GAP + place * (SIDE + GAP)
        sheet.paste(panel, (left + (SIDE - panel.width) // 2, GAP + (SIDE - panel.height) // 2))
        pen.text((left + SIDE // 2, GAP + SIDE + CAPTION // 2), caption, INK, font, anchor="mm")
    _bars(pen, font, reading, width - BARS)
    return sheet


@lru_cache
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font; opening it costs more than a line of text."""
    return ImageFont.load_default(size)


def annotated(photo: Pixels, faces: Sequence[Reading]) -> Image.Image:
    """Return the photo with a box around each face, the emotion's name above it and how sure; `?` where unsure."""
    return labelled(photo, [(face.box, name_of(face), ACCENT) for face in faces])


def name_of(face: Reading) -> str:
    """Return the emotion's name, with a question mark where unsure, and how sure."""
    return f"{face.emotion}{'?' if face.unsure else ''} {face.probabilities[face.emotion]:.0%}"


def labelled(photo: Pixels, boxes: Sequence[tuple[tuple[int, int, int, int], str, Colour]]) -> Image.Image:
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
    """Return the face in gray with the expression map (float32 [size, size], 0 to 1) glowing over it."""
    face = _fit(crop).convert("L").convert("RGBA")
    glow = Image.fromarray(heat(change)).resize(face.size, Image.Resampling.BICUBIC)
    face.alpha_composite(glow)
    return face.convert("RGB")


def heat(change: NDArray[np.float32]) -> Pixels:
    """Colour a map of changes, 0 to 1: uint8 [height, width, 4], RGB and opacity, brightest where it is largest."""
    level = change / max(float(change.max(initial=0)), FAINT) * (len(HEAT) - 1)
    low = np.clip(level.astype(int), 0, len(HEAT) - 2)
    share = (level - low)[..., None]
    return np.rint(HEAT[low] * (1 - share) + HEAT[low + 1] * share).astype(np.uint8)


def reliability(probabilities: NDArray[np.floating], truth: NDArray[np.integer], error: float) -> Image.Image:
    """Return a reliability diagram of answers [faces, classes]: how often the model is right when it is so sure.

    Bars on the diagonal are calibrated; the gray strip below shows how many answers each bar stands for.
    """
    count, _, accuracy = confidence_bins(probabilities, truth)
    side, left, top, strip = 2 * SIDE, 4 * GAP, 3 * GAP, 3 * GAP
    sheet = Image.new("RGB", (left + side + GAP, top + side + strip + 4 * GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    bottom, floor = top + side, top + side + strip
    step = side / len(count)
    for place, (faces, share) in enumerate(zip(count, accuracy, strict=True)):
        if faces:
            near, far = left + place * step + 1, left + (place + 1) * step - 1
            pen.rectangle((near, bottom - share * side, far, bottom), ACCENT)
            pen.rectangle((near, floor - max(1, faces / count.max() * (strip - GAP)), far, floor), SOFT)
    pen.line((left, bottom, left + side, top), INK, 2)
    pen.rectangle((left, top, left + side, bottom), outline=SOFT)
    for share in (0, 0.5, 1):
        pen.text((left - GAP // 2, bottom - share * side), f"{share:.0%}", INK, font, anchor="rm")
        pen.text((left + share * side, floor + GAP), f"{share:.0%}", INK, font, anchor="mm")
    pen.text((left, top // 2), f"right answers, by how sure; calibration error {error:.3f}", INK, font, anchor="lm")
    pen.text(
        (left + side // 2, floor + 2 * GAP + GAP // 2), "confidence; how many faces in gray", INK, font, anchor="mm"
    )
    return sheet


def _fit(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    scale = SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def _bars(
    pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, reading: Reading, left: int
) -> None:
    step = (SIDE + CAPTION) / len(reading.probabilities)
    longest = BARS - LABEL - 4 * GAP
    for place, (name, share) in enumerate(reading.probabilities.items()):
        middle = GAP + step * (place + 0.5)
        best = name == reading.emotion
        pen.text((left + LABEL - GAP // 2, middle), name, INK, font, anchor="rm")
        end = left + LABEL + max(1, round(longest * share))
        pen.rectangle((left + LABEL, middle - step * 0.3, end, middle + step * 0.3), ACCENT if best else SOFT)
        pen.text((end + GAP // 2, middle), f"{share:.0%}", INK, font, anchor="lm")

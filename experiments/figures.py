"""The pictures of the README, from portraits that may be shown.

    python experiments/figures.py FOLDER_OF_PORTRAITS

Writes assets/demo.png (the astronaut); assets/pairs.jpg: three people smiling, their poker faces, and their real
neutral photos; and assets/portraits.jpg: for each portrait the face, what the model saw of it, half and all of its
expression taken off, and the expression map. Nothing is picked: all portraits are shown.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pfvit import Reader
from pfvit.rendering import heat_over

SIDE, GAP, HEAD = 160, 6, 26
PORTRAITS = (
    *(f"london_{person}_{look}" for look in ("happiness", "neutral") for person in ("018", "034", "069")),
    *(f"lisa{number}_cc0" for number in (1, 2, 3, 4)),
)
PAIRS = ("018", "034", "069")
PAIR_SIDE, LEFT = 240, 110
HEADINGS = ("face", "reconstruction", "half off", "poker face", "expression map")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--out", type=Path, default=Path("assets"))
    options = parser.parse_args()
    reader = Reader()
    reader.read("assets/astronaut.jpg")[0].to_pil().save(options.out / "demo.png", optimize=True)
    pairs(reader, options.portraits).save(options.out / "pairs.jpg", quality=90)
    blocks = [block(reader, options.portraits / f"{name}.jpg") for name in PORTRAITS]
    half = (len(blocks) + 1) // 2
    width, height = blocks[0].size
    sheet = Image.new("RGB", (2 * width + 4 * GAP, HEAD + half * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column in (0, 1):
        left = column * (width + 4 * GAP)
        for place, text in enumerate(HEADINGS):
            pen.text((left + place * (SIDE + GAP) + SIDE // 2, HEAD // 2), text, "black", font, anchor="mm")
        for row, shown in enumerate(blocks[column * half : (column + 1) * half]):
            sheet.paste(shown, (left, HEAD + row * height))
    sheet.save(options.out / "portraits.jpg", quality=88)


def pairs(reader: Reader, portraits: Path) -> Image.Image:
    """Return a sheet of smiles, their poker faces and the same people's real neutral photos."""
    sheet = Image.new("RGB", (LEFT + len(PAIRS) * (PAIR_SIDE + GAP), 3 * (PAIR_SIDE + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, text in enumerate(("photo", "poker face\nby pfvit", "the person's real\nneutral photo")):
        pen.text(
            (LEFT // 2, row * (PAIR_SIDE + GAP) + PAIR_SIDE // 2), text, "black", font, anchor="mm", align="center"
        )
    for column, person in enumerate(PAIRS):
        smile, calm = (reader.read(portraits / f"london_{person}_{look}.jpg")[0] for look in ("happiness", "neutral"))
        for row, cell in enumerate((smile.crop, smile.poker_face(), calm.crop)):
            face = Image.fromarray(cell).resize((PAIR_SIDE, PAIR_SIDE), Image.Resampling.LANCZOS)
            sheet.paste(face, (LEFT + column * (PAIR_SIDE + GAP), row * (PAIR_SIDE + GAP)))
    return sheet


def block(reader: Reader, path: Path) -> Image.Image:
    """Return one portrait's row."""
    reading = reader.read(path)[0]
    cells = (
        reading.crop,
        reading.reconstruction,
        reading.poker_face(0.5),
        reading.poker_face(),
        np.asarray(heat_over(reading.crop, reading.expression_map)),
    )
    row = Image.new("RGB", (len(cells) * (SIDE + GAP), SIDE + GAP), "white")
    for place, cell in enumerate(cells):
        row.paste(Image.fromarray(cell).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (place * (SIDE + GAP), 0))
    return row


if __name__ == "__main__":
    main()

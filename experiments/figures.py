"""The pictures of the README, from portraits that may be shown.

    python experiments/figures.py FOLDER_OF_PORTRAITS

Writes assets/demo.png (the astronaut) and assets/portraits.jpg: for each portrait the face, what the model saw of it,
half and all of its expression taken off, and the expression map. Nothing is picked: all portraits are shown.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pfvit import Reader
from pfvit.rendering import heat_over, panels

SIDE, GAP, HEAD = 160, 6, 26
PORTRAITS = (
    *(f"london_{person}_{look}" for look in ("happiness", "neutral") for person in ("018", "034", "069")),
    *(f"lisa{number}_cc0" for number in (1, 2, 3, 4)),
)
HEADINGS = ("face", "reconstruction", "half off", "poker face", "expression map")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--out", type=Path, default=Path("assets"))
    options = parser.parse_args()
    reader = Reader()
    panels(reader.read("assets/astronaut.jpg")[0]).save(options.out / "demo.png", optimize=True)
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

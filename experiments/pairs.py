"""A small honest check: is the poker face of a smiling photo closer to the same person's neutral photo?

    python experiments/pairs.py PHOTOS [--weights mine.onnx]

PHOTOS holds `london_group_6x2.jpg`, six people smiling and neutral (Face Research Lab London Set, DeBruine and Jones,
CC BY 4.0). Both photos of a person are cut out at their landmarks, shrunk to 96 px in gray and compared: mean absolute
difference of pixels in [0, 1], SSIM and, where experiments/identity.py finds its recogniser, the cosine of embeddings,
of the smiling face and of its poker face, each with the neutral face.
The detector places two photos of a person a pixel or two apart, so neither figure comes near to equal.
"""

import argparse
from pathlib import Path

import numpy as np
from identity import Recogniser, cosine
from PIL import Image

from pfvit import Reader
from pfvit.data.images import small
from pfvit.evaluation.metrics import ssim

COLUMNS, SIDE = 6, 96
PEOPLE = ("018", "034", "069", "112", "119", "121")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    reader = Reader(options.weights)
    photo = np.asarray(Image.open(options.photos / "london_group_6x2.jpg").convert("RGB"))
    tile = photo.shape[1] // COLUMNS
    try:
        recognise = Recogniser()
    except ImportError:
        recognise = None
    heads = ("L1 smiling", "L1 poker", "SSIM smiling", "SSIM poker", "same smiling", "same poker")
    print(f"{'person':<8}" + "".join(f"{head:>14}" for head in heads) + "  read as")
    rows = []
    for column, person in enumerate(PEOPLE):
        halves = [photo[top : top + tile, column * tile : (column + 1) * tile] for top in (0, tile)]
        neutral, smiling = (reader.read(half)[0] for half in (halves if column % 2 == 0 else halves[::-1]))
        calm = smiling.poker_face()
        target, before, after = (small(face, SIDE, 1)[:, :, 0] for face in (neutral.crop, smiling.crop, calm))
        figures = [np.abs(face - target).mean() for face in (before, after)]
        figures += [ssim(face[None], target[None])[0] for face in (before, after)]
        if recognise is not None:
            figures += [cosine(recognise(face), recognise(neutral.crop)) for face in (smiling.crop, calm)]
        rows.append(figures)
        named = reader.read(calm, whole=True)[0].emotion
        print(f"{person:<8}" + "".join(f"{figure:>14.4f}" for figure in figures) + f"  {smiling.emotion} -> {named}")
    print(f"{'mean':<8}" + "".join(f"{figure:>14.4f}" for figure in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()

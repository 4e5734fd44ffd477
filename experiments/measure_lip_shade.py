"""How bright closed lips are across their line: the numbers in src/pfvit/inference/lip_shade.py.

    python experiments/measure_lip_shade.py FACES.parquet [MORE.parquet ...] [--faces 300]

Takes faces at random that the recogniser gives more than 0.9 of neutral and whose lips the photo model does not part.
Their line is where its height map is 0. Then the same of clear smiles after `pfvit poker`, without and with the shade.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pfvit import Reader, Reading
from pfvit.inference.face_change import enlarged
from pfvit.inference.face_edit import apply_change
from pfvit.inference.lip_shade import BESIDE, CLOSED, MIDDLE, STEP
from pfvit.inference.smile_folds import soften_folds

SIDE = 224  # pixels
COLUMNS = range(round(0.36 * SIDE), round(0.64 * SIDE), 2)
STILL, PARTED = 0.002, 0.0075  # how far lips part, in shares of the side
HEIGHTS = (np.arange(len(CLOSED)) - MIDDLE) * STEP


def faces(data: Path, emotion: str, count: int, reader: Reader) -> Iterator[Reading]:
    """Yield faces that the recogniser gives more than 0.9 of an emotion."""
    images = pq.read_table(data)["image"]
    for row in np.random.default_rng(1).permutation(len(images)).tolist():
        held = images[row].as_py()
        photo = np.asarray(Image.open(io.BytesIO(held["bytes"] if isinstance(held, dict) else held)).convert("RGB"))
        found = reader.read(photo)
        if found and found[0].score > 0.9 and found[0].probabilities[emotion] > 0.9:
            yield found[0]
            count -= 1
        if not count:
            return


def profile(crop: np.ndarray, height: np.ndarray) -> np.ndarray | None:
    """Return how bright a crop [SIDE, SIDE, 3] is at HEIGHTS over its lip line, [heights, 3], as shares of BESIDE's."""
    bright = crop.astype(float)
    found = []
    for x in COLUMNS:
        column = height[:, x]
        rows = np.flatnonzero((column[:-1] > 0) & (column[1:] <= 0))
        for row in rows[(rows > 0.6 * SIDE) & (rows < 0.95 * SIDE)][:1]:
            line = row + column[row] / (column[row] - column[row + 1])
            places = line - HEIGHTS * SIDE
            found.append(np.stack([np.interp(places, np.arange(SIDE), bright[:, x, c]) for c in range(3)], axis=1))
    if not found:
        return None
    mean = np.mean(found, axis=0)
    return mean / mean[BESIDE].mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--faces", type=int, default=300)
    options = parser.parse_args()
    reader, rows = Reader(), {"closed lips": [], "smiles, not shaded": [], "smiles, as they ship": []}
    for data in options.data:
        for emotion in ("neutral", "happiness"):
            for face in faces(data, emotion, options.faces, reader):
                change = face._moved
                height = enlarged(change.height[..., None], SIDE)[..., 0]
                parted = float(np.abs(change.split).max())
                shown = {}
                if emotion == "neutral" and parted < STILL:
                    shown = {"closed lips": face.crop}
                if emotion == "happiness" and parted > PARTED:
                    unshaded = apply_change(face.crop, soften_folds(face.crop, change))
                    shown = {"smiles, not shaded": unshaded, "smiles, as they ship": face.poker_face()}
                for name, crop in shown.items():
                    large = Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                    rows[name].append(profile(np.asarray(large), height))
    for name, found in rows.items():
        known = [one for one in found if one is not None]
        print(f"{name}, {len(known)} faces, red, green and blue:\n{np.median(known, axis=0).T.round(2).tolist()}")


if __name__ == "__main__":
    main()

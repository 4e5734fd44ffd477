"""How many clear smiles an outside judge calls neutral after `pfvit poker`, and how many without some of its parts.

    python experiments/measure_clear_smiles.py FACES.parquet --judge FOLDER [--faces 120]

FOLDER has face-api installed (experiments/face_api_judge.cjs). Takes faces at random that the recogniser gives more
than 0.9 of happiness. The photo model may have been trained on them; the judge had no part in anything.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measure_poker import _as_cut, judged
from PIL import Image

from pfvit import Reader, Reading
from pfvit.emotions import NEUTRAL
from pfvit.inference.face_edit import paste_back
from pfvit.inference.smile_folds import soften_folds


def clear_smiles(data: Path, count: int) -> list[tuple[np.ndarray, Reading]]:
    """Return pictures of clear smiles, uint8 [height, width, 3], and what is read of them."""
    images, reader, found = pq.read_table(data)["image"], Reader(), []
    for row in np.random.default_rng(0).permutation(len(images)).tolist():
        held = images[row].as_py()
        picture = Image.open(io.BytesIO(held["bytes"] if isinstance(held, dict) else held))
        photo = np.asarray(picture.convert("RGB"))
        faces = reader.read(photo)
        if faces and faces[0].score > 0.9 and faces[0].probabilities["happiness"] > 0.9:
            found.append((photo, faces[0]))
        if len(found) == count:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=120)
    options = parser.parse_args()
    smiles = clear_smiles(options.data, options.faces)
    kinds = {
        "as they are": [photo for photo, _ in smiles],
        "folds and lips as moved": [paste_back(photo, face._moved, face.frame) for photo, face in smiles],
        "lips as moved": [
            paste_back(photo, soften_folds(face.crop, face._moved), face.frame) for photo, face in smiles
        ],
        "poker face": [face.paste_back(photo) for photo, face in smiles],
    }
    print(f"{len(smiles)} clear smiles\n\n| | called neutral | p(neutral) |\n|---|---|---|")
    for name, photos in kinds.items():
        said = judged([_as_cut(photo, face) for photo, (_, face) in zip(photos, smiles, strict=True)], options.judge)
        shares = [one["expressions"] for one in said]
        called = np.mean([max(one, key=one.get) == NEUTRAL for one in shares])
        print(f"| {name} | {called:.3f} | {np.mean([one[NEUTRAL] for one in shares]):.3f} |", flush=True)


if __name__ == "__main__":
    main()

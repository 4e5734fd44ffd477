"""How calm faces look that frown, are sad or surprised, after `pfvit poker`, and without its rule for brows.

    python experiments/measure_other_expressions.py POINTS.npz utk=FACES.parquet fair=FACES.parquet --judge FOLDER

Takes frontal faces at random to which POINTS.npz gives more than 0.6 of an emotion. FOLDER has face-api installed
(experiments/face_api_judge.cjs); the judge had no part in anything. The photo model was trained on these faces, and the
numbers of `pfvit.inference.brows` are means over them.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measure_poker import _as_cut, judged
from PIL import Image

from pfvit import Reader, Reading
from pfvit.datasets.mesh_points import FRONTAL, load_mesh_points, turn
from pfvit.emotions import EIGHT, NEUTRAL
from pfvit.inference.face_edit import FaceChange, paste_back
from pfvit.inference.generator import CALM, change_of, with_skin

SURE = 0.6
SHOWN = ("anger", "sadness", "surprise", "neutral")


def without_brows(face: Reading) -> FaceChange:
    """Return the face's change with brows as the photo model moves them."""
    return with_skin(face.crop, change_of(face.crop, *face._maps), CALM, face.trust)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("sets", nargs="+", help="NAME=FILE.parquet")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=70, help="of each emotion and set, at most")
    options = parser.parse_args()
    reader, rng = Reader(), np.random.default_rng(5)
    print("| | faces | as they are | brows as the model moves them | poker face |\n|---|---|---|---|---|")
    for name, file in (word.split("=") for word in options.sets):
        points, cells = load_mesh_points(options.points, name), pq.read_table(file)["image"]
        frontal = points.found & (turn(points.points) < FRONTAL)
        for emotion in SHOWN:
            rows = np.flatnonzero(frontal & (points.shares[:, EIGHT.index(emotion)] > SURE))
            pictures = [_picture(cells[int(row)].as_py()) for row in rng.permutation(rows)[: options.faces]]
            found = [(picture, faces[0]) for picture in pictures if (faces := reader.read(picture))]
            kinds = [
                [picture for picture, _ in found],
                [paste_back(picture, without_brows(face), face.frame) for picture, face in found],
                [face.paste_back(picture) for picture, face in found],
            ]
            said = []
            for kind in kinds:
                cuts = [_as_cut(picture, face) for picture, (_, face) in zip(kind, found, strict=True)]
                shares = [one["expressions"] for one in judged(cuts, options.judge)]
                said.append(np.mean([max(one, key=one.get) == NEUTRAL for one in shares]))
            print("| " + " | ".join([f"{name}, {emotion}", str(len(found)), *(f"{one:.3f}" for one in said)]) + " |")


def _picture(held: object) -> np.ndarray:
    picture = Image.open(io.BytesIO(held["bytes"] if isinstance(held, dict) else held))
    return np.asarray(picture.convert("RGB"))


if __name__ == "__main__":
    main()

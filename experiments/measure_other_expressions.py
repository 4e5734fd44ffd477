"""How calm faces look that frown, are sad, surprised, or open their mouths wide, after `pfvit poker`; after one look
only, and without its rule for brows.

    python experiments/measure_other_expressions.py POINTS.npz utk=FACES.parquet fair=FACES.parquet --judge FOLDER

Takes frontal faces at random to which POINTS.npz gives more than 0.6 of an emotion, or a wide mouth. FOLDER has
face-api installed (experiments/face_api_judge.cjs); the judge had no part in anything. The photo model was trained on
these faces, and the numbers of `pfvit.inference.brows` are means over them, which are printed first.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measure_poker import _as_cut, judged
from PIL import Image

from pfvit import Reader, Reading
from pfvit.datasets.mesh_points import FRONTAL, MeshPoints, load_mesh_points, mouth_opening, strictly_neutral, turn
from pfvit.emotions import EIGHT, NEUTRAL
from pfvit.inference.face_change import FaceChange
from pfvit.inference.face_edit import paste_back
from pfvit.inference.generator import change_of, with_skin
from pfvit.inference.smile_parts import SMILES

SURE = 0.6
#: Mesh points of the viewer's left and right: inner, middle and outer ends of the brows, and the skin between them.
BROWS = {"inner": (107, 336, 55, 285), "middle": (105, 334, 52, 282), "outer": (46, 276), "between": (9,)}
MOVED = ("anger", "sadness", "surprise", "fear", "happiness")
SHOWN = ("anger", "sadness", "surprise", "neutral")
#: A mouth is wide if its lips are so far apart, in distances of the eyes' outer corners.
WIDE = 0.2


def after_one_look(face: Reading, brows: bool) -> FaceChange:
    """Return the face's change as the photo model first sees it, with its brows eased or as the model moves them."""
    maps, trust = face.generator.careful_maps([face.crop])[0]
    shares = face.probabilities if brows else {name: face.probabilities[name] for name in SMILES}
    return with_skin(face.crop, change_of(face.crop, maps, trust, shares), shares, trust)


def print_places(name: str, points: MeshPoints, frontal: np.ndarray) -> None:
    """Print how much lower brows are in each emotion than in strictly neutral faces, in face units."""
    calm = points.points[frontal & strictly_neutral(points.points, points.shares)].mean(0)
    for emotion in MOVED:
        shown = points.points[frontal & (points.shares[:, EIGHT.index(emotion)] > SURE)]
        if len(shown):
            lower = (shown.mean(0) - calm)[:, 1]
            places = (f"{place} {lower[list(which)].mean():.3f}" for place, which in BROWS.items())
            print(f"{name}, {emotion}, {len(shown)} faces: brows lower by {', '.join(places)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("sets", nargs="+", help="NAME=FILE.parquet")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=70, help="of each emotion and set, at most")
    options = parser.parse_args()
    reader, rng = Reader(), np.random.default_rng(5)
    sets = []
    for name, file in (word.split("=") for word in options.sets):
        points = load_mesh_points(options.points, name)
        frontal = points.found & (turn(points.points) < FRONTAL)
        print_places(name, points, frontal)
        sets.append((name, points, frontal, pq.read_table(file)["image"]))
    print(
        "\n| | faces | as they are | one look, brows as the model moves them | one look | poker face | left alone |\n"
        + "|---" * 7
        + "|"
    )
    for name, points, frontal, cells in sets:
        kinds = {emotion: frontal & (points.shares[:, EIGHT.index(emotion)] > SURE) for emotion in SHOWN}
        kinds["wide mouth"] = frontal & (mouth_opening(points.points) > WIDE)
        for kind, chosen in kinds.items():
            rows = rng.permutation(np.flatnonzero(chosen))[: options.faces]
            pictures = [_picture(cells[int(row)].as_py()) for row in rows]
            found = [(picture, faces[0]) for picture in pictures if (faces := reader.read(picture))]
            made = [
                [picture for picture, _ in found],
                [paste_back(picture, after_one_look(face, False), face.frame) for picture, face in found],
                [paste_back(picture, after_one_look(face, True), face.frame) for picture, face in found],
                [face.paste_back(picture) for picture, face in found],
            ]
            said = []
            for one in made:
                cuts = [_as_cut(picture, face) for picture, (_, face) in zip(one, found, strict=True)]
                answers = [answer["expressions"] for answer in judged(cuts, options.judge)]
                said.append(np.mean([max(answer, key=answer.get) == NEUTRAL for answer in answers]))
            said.append(np.mean([face.trust < 0.5 for _, face in found]))
            print("| " + " | ".join([f"{name}, {kind}", str(len(found)), *(f"{one:.3f}" for one in said)]) + " |")


def _picture(held: object) -> np.ndarray:
    picture = Image.open(io.BytesIO(held["bytes"] if isinstance(held, dict) else held))
    return np.asarray(picture.convert("RGB"))


if __name__ == "__main__":
    main()

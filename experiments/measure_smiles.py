"""From which share of happiness on a face that is called neutral may be smiling, by where its mesh points lie.

    python experiments/measure_smiles.py points.npz utk=faces_color.parquet fair=faces_fair.parquet [--faces 3000]

POINTS holds mesh points of the files by these names, in the order of their faces (docs/data.md). The shape is judged by
a logistic regression on strictly neutral and on smiling faces of all files, both as likely beforehand. Prints, for
faces called neutral, how many are marked unsure and how many smile by their shape, by the share of happiness in what is
happiness or neutral; and the share at which a quarter of them smile, by a logistic regression on its log odds. These
faces were seen in training.
"""

import argparse
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.linear_model import LogisticRegression

from pfvit import Reader
from pfvit.datasets import mesh_points as mesh
from pfvit.emotions import HAPPINESS, NEUTRAL

EDGES = (0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.25, 0.35, 0.5)
MOST_TURNED, TINY = 0.15, 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("data", nargs="+", help="NAME=FILE")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--faces", type=int, default=3000, help="of each file, from its beginning")
    options = parser.parse_args()
    files = {name: Path(path) for name, _, path in (word.partition("=") for word in options.data)}
    meshes = {name: mesh.load_mesh_points(options.points, name) for name in files}
    found = [one.found for one in meshes.values()]
    teacher = mesh.NeutralTeacher(
        np.concatenate([one.points[there] for one, there in zip(meshes.values(), found, strict=True)]),
        np.concatenate([one.shares[there] for one, there in zip(meshes.values(), found, strict=True)]),
    )
    reader = Reader(options.weights)
    shares, unsure, smiles = [], [], []
    for name, path in files.items():
        points, count = meshes[name], 0
        for batch in pq.ParquetFile(path).iter_batches(256, columns=["image"]):
            faces = [
                np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in batch["image"].to_pylist()
            ]
            for row, (face,) in enumerate(reader.read_each(faces, whole=True), count):
                frontal = points.found[row] and mesh.turn(points.points[row : row + 1])[0] < MOST_TURNED
                if frontal and face.emotion == NEUTRAL:
                    happy, calm = face.probabilities[HAPPINESS], face.probabilities[NEUTRAL]
                    shares.append(happy / (happy + calm))
                    unsure.append(face.unsure)
                    smiles.append(teacher.smile_odds(points.points[row : row + 1])[0] > mesh.SMILE_ODDS)
            count += len(faces)
            if count >= options.faces:
                break
    share, doubted, smiling = np.array(shares), np.array(unsure), np.array(smiles)
    print("| happiness of both | faces called neutral | marked unsure | smile by their shape |\n|---|---|---|---|")
    for low, high in pairwise(EDGES):
        there = (share >= low) & (share < high)
        if there.any():
            print(
                f"| {low:g} to {high:g} | {there.sum()} | {doubted[there].mean():.2f} | {smiling[there].mean():.2f} |"
            )
    odds = np.log(share.clip(TINY) / (1 - share))
    fitted = LogisticRegression(C=1e6).fit(odds[:, None], smiling)
    quarter = (np.log(1 / 3) - fitted.intercept_[0]) / fitted.coef_[0, 0]
    print(f"\na quarter of faces smile by their shape at a share of {1 / (1 + np.exp(-quarter)):.3f}", end=" ")
    print(f"(slope on the log odds {fitted.coef_[0, 0]:.2f}; it should be near 1)")


if __name__ == "__main__":
    main()

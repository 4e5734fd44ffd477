"""Mesh points of every face of Parquet files, as `pfvit train-photo --points` reads them.

    python experiments/mesh_points.py OUT.npz utk=faces_color.parquet fair=faces_fair.parquet lfw=... fer=...

Needs an environment of its own with mediapipe==0.10.21 (its wheel carries the network), numpy<2, pyarrow, pillow, and
pfvit for the shares. About 200 faces/s. Points are stored as 80 principal components of their form in face units.
"""

import io
import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pfvit import Reader
from pfvit.datasets.mesh_points import POINTS, to_face_units

SIDE, PAD, COMPONENTS = 224, 28, 80


def main() -> None:
    out, *sets = sys.argv[1:]
    mesh = mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, min_detection_confidence=0.2)
    reader, stored, units = Reader(), {}, {}
    for name, path in (word.split("=") for word in sets):
        table = pq.read_table(path)
        points, shares = np.full((len(table), POINTS, 2), np.nan), np.zeros((len(table), 8), np.float16)
        for i, cell in enumerate(table["image"].to_pylist()):
            face = np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB").resize((SIDE, SIDE), Image.BICUBIC))
            shares[i] = list(reader.read(face, whole=True)[0].probabilities.values())
            found = mesh.process(np.pad(face, ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")).multi_face_landmarks
            if found:
                place = np.array([[p.x, p.y] for p in found[0].landmark]) * (SIDE + 2 * PAD) - PAD
                points[i] = place / SIDE
        ok = np.isfinite(points[:, 0, 0])
        units[name], origin, axis = to_face_units(points)
        stored |= {f"{name}_oa": np.concatenate([origin, axis], 1).astype(np.float32), f"{name}_ok": ok,
                   f"{name}_share": shares}  # fmt: skip
        if "row" in table.column_names:
            stored[f"{name}_row"] = table["row"].to_numpy().astype(np.int32)
        sys.stderr.write(f"{Path(path).name}: {ok.sum()} of {len(ok)} faces have points\n")
    every = np.concatenate([faces[stored[f"{name}_ok"]] for name, faces in units.items()]).reshape(-1, 2 * POINTS)
    mean = every.mean(0)
    some = np.random.default_rng(0).choice(len(every), min(8000, len(every)), replace=False)
    axes = np.linalg.svd(every[some] - mean, full_matrices=False)[2][:COMPONENTS].T
    for name, faces in units.items():
        flat = np.nan_to_num(faces.reshape(len(faces), -1), nan=0.0)
        stored[f"{name}_coef"] = ((flat - mean) @ axes).astype(np.float16)
    np.savez_compressed(out, mean=mean.astype(np.float32), V=axes.astype(np.float16), **stored)


if __name__ == "__main__":
    main()

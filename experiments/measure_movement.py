"""How well `Reading.movement` agrees with mesh points: rank of faces by region, of a sample from labelled points.

    python experiments/measure_movement.py POINTS.npz utk=faces_color.parquet fair=faces_fair.parquet [--weights W.onnx]

The other side of the comparison is the closed-form teacher: mesh points of the face against those of its neutral face
as the teacher predicts it. Both are in shares of the distance between the eyes. These faces were seen in training, but
not when the readout of brows and lids was fitted (`pfvit.training.eye_readout`).
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pfvit import Reader
from pfvit.datasets.mesh_points import MeshPoints, NeutralTeacher, describe, load_mesh_points, turn
from pfvit.detection.alignment import POINTS, Frame, cut
from pfvit.training.eye_readout import LEFT_OUT

#: How far apart the outer corners of the eyes are, as a share of a crop's side, and in distances between the pupils.
CORNERS, CORNERS_TO_PUPILS = 0.51, 1.42
#: Faces turned further than this are left out, as their mesh is less sure.
FRONTAL = 0.2
REGIONS = {
    "brows": ("brow height", 1),
    "lids": ("eye opening", 1),
    "mouth_corners": ("corner drop", -1),
    "mouth_width": ("mouth width", 1),
    "mouth_opening": ("mouth opening", 1),
}


def frame_of(origin: np.ndarray, axis: np.ndarray) -> Frame:
    """Return the square of a face as the detector's are: the outer corners of its eyes lie around `origin`, an `axis`
    apart."""
    side, roll = float(np.hypot(*axis)) / CORNERS, float(np.arctan2(axis[1], axis[0]))
    middle = np.array([POINTS[:2, 0].mean(), POINTS[0, 1]]) - 0.5
    turned = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) @ middle * side
    return Frame(*(origin - turned), side, roll)


def aligned(picture: np.ndarray, origin: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Cut a face out as the detector's crops are, by the outer corners of its eyes; uint8 [112, 112, 3]."""
    face = cut(picture, frame_of(origin, axis))
    return np.asarray(Image.fromarray(face).resize((112, 112), Image.Resampling.BILINEAR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("sets", nargs="+", help="NAME=FILE.parquet")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--faces", type=int, default=300, help="of each set")
    options = parser.parse_args()
    files = dict(word.split("=") for word in options.sets)
    sets: dict[str, MeshPoints] = {name: load_mesh_points(options.points, name) for name in files}
    found = np.concatenate([one.found for one in sets.values()])
    teacher = NeutralTeacher(
        np.concatenate([one.points for one in sets.values()])[found],
        np.concatenate([one.shares for one in sets.values()])[found],
    )
    reader, rng = Reader(options.weights), np.random.default_rng(0)
    print("| | " + " | ".join(REGIONS) + " |\n|---" * 1 + "|---" * len(REGIONS) + "|")
    for name, one in sets.items():
        known = np.flatnonzero(one.found & (turn(one.points) < FRONTAL))
        picked = rng.choice(known[known % LEFT_OUT[0] == LEFT_OUT[1]], options.faces, replace=False)
        cells = pq.read_table(files[name], columns=["image"])["image"]
        moved = []
        for row in picked:
            picture = np.asarray(Image.open(io.BytesIO(cells[int(row)]["bytes"].as_py())).convert("RGB"))
            size = len(picture)
            face = aligned(picture, one.origin[row] * size, one.axis[row] * size)
            moved.append(reader.read(face, whole=True)[0].movement)
        calm = describe(teacher(one.points[picked], one.shares[picked]))
        now = describe(one.points[picked])
        agree = []
        for region, (measure, sign) in REGIONS.items():
            mesh = sign * (now[measure] - calm[measure]) * CORNERS_TO_PUPILS
            agree.append(np.corrcoef(mesh, [getattr(face, region) for face in moved])[0, 1])
        print(f"| {name}, {options.faces} faces | " + " | ".join(f"{value:.2f}" for value in agree) + " |")


if __name__ == "__main__":
    main()

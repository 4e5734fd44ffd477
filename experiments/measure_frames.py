"""How well the detector finds and places faces that fill their picture, or that its border cuts, against mesh points.

    python experiments/measure_frames.py POINTS.npz utk=faces_color.parquet fair=faces_fair.parquet

Frontal faces are taken at random. Each picture is looked at as it is, with 10 to 35% of the face cut off at one side,
at 15% of its light, at 15% of its contrast around gray, and in noise with a standard deviation of 25. A face is
misplaced if the square that is cut out lies more than 0.12 of its side from where the outer corners of the eyes say, or
if its side is off by more than 30%.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from measure_movement import frame_of
from PIL import Image

from pfvit.datasets.mesh_points import FRONTAL, load_mesh_points, turn
from pfvit.detection.alignment import Frame, frame
from pfvit.detection.detector import LibFaceDetection

#: Half a face's width, and how far it reaches above and below the middle of its square, in sides.
HALF_WIDTH, ABOVE, BELOW = 0.36, 0.42, 0.45
OFF, SCALED = 0.12, np.log(1.3)
SIDES = ("left", "right", "top", "bottom")
LIGHTS = {
    "dark": lambda picture, _: (picture * 0.15).astype(np.uint8),
    "mist": lambda picture, _: (128 + (picture - 128.0) * 0.15).astype(np.uint8),
    "noise": lambda picture, rng: (picture + rng.normal(0, 25, picture.shape)).clip(0, 255).astype(np.uint8),
}


def cut_off(size: int, face: Frame, side: str, share: float) -> tuple[int, int, int, int]:
    """Return the box of a square picture that leaves out this share of a face at one side."""
    x, y, reach = face.x, face.y, face.side
    wide, high = 2 * HALF_WIDTH * reach * share, (ABOVE + BELOW) * reach * share
    box = {
        "left": (x - HALF_WIDTH * reach + wide, 0, size, size),
        "right": (0, 0, x + HALF_WIDTH * reach - wide, size),
        "top": (0, y - ABOVE * reach + high, size, size),
        "bottom": (0, 0, size, y + BELOW * reach - high),
    }[side]
    left, top, right, bottom = (int(np.clip(value, 0, size)) for value in box)
    return left, top, right, bottom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("sets", nargs="+", help="NAME=FILE.parquet")
    parser.add_argument("--faces", type=int, default=500, help="of each set")
    options = parser.parse_args()
    detector, rng = LibFaceDetection(), np.random.default_rng(0)
    print(
        "| | pictures | not found | misplaced | place, median, 95% | size, 5%, median, 95% |\n|---|---|---|---|---|---|"
    )
    for name, file in (word.split("=") for word in options.sets):
        points = load_mesh_points(options.points, name)
        rows = rng.choice(np.flatnonzero(points.found & (turn(points.points) < FRONTAL)), options.faces, replace=False)
        cells = pq.read_table(file, columns=["image"])["image"]
        for kind in ("whole", "cut", *LIGHTS):
            errors, missed = [], 0
            for row in rows:
                picture = np.asarray(Image.open(io.BytesIO(cells[int(row)]["bytes"].as_py())).convert("RGB"))
                true = frame_of(points.origin[row] * len(picture), points.axis[row] * len(picture))
                box = 0, 0, len(picture), len(picture)
                if kind == "cut":
                    box = cut_off(len(picture), true, str(rng.choice(SIDES)), float(rng.uniform(0.1, 0.35)))
                picture = LIGHTS[kind](picture, rng) if kind in LIGHTS else picture
                found = detector.detect(np.ascontiguousarray(picture[box[1] : box[3], box[0] : box[2]]))
                if not found:
                    missed += 1
                    continue
                seen = frame(max(found, key=lambda face: face.box[2] * face.box[3]))
                off = np.hypot(seen.x + box[0] - true.x, seen.y + box[1] - true.y) / true.side
                errors.append((float(off), float(np.log(seen.side / true.side))))
            off, scaled = np.array(errors).T
            misplaced = np.mean((off > OFF) | (np.abs(scaled) > SCALED))
            place = ", ".join(f"{value:.3f}" for value in np.quantile(off, [0.5, 0.95]))
            size = ", ".join(f"{value:.2f}" for value in np.exp(np.quantile(scaled, [0.05, 0.5, 0.95])))
            print(f"| {name}, {kind} | {len(rows)} | {missed} | {misplaced:.3f} | {place} | {size} |", flush=True)


if __name__ == "__main__":
    main()

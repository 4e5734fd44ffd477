#!/usr/bin/env python3
"""Where eyes, nose, mouth and the detector's box lie in the training faces: the numbers in src/pfvit/data/faces.py.

    python experiments/measure_crops.py ferplus_train.parquet [--faces 1000]

Every n-th face is enlarged to 192 px, framed by 96 px of repeated border (so that a face that fills its picture can be
found at all) and shown to the detector; those with exactly one find count.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pfvit.data import images, parquet
from pfvit.detection.detector import LibFaceDetection

SIDE, BORDER = 192, 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=1000)
    options = parser.parse_args()
    cells = [row["image"] for row in parquet.rows(options.data, ["image"])]
    detector = LibFaceDetection()
    points, boxes = [], []
    for number in range(0, len(cells), max(1, len(cells) // options.faces)):
        face = Image.fromarray(images.decode(images.cell_bytes(cells[number], f"row {number}")))
        large = np.asarray(face.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        found = detector.detect(np.pad(large, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge"))
        if len(found) == 1 and found[0].points is not None:
            points.append((found[0].points - BORDER) / SIDE)
            boxes.append(np.array(found[0].box) / SIDE)
    x, y, width, height = np.array(boxes).T
    shift = BORDER / SIDE
    print(f"{len(points)} faces")
    print("points, median:", np.median(points, axis=0).round(3).tolist())
    print(f"box, median centre: {np.median(x + width / 2 - shift):.3f}, {np.median(y + height / 2 - shift):.3f}")
    print(f"box, median root of area: {np.median(np.sqrt(width * height)):.3f}")


if __name__ == "__main__":
    main()

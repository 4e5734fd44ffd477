#!/usr/bin/env python3
"""How a found face should be cut out: accuracy of the shipped weights by margin, with and without standing it upright.

    python experiments/measure_margins.py ferplus_val.parquet [--faces 1000]

Each labelled face is enlarged to 192 px, framed by 96 px of repeated border and turned by some degrees as a head would
be; the detector's points then say which square to cut, `margin` times as wide as `detection.alignment.frame` says. What
lies outside the original crop is repeated border, so margins above 1 are seen as worse than they are in a photo.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pfvit import Reader
from pfvit.data import images, parquet
from pfvit.detection.alignment import cut, frame
from pfvit.detection.detector import LibFaceDetection
from pfvit.emotions import FERPLUS_VOTES

SIDE, BORDER = 192, 96
MARGINS = (0.7, 0.8, 0.85, 0.9, 1.0, 1.1)
TURNS = (0, 15, 30)  # degrees


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=1000)
    options = parser.parse_args()
    rows = list(parquet.rows(options.data, ["image", "also_in", *FERPLUS_VOTES]))
    reader, detector = Reader(), LibFaceDetection()
    labels = reader.recogniser.labels
    clean = [row for row in rows if not row["also_in"]]
    truth = [FERPLUS_VOTES[int(np.argmax([row[name] for name in FERPLUS_VOTES]))] for row in clean]
    known = [number for number, name in enumerate(truth) if name in labels]
    known = known[:: max(1, len(known) // options.faces)]
    print(
        "| turned by | faces found | as cropped | "
        + " | ".join(f"margin {margin}" for margin in MARGINS)
        + " | 1.0, not upright |"
    )
    print("|---" * (len(MARGINS) + 4) + "|")
    for degrees in TURNS:
        right: dict[str, list[bool]] = {}
        for number in known:
            crop = images.decode(images.cell_bytes(clean[number]["image"], f"row {number}"))
            large = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            around = np.pad(large, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")
            around = np.asarray(Image.fromarray(around).rotate(-degrees, Image.Resampling.BICUBIC))
            found = detector.detect(around)
            if len(found) != 1:
                continue
            square = frame(found[0])
            cuts = {str(margin): cut(around, square._replace(side=square.side * margin)) for margin in MARGINS}
            cuts |= {"level": cut(around, square._replace(roll=0.0)), "crop": crop}
            for name, read in zip(cuts, reader.read_batch(list(cuts.values()), whole=True), strict=True):
                right.setdefault(name, []).append(read[0].emotion == truth[number])
        shares = [f"{100 * np.mean(right[name]):.1f}%" for name in ("crop", *map(str, MARGINS), "level")]
        print(f"| {degrees}° | {len(right['crop'])} of {len(known)} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    main()

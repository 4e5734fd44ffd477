#!/usr/bin/env python3
"""Write into a recogniser that was exported before there was `reliability` how reliable its answers are.

    python experiments/add_reliability.py ferplus_val.parquet pfvit.onnx

`pfvit export --calibrate` does the same. Fitted on every second face of the file, with the answers of the 8-bit form.
"""

import argparse
from pathlib import Path

import onnx

from pfvit.config import Architecture
from pfvit.export.calibration import as_bytes, held_out_faces
from pfvit.export.reliability import fit_reliability, write_reliability
from pfvit.inference.network import int8_path, open_recogniser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    options = parser.parse_args()
    about = open_recogniser(options.weights)
    sizes = Architecture(image_size=about.size, channels=about.channels, classes=len(about.labels))
    faces = held_out_faces(sizes, options.data, clean=True, order="ferplus")
    fitted = fit_reliability(int8_path(options.weights), as_bytes(faces.image), faces.target.argmax(1).numpy())
    for path in (options.weights, int8_path(options.weights)):
        write_reliability(path, fitted)
        print(path.name, [output.name for output in onnx.load(path).graph.output])
    print(f"slope {fitted.slope:.3f}, bias {fitted.bias:.3f}")


if __name__ == "__main__":
    main()

"""How calm small gray faces look after `pfvit poker`, to a judge that had no part in anything.

    python experiments/measure_small_faces.py ferplus_val.parquet --judge FOLDER [--weights W.onnx] [--faces 600]

FOLDER has face-api installed (experiments/face_api_judge.cjs). Prints how many expressive faces it calls neutral,
before and after, and by how much expressive and neutral faces change, in pixels from 0 to 1.
"""

import argparse
import io
from pathlib import Path

import measure_poker
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pfvit import Reader
from pfvit.emotions import EIGHT, FERPLUS_VOTES, NEUTRAL

SIDE = 112


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--faces", type=int, default=600)
    options = parser.parse_args()
    table = pq.read_table(options.data)
    most = np.stack([table[name].to_numpy() for name in FERPLUS_VOTES[: len(EIGHT)]], 1).argmax(1)
    picked = np.random.default_rng(0).choice(len(table), options.faces, replace=False)
    neutral = most[picked] == EIGHT.index(NEUTRAL)
    faces = [np.asarray(Image.open(io.BytesIO(table["image"][int(k)]["bytes"].as_py())).convert("RGB")) for k in picked]
    reader = Reader(options.weights)
    readings = [reader.read(face, whole=True)[0] for face in faces]
    shown = {"as they are": faces, "poker face": [one.poker_face() for one in readings]}
    measure_poker.SIDE = SIDE
    print("| | expressive called neutral | neutral called neutral | change of expressive | of neutral |")
    print("|---|---|---|---|---|")
    for name, kind in shown.items():
        large = [np.asarray(Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for face in kind]
        calm = np.array(
            [max(one["expressions"], key=one["expressions"].get) == "neutral" for one in _each(large, options.judge)]
        )
        moved = np.array([np.abs(a.astype(float) - b).mean() / 255 for a, b in zip(kind, faces, strict=True)])
        figures = calm[~neutral].mean(), calm[neutral].mean(), moved[~neutral].mean(), moved[neutral].mean()
        print(f"| {name} | {figures[0]:.3f} | {figures[1]:.3f} | {figures[2]:.4f} | {figures[3]:.4f} |", flush=True)


def _each(faces: list[np.ndarray], judge: Path) -> list[dict]:
    return [one for k in range(0, len(faces), 200) for one in measure_poker.judged(faces[k : k + 200], judge)]


if __name__ == "__main__":
    main()

"""What a linear probe reads of the emotion off the photo model's components.

    python experiments/measure_residue.py ferplus_train.parquet ferplus_val.parquet [--weights W.onnx]

Whole pictures of faces with at least six votes; a logistic regression (C = 0.1) on the mean of each component's tokens,
fitted on some of the first file's faces, tried on some of the second's. If the components are separated, the residue
gives the rate of the most common emotion. Takes five minutes of a core.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pfvit import Reader
from pfvit.data.images import at_size
from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.inference.network import open_photo

LEAST_VOTES, AT_ONCE, C = 6, 50, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--faces", type=int, nargs=2, default=(2500, 1500), help="of each file")
    options = parser.parse_args()
    photo = open_photo(Reader(options.weights).recogniser)
    if photo is None:
        parser.error("there is no photo model beside these weights")
    parts = {"emotion": 0, "residue": 1, "both": 2}
    (seen, truth), (other, wanted) = (
        _components(photo, path, count, seed)
        for seed, (path, count) in enumerate(zip((options.train, options.test), options.faces, strict=True))
    )
    print(f"most common emotion: {np.bincount(wanted).max() / len(wanted):.3f}")
    for name, k in parts.items():
        plain = LogisticRegression(C=C, max_iter=2000)
        rates = [
            (probe.fit(seen[:, k], truth).predict(other[:, k]) == wanted).mean()
            for probe in (plain, make_pipeline(StandardScaler(), plain))
        ]
        print(f"{name}: {rates[0]:.3f}, on standardised features {rates[1]:.3f}")


def _components(photo, path: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    table = pq.read_table(path)
    votes = np.stack([table[name].to_numpy() for name in FERPLUS_VOTES[: len(EIGHT)]], 1)
    enough = np.flatnonzero(votes.sum(1) >= LEAST_VOTES)
    picked = np.random.default_rng(seed).choice(enough, min(count, len(enough)), replace=False)
    found = []
    for start in range(0, len(picked), AT_ONCE):
        cells = [table["image"][int(k)]["bytes"].as_py() for k in picked[start : start + AT_ONCE]]
        faces = [np.asarray(Image.open(io.BytesIO(cell)).convert("RGB")) for cell in cells]
        crops = [at_size(face, photo.size) for face in faces]
        for emotion, residue in photo.each(crops, ("emotion", "residue")):
            found.append([emotion.mean(0), residue.mean(0), (emotion + residue).mean(0)])
    return np.array(found), votes[picked].argmax(1)


if __name__ == "__main__":
    main()

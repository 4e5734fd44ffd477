"""A newcomer's data: some hundred pictures in class folders, of FER+ faces that the shipped weights did not learn from.

    python experiments/few_pictures.py ferplus_val.parquet OUT
    pfvit train small-conv --start shipped --data OUT --validation OUT --out runs/shipped --epochs 30
    pfvit train compact-conv --data OUT --validation OUT --out runs/fresh

Five emotions; 60 pictures of each to train on and 40 others to test on, of those that seven or more of ten people named
so. The last line of each run has the accuracy (docs/training.md, "From the weights that ship").
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger")
AGREE, TRAINED, TESTED = 7, 60, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    table, rng = pq.read_table(options.data), np.random.default_rng(0)
    votes = np.stack([table[name].to_numpy() for name in EMOTIONS], axis=1)
    for number, name in enumerate(EMOTIONS):
        sure = np.flatnonzero((votes.argmax(axis=1) == number) & (votes[:, number] >= AGREE))
        for place, row in enumerate(rng.permutation(sure)[: TRAINED + TESTED]):
            folder = options.out / ("train" if place < TRAINED else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.png").write_bytes(table["image"][int(row)]["bytes"].as_py())


if __name__ == "__main__":
    main()

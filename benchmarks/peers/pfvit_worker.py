"""Faces through `pfvit`; run by benchmarks/peers.py in the environment of the installed wheel."""

import json
import sys
import time

import numpy as np

from pfvit import Reader


def main() -> None:
    faces = np.repeat(np.load(sys.argv[1])[..., None], 3, axis=3)
    reader = Reader(sys.argv[2] if len(sys.argv) > 2 else None)
    labels = reader.recogniser.labels

    def answer(images: np.ndarray) -> list[int]:
        return [labels.index(face.emotion) for (face,) in reader.read_batch(list(images), whole=True)]

    answer(faces[:32])
    one = []
    for face in faces[:100]:
        began = time.perf_counter()
        answer(face[None])
        one.append(time.perf_counter() - began)
    began = time.perf_counter()
    found = [index for start in range(0, len(faces), 64) for index in answer(faces[start : start + 64])]
    rate = len(faces) / (time.perf_counter() - began)
    told = {"labels": list(labels), "answers": found, "one_ms": 1000 * float(np.median(one)), "rate": rate}
    print("\n" + json.dumps(told))


if __name__ == "__main__":
    main()

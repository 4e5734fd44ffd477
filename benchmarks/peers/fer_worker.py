"""Faces through `fer`, its bare model without detection; run by benchmarks/peers.py in fer's own environment."""

import json
import sys
import time

import cv2
import numpy as np
from fer.fer import FER

LABELS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]  # its order, in our words


def main() -> None:
    faces, lite = np.load(sys.argv[1]), sys.argv[2] == "tflite"
    reader = FER(use_tflite=lite)

    def answer(images: np.ndarray) -> np.ndarray:
        ready = np.stack([cv2.resize(image, (64, 64)) for image in images]).astype("float32") / 255
        return np.asarray(reader._classify_emotions((ready - 0.5) * 2)).argmax(1)

    answer(faces[:32])
    one = []
    for face in faces[:100]:
        began = time.perf_counter()
        answer(face[None])
        one.append(time.perf_counter() - began)
    began = time.perf_counter()
    found = np.concatenate([answer(faces[start : start + 64]) for start in range(0, len(faces), 64)])
    rate = len(faces) / (time.perf_counter() - began)
    told = {"labels": LABELS, "answers": found.tolist(), "one_ms": 1000 * float(np.median(one)), "rate": rate}
    print("\n" + json.dumps(told))


if __name__ == "__main__":
    main()

"""How long does a face take, from crop to answer and from photo to answer?

    python benchmarks/reading.py PHOTO [--rounds 200]

Prints medians of the recogniser alone on a 48 px crop (batch 1 and 32), of a whole photo with detection, and of
`pfvit predict PHOTO` as a fresh process with its peak memory.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from pfvit import Reader


def median_ms(call, rounds: int) -> float:
    call()
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    # First, as a child's peak memory is never told below that of the process that started it.
    cold = []
    for _ in range(5):
        began = time.perf_counter()
        words = [sys.executable, "-m", "pfvit", "predict", str(options.photo), "--json"]
        subprocess.run(words, check=True, capture_output=True)
        cold.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"`pfvit predict` of one photo, fresh process: {statistics.median(cold):.2f} s, peak memory {peak:.0f} MB")
    crop = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    reader = Reader()
    one = median_ms(lambda: reader.read_batch([crop], whole=True), options.rounds)
    many = median_ms(lambda: reader.read_batch([crop] * 32, whole=True), max(3, options.rounds // 20))
    photo = median_ms(lambda: reader.read(options.photo), max(3, options.rounds // 20))
    print(f"crop to answer, batch 1: {one:.2f} ms; batch 32: {many / 32:.2f} ms per face")
    print(f"photo to answer, warm: {photo:.0f} ms")


if __name__ == "__main__":
    main()

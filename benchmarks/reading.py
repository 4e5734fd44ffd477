"""How long does a face take, from crop to answer and from photo to answer?

    python benchmarks/reading.py PHOTO [--rounds 200] [--beside OTHER.onnx FACES.parquet]

Prints medians of the recogniser alone on a 48 px crop (batch 1 and 32; noise is looked at twice), of a whole photo with
detection, and of `pfvit predict PHOTO` as a fresh process with its peak memory.

With `--beside`, only the processor time that a face takes in the recogniser that ships and in another one, in turns in
one thread, on the pictures of a Parquet file: looked at once, in batches of 8 and alone; and as faces are read, with a
second look at those that are unsure.
"""

import argparse
import io
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from pfvit import Reader
from pfvit.inference.network import open_answering


def median_ms(call, rounds: int) -> float:
    call()
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent)


def beside(other: Path, faces: Path, rounds: int) -> None:
    cells = pq.read_table(faces, columns=["image"])["image"][: 8 * rounds].to_pylist()
    crops = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB").resize((48, 48))) for cell in cells]
    ways = {
        "batches of 8, one look": lambda one, some: one.run(["probabilities"], image=np.stack(some)),
        "alone, one look": lambda one, some: [one.run(["probabilities"], image=face[None]) for face in some],
        "as they are read": lambda one, some: one.answers(some),
    }
    spent = {(name, way): 0.0 for name in ("shipped", "other") for way in ways}
    networks = {"shipped": open_answering(threads=1), "other": open_answering(other, threads=1)}
    for start in range(0, len(crops), 8):
        for name, way in spent:
            began = time.thread_time()
            ways[way](networks[name], crops[start : start + 8])
            spent[name, way] += time.thread_time() - began
    for way in ways:
        ours, theirs = (1000 * spent[name, way] / len(crops) for name in networks)
        print(f"{way}: {ours:.2f} ms a face; {other}: {theirs:.2f} ms; ratio {ours / theirs:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--beside", type=Path, nargs=2, metavar=("OTHER.onnx", "FACES.parquet"))
    options = parser.parse_args()
    if options.beside:
        beside(*options.beside, options.rounds)
        return
    # First, as a child's peak memory is never told below that of the process that started it.
    cold = []
    for _ in range(5):
        began = time.perf_counter()
        words = [sys.executable, "-m", "pfvit", "predict", str(options.photo), "--json"]
        subprocess.run(words, check=True, capture_output=True)
        cold.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"`pfvit predict` of one photo, fresh process: {statistics.median(cold):.2f} s, peak memory {peak:.0f} MB")
    reader = Reader()
    face = np.asarray(Image.fromarray(reader.read(options.photo)[0].crop).resize((48, 48)))
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    for name, crop in {"the photo's face": face, "noise": noise}.items():
        one = median_ms(partial(reader.read_batch, [crop], whole=True), options.rounds)
        many = median_ms(partial(reader.read_batch, [crop] * 32, whole=True), max(3, options.rounds // 20))
        looks = "two looks" if reader.read(crop, whole=True)[0].unsure else "one look"
        print(f"{name}, crop to answer, {looks}: batch 1 {one:.2f} ms; batch 32 {many / 32:.2f} ms per face")
    photo = median_ms(lambda: reader.read(options.photo), max(3, options.rounds // 20))
    print(f"photo to answer, warm: {photo:.0f} ms")


if __name__ == "__main__":
    main()

"""Does `pfvit batch` keep up with its own bare model? 100,000 crops from Parquet, the whole process, start included.

    python benchmarks/batch.py FACES.parquet [--faces 100000]

The faces of the file are repeated until they are so many. The bare model reads the same crops, decoded and stacked in
memory, in batches of 32: once with all cores in one session, as `Reader` does, and once with a session of one thread
per core, each in a process of its own; the better of the two is what the batch is measured against. Bare rounds run
before and after, and their better rate counts.
"""

import argparse
import multiprocessing
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pfvit.data import images
from pfvit.inference.network import open_answering
from pfvit.utils.cores import cores

AT_ONCE = 32
BARE_FACES = 6400  # for each process


def bare(threads: int, crops: np.ndarray, ready: object, spent: object) -> None:
    """Read crops over and over, once all processes are ready; put the seconds for BARE_FACES into a queue."""
    network = open_answering(None, threads)
    starts = [start % (len(crops) - AT_ONCE + 1) for start in range(0, BARE_FACES, AT_ONCE)]
    network.run(("probabilities",), image=crops[:AT_ONCE])
    ready.wait()
    began = time.perf_counter()
    for start in starts:
        network.run(("probabilities",), image=crops[start : start + AT_ONCE])
    spent.put(time.perf_counter() - began)


def bare_rate(processes: int, threads: int, crops: np.ndarray) -> float:
    """Return faces per second of bare sessions side by side."""
    context = multiprocessing.get_context("spawn")
    ready, spent = context.Barrier(processes), context.Queue()
    children = [context.Process(target=bare, args=(threads, crops, ready, spent)) for _ in range(processes)]
    for child in children:
        child.start()
    slowest = max(spent.get() for _ in children)
    for child in children:
        child.join()
    return processes * BARE_FACES / slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--faces", type=int, default=100_000)
    options = parser.parse_args()
    table = pq.read_table(options.data, columns=["image"])
    size = open_answering(None, 1).size
    crops = [images.decode(images.cell_bytes(cell, "a face")) for cell in table.column("image").to_pylist()[:1024]]
    if any(crop.shape != (size, size, 3) for crop in crops):
        sys.exit(f"the faces must be crops of {size}x{size} pixels")
    stacked = np.stack(crops)
    both = {"one session, all cores": (1, cores()), "a session per core": (cores(), 1)}
    rates = {name: bare_rate(*how, stacked) for name, how in both.items()}
    with tempfile.TemporaryDirectory() as folder:
        many = pa.concat_tables([table] * -(-options.faces // len(table))).slice(0, options.faces)
        pq.write_table(many, Path(folder) / "many.parquet", row_group_size=1000)
        words = ["batch", f"{folder}/many.parquet", "--out", f"{folder}/out", "--whole"]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pfvit", *words], check=True)
        seconds = time.perf_counter() - began
        rows = pq.read_table(f"{folder}/out/faces", columns=["row"]).column("row")
        if rows.to_pylist() != list(range(options.faces)):
            sys.exit("not every face is there once and in order")
    rates = {name: max(rates[name], bare_rate(*how, stacked)) for name, how in both.items()}
    for name, rate in rates.items():
        print(f"bare model, {name}: {rate:.0f} faces/s")
    rate = options.faces / seconds
    print(f"pfvit batch: {options.faces} faces in {seconds:.1f} s, {rate:.0f} faces/s")
    print(f"{rate / max(rates.values()):.2f} of the bare model's better rate")


if __name__ == "__main__":
    main()

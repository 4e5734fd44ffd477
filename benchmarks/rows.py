"""Ten million rows: is memory flat, how well are they shuffled, how soon does a resumed run have its first batch?

    python benchmarks/rows.py FOLDER [--rows 10000000]

Writes (once) Parquet shards into FOLDER, half a gigabyte: every row group holds a thousand references to sixteen small
JPEG, so that ten million rows fit on a disk. They are labelled, sorted by label, which is the worst case for a shuffle
by row groups.
"""

import argparse
import io
import resource
import time
from itertools import islice
from multiprocessing import Process
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pfvit.data.dataset import FaceDataset, Stream

GROUP, GROUPS = 1000, 100  # rows of a row group, row groups of a shard
CLASSES = 8
BATCH = 256
DECODED = 200  # batches that are really decoded


def write(folder: Path, rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(16):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((48, 48)).save(file, "JPEG")
        pictures.append(file.getvalue())
    shard = GROUP * GROUPS
    for first in range(0, rows, shard):
        path = folder / f"{first // shard:05d}.parquet"
        if path.exists():
            continue
        index = pa.array(np.tile(np.arange(16, dtype=np.int32), shard // 16 + 1)[:shard])
        image = pa.DictionaryArray.from_arrays(index, pa.array(pictures)).cast(pa.binary())
        label = pa.array(((first + np.arange(shard)) * CLASSES // rows).astype(np.int8))
        table = pa.table({"image": image, "label": label})
        pq.write_table(table, path.with_suffix(".part"), row_group_size=GROUP)
        path.with_suffix(".part").replace(path)


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    writer = Process(target=write, args=(options.folder, options.rows))  # its memory is not ours
    writer.start()
    writer.join()
    before, began = resident(), time.perf_counter()
    faces = FaceDataset([options.folder], order="ferplus")
    spent = time.perf_counter() - began
    print(f"index of {len(faces):,} rows: {spent:.1f} s, {resident() - before:.0f} MB")

    rng = np.random.default_rng(1)
    waits = []
    for step in rng.integers(0, len(faces) // BATCH, 5).tolist():
        began = time.perf_counter()
        next(iter(Stream(faces, BATCH, 48, 3, seed=0, start=step)))
        waits.append(time.perf_counter() - began)
    print(f"first batch after a resume at five random steps: {', '.join(f'{w:.2f}' for w in waits)} s")

    start = int(rng.integers(0, len(faces) // BATCH // 2))
    whole = [batch.name for batch in islice(Stream(faces, BATCH, 48, 3, seed=0, start=start), 3)]
    again = next(iter(Stream(faces, BATCH, 48, 3, seed=0, start=start + 2))).name
    print(f"a resume at step {start + 2:,} gives the batch of an unbroken run: {again == whole[2]}")

    memory = []
    stream = iter(Stream(faces, BATCH, 48, 3, seed=0))
    for i in range(DECODED):
        next(stream)
        if i % (DECODED // 5) == DECODED // 5 - 1:
            memory.append(resident())
    print(f"memory after every {DECODED // 5} batches, decoded: {', '.join(f'{m:.0f}' for m in memory)} MB")

    seen, shares, distance, done = np.zeros(len(faces), bool), [], [], 0
    memory = []
    first = {(group.path, group.index): i * GROUP for i, group in enumerate(faces.groups)}
    began = time.perf_counter()
    for groups, which, rows in faces.pools(seed=0, epoch=0):
        place = np.array([first[g.path, g.index] for g in groups])[which] + rows
        seen[place] = True
        label = place * CLASSES // len(faces)
        for batch in range(0, len(place) - BATCH, BATCH):
            shares.append(np.bincount(label[batch : batch + BATCH], minlength=CLASSES) / BATCH)
        distance.append(np.abs(place - np.arange(done, done + len(place))).mean() / len(faces))
        done += len(place)
        if len(distance) % max(1, len(faces) // GROUP // 8 // 5) == 0:
            memory.append(resident())
    exact = bool(seen.all()) and done == len(seen)
    print(f"one epoch in order: {time.perf_counter() - began:.1f} s, every row once: {exact}")
    print(f"memory on the way: {min(memory):.0f} to {max(memory):.0f} MB (the tally of this script included)")
    ideal = np.sqrt(1 / CLASSES * (1 - 1 / CLASSES) / BATCH)
    spread = float(np.stack(shares).std(axis=0).mean())
    print(
        f"mean distance of a row from its place in the files: {np.mean(distance):.3f} of all (a perfect shuffle: 0.333)"
    )
    print(
        f"files sorted by label: a label's share of a batch of {BATCH} spreads by {spread:.3f} (perfect: {ideal:.3f}; "
        f"unshuffled: {np.sqrt(1 / CLASSES * (1 - 1 / CLASSES)):.3f})"
    )


if __name__ == "__main__":
    main()

"""How fast do JPEG bytes in Parquet become augmented float batches, beside bare decoding and two well-known loaders?

    python -m venv PEERS && PEERS/bin/pip install datasets webdataset torch pillow
    python benchmarks/loader.py FACES.parquet --peers PEERS/bin/python [--jpeg 224] [--size 112] [--rows 4096]

The faces are written once more as JPEG of `--jpeg` pixels, the same bytes into Parquet and into tar files. Every
contestant has the same cores and two processes that decode; all end in the same augmentation (pfvit.data.augment) on
float batches of `--size` pixels. They take turns, `--rounds` times; the table gives medians. `bare decoding` is Pillow
alone in two processes, bytes in memory to pixels, once as it comes and once resampled to `--size`.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

BATCH = 128
PROCESSES = 2
SHARDS = 4


def augmented(image: torch.Tensor, step: int) -> torch.Tensor:
    """Do what stage two does to its recognition view."""
    from pfvit.data import augment

    draws = augment.Draws(0, step, len(image), list(range(len(image))))
    view = augment.geometry(augment.to_unit(image), draws, (0.95, 1.25), 12.0, 0.06)
    view = augment.erase(augment.tone(view, draws, 0.2, 0.3), draws, 0.3, (0.02, 0.2))
    return augment.mixup(view, torch.ones(len(image), 8), draws, 0.3)[0]


def pixels(encoded: bytes, size: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as picture:
        picture = picture.convert("RGB")
        if size and picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(picture).transpose(2, 0, 1)


def decode_all(encoded: list[bytes], size: int | None) -> float:
    began = time.perf_counter()
    for one in encoded:
        pixels(one, size)
    return time.perf_counter() - began


def bare(folder: Path, size: int, resample: bool) -> float:
    """Return faces per second of Pillow alone."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "parquet", columns=["image"])["image"].combine_chunks()
    rows = table.field("bytes").to_pylist()
    with ProcessPoolExecutor(PROCESSES) as pool:
        share = [rows[i::PROCESSES] for i in range(PROCESSES)]
        list(pool.map(decode_all, [part[:8] for part in share], [None] * PROCESSES))  # the processes are there
        spent = list(pool.map(decode_all, share, [size if resample else None] * PROCESSES))
    return len(rows) / max(spent)


def timed(batches, rows: int, augment: bool = True) -> float:
    """Return faces per second over `rows` faces, after a first batch that starts the processes."""
    batches = iter(batches)
    next(batches)
    began, seen, step = time.perf_counter(), 0, 0
    for image in batches:
        if augment:
            augmented(image, step)
        seen, step = seen + len(image), step + 1
        if seen >= rows:
            break
    return seen / (time.perf_counter() - began)


def ours(folder: Path, size: int, rows: int, augment: bool) -> float:
    from pfvit.data.dataset import FaceDataset, Stream, loader
    from pfvit.training import distributed

    distributed.keep_memory()  # as training does
    faces = FaceDataset([folder / "parquet"], labelled=False)
    stream = Stream(faces, BATCH, size, 3, seed=0)
    return timed((batch.image for batch in loader(stream, PROCESSES, pin=False)), rows, augment)


def hugging_face(folder: Path, size: int, rows: int) -> float:
    import datasets
    from torch.utils.data import DataLoader

    files = sorted(map(str, (folder / "parquet").glob("*.parquet")))
    faces = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    faces = faces.cast_column("image", datasets.Image()).shuffle(0, buffer_size=1000).repeat(2)

    def together(rows: list[dict]) -> torch.Tensor:
        some = [np.asarray(row["image"].convert("RGB").resize((size, size), Image.Resampling.BILINEAR)) for row in rows]
        return torch.from_numpy(np.stack(some).transpose(0, 3, 1, 2).copy())

    return timed(DataLoader(faces, BATCH, num_workers=PROCESSES, collate_fn=together, drop_last=True), rows)


def webdataset(folder: Path, size: int, rows: int) -> float:
    import webdataset as wds
    from torch.utils.data import DataLoader

    def prepare(picture: Image.Image) -> torch.Tensor:
        small = picture.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())

    tars = sorted(map(str, (folder / "tar").glob("*.tar")))
    faces = wds.WebDataset(tars, shardshuffle=SHARDS, nodesplitter=wds.split_by_node, seed=0).shuffle(1000)
    faces = faces.decode("pilrgb").to_tuple("jpg").map_tuple(prepare).batched(BATCH, partial=False).repeat(2)
    return timed((batch[0] for batch in DataLoader(faces, None, num_workers=PROCESSES)), rows)


def write(source: Path, folder: Path, jpeg: int, rows: int) -> int:
    """Write the same JPEG bytes into Parquet and tar shards, and return their mean size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pq.read_table(source, columns=["image"])["image"].combine_chunks()
    encoded = []
    for one in column.field("bytes").slice(0, rows).to_pylist():
        file = io.BytesIO()
        with Image.open(io.BytesIO(one)) as picture:
            picture.convert("RGB").resize((jpeg, jpeg), Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
        encoded.append(file.getvalue())
    for name in ("parquet", "tar"):
        (folder / name).mkdir()
    for shard in range(SHARDS):
        some = encoded[shard::SHARDS]
        image = pa.array([{"bytes": one, "path": "f.jpg"} for one in some])
        pq.write_table(pa.table({"image": image}), folder / "parquet" / f"{shard}.parquet", row_group_size=256)
        with tarfile.open(folder / "tar" / f"{shard}.tar", "w") as tar:
            for i, one in enumerate(some):
                entry = tarfile.TarInfo(f"{shard:02d}{i:06d}.jpg")
                entry.size = len(one)
                tar.addfile(entry, io.BytesIO(one))
    return sum(map(len, encoded)) // len(encoded)


def contestants(folder: Path, size: int, rows: int) -> dict:
    return {
        "bare decoding": lambda: bare(folder, size, resample=False),
        "bare decoding and resampling": lambda: bare(folder, size, resample=True),
        "pfvit, bytes to the device": lambda: ours(folder, size, rows, augment=False),
        "pfvit, augmented": lambda: ours(folder, size, rows, augment=True),
        "datasets, augmented": lambda: hugging_face(folder, size, rows),
        "webdataset, augmented": lambda: webdataset(folder, size, rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path, help="Parquet, image column of encoded pictures; or a prepared folder")
    parser.add_argument("--peers", type=Path, help="the Python of an environment with datasets and webdataset")
    parser.add_argument("--jpeg", type=int, default=224)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(contestants(options.faces, options.size, options.rows * 3 // 4)[options.one]()))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mean = write(options.faces, folder, options.jpeg, options.rows)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        print(f"{options.rows} JPEG of {options.jpeg} px, {mean} bytes each, to {options.size} px; {cores} cores")
        rates: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for one in contestants(folder, options.size, options.rows):
                theirs = one.startswith(("datasets", "webdataset"))
                if theirs and options.peers is None:
                    continue
                python = str(options.peers.absolute()) if theirs else sys.executable
                words = [
                    python,
                    __file__,
                    str(folder),
                    "--one",
                    one,
                    "--size",
                    str(options.size),
                    "--rows",
                    str(options.rows),
                ]
                path = os.pathsep.join([str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
                environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_DATASETS_OFFLINE": "1"}
                told = subprocess.run(words, env=environment, capture_output=True, text=True)
                if told.returncode:
                    sys.exit(f"{one}: {told.stderr[-2000:]}")
                rates.setdefault(one, []).append(json.loads(told.stdout.splitlines()[-1]))
        us = statistics.median(rates["pfvit, augmented"])
        print("| | faces/s | pfvit augmented, times as fast |\n|---|---|---|")
        for one, values in rates.items():
            print(f"| {one} | {statistics.median(values):.0f} | {us / statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()

"""Long jobs that are killed at random moments, gone on with, and compared with an unbroken run: see `attack.py`."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fake_weights
import hostile
import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import write_faces
from PIL import Image

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Kills of one run before it is left to end.
EACH = 6


class Job(NamedTuple):
    """A long job in a folder."""

    words: list[str]
    begun: Callable[[], bool]
    """Whether it has left something that only `--resume` goes on with."""
    result: Callable[[], list]
    """What it has ended with; no list or an empty one if it has not."""


def predict(folder: Path) -> Job:
    """3,000 rows, some of them damaged, as JSON lines."""
    out = folder / "o.jsonl"
    words = ["predict", _rows(folder), "--whole", "--weights", fake_weights.write(folder), "--output", out]
    part = out.with_name("o.jsonl.part")
    return Job(_text(words), part.exists, lambda: out.read_text().splitlines() if out.exists() else [])


def batch(folder: Path) -> Job:
    """The same in parts of 200."""
    out = folder / "b"
    words = ["batch", _rows(folder), "--whole", "--weights", fake_weights.write(folder), "--out", out]
    words += ["--processes", 1, "--rows", 200]

    def result() -> list:
        if len(list(out.glob("faces/part-*"))) < 15:
            return []
        files = (file for kind in ("faces", "failed") for file in sorted((out / kind).glob("part-*")))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    return Job(_text(words), (out / "plan.json").exists, result)


def video(folder: Path) -> Job:
    """A film of 150 frames, which begins anew."""
    from fuzzers import film

    film(folder / "film.mp4", "libx264", "aac", 150)
    out = folder / "v"
    words = ["video", folder / "film.mp4", "--weights", fake_weights.write(folder), "--out", out]
    table = out / "film.csv"
    return Job(_text(words), lambda: False, lambda: table.read_text().splitlines() if table.exists() else [])


def prepare(folder: Path) -> Job:
    """A small data set."""
    layouts.rafdb(folder / "raf", 140, 70)
    out = folder / "out"

    def result() -> list:
        # What is hidden was left by a kill at the very end, and goes with the next call.
        names = sorted(file.relative_to(out) for file in out.rglob("*") if file.is_file())
        files = [out / name for name in names if not any(part.startswith(".") for part in name.parts)]
        if not any(file.name == "manifest.json" for file in files):
            return []
        return [(str(file.relative_to(out)), sha256(file.read_bytes()).hexdigest()) for file in files]

    return Job(_text(["prepare", "rafdb", folder / "raf", out]), lambda: False, result)


def pretrain(folder: Path) -> Job:
    """A hundred steps of masked pre-training, with a checkpoint after nearly each."""
    return _training(folder, "pretrain", 25)


def train(folder: Path) -> Job:
    """Forty steps of recognition, separation and generation, the last half against the discriminator."""
    return _training(folder, "train", 10)


def _training(folder: Path, verb: str, epochs: int) -> Job:
    """Return a run of training that ends with all its tensors: weights, averages and optimizers."""
    write_faces(folder / "faces.parquet", 64)
    out = folder / "run"
    words = [verb, "nano", "--data", folder / "faces.parquet", "--out", out, "--batch", 16, "--epochs", epochs]
    words += ["--checkpoint-minutes", 0.0005]

    def result() -> list:
        import torch

        from pfvit.training import checkpoint

        if not (out / checkpoint.LAST).exists():
            return []
        tensors, record = checkpoint.load(out)
        if record["step"] < record["steps"]:
            return []
        return [
            (name, sha256(one.flatten().view(torch.uint8).numpy().tobytes()).hexdigest())
            for name, one in sorted(tensors.items())
        ]

    return Job(_text(words), (out / "last.safetensors").exists, result)


JOBS = {job.__name__: job for job in (predict, batch, video, prepare, pretrain, train)}


def kills(verb: str, count: int, seed: int) -> tuple[int, int, bool]:
    """Kill a job so many times; return how often it was alive, how many runs ended, and if all did as one unbroken."""
    rng = random.Random(f"{seed} {verb}")
    expected, _, whole = _run(verb, rng, 0, 0)
    alive, ends, same = 0, 0, len(expected) > 0
    while alive < count:
        result, killed, _ = _run(verb, rng, min(EACH, count - alive), whole)
        alive, ends = alive + killed, ends + 1
        same = same and result == expected
    return alive, ends, same


def _run(verb: str, rng: random.Random, count: int, whole: float) -> tuple[list, int, float]:
    """Run a job to its end, killed at most so many times, each time within `whole` seconds.

    Return its result, how often it was alive when it was killed, and the seconds of its last process.
    """
    with tempfile.TemporaryDirectory() as name:
        job = JOBS[verb](Path(name))
        resume: list[str] = []
        alive = 0
        while alive < count and not job.result():
            process = subprocess.Popen([*job.words, *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0.1, whole))
            except subprocess.TimeoutExpired:
                alive += 1
                process.send_signal(rng.choice(SIGNALS))
                process.wait()
            resume = ["--resume"] if job.begun() else []
        began = time.monotonic()
        if not job.result():
            subprocess.run([*job.words, *resume], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return [str(row).replace(name, "") for row in job.result()], alive, time.monotonic() - began


def _rows(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (3000, 20, 20, 3), np.uint8)
    cells = [hostile.saved(Image.fromarray(one), "PNG") if one[0, 0, 0] > 9 else b"x" for one in noise]
    pq.write_table(pa.table({"image": cells}), folder / "in.parquet")
    return folder / "in.parquet"


def _text(words: list) -> list[str]:
    return [sys.executable, "-m", "pfvit", *map(str, words)]

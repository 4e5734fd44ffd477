"""What several test files share: made-up pictures, and short runs of training."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import png
from forked import Forked, train

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.config.presets import NANO
from pfvit.datasets import mesh_points as mesh
from pfvit.emotions import FERPLUS_VOTES

PHOTO = Path(__file__).parents[1] / "assets" / "astronaut.jpg"
SIDE = 12
EXACT = Hardware(precision="32", threads=1)
#: 20 steps of 16 faces of `made_up`.
SHORT: dict[str, Any] = {
    "data": (),
    "out": Path(),
    "epochs": 1.6,
    "warmup": 0.2,
    "batch": 16,
    "log_every": 1,
    "model": NANO,
    "hardware": EXACT,
}
STAGES: dict[str, Pretrain | Train] = {
    "pretrain": Pretrain(**SHORT),
    "train": Train(
        **SHORT,
        mixup=0.0,
        drop_path=0.2,
        oversample=0.5,
        gan=Gan(batch=8, discriminator_start=0.1, r1_every=2, orthogonality=0.1),
    ),
}
#: What a clock says differs from run to run.
TIMED = {"faces_per_second", "loading", "straggler", "straggler_rank"}


def lines(run: Path) -> list[dict]:
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMED} for line in told]


def rows_of(path: Path) -> list[dict]:
    """The rows of a table that `pfvit predict --output` wrote, of any of its formats."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def flat(brightness: float, width: int = 20, height: int = 20) -> np.ndarray:
    """A picture of one brightness, which is what the fake weights read."""
    return np.full((height, width, 3), brightness, np.uint8)


def flat_png(brightness: float) -> bytes:
    return png(np.full((SIDE, SIDE), brightness, np.uint8))


def voted(path, rows: list[tuple[bytes, dict[str, int], str]], also_in: bool = True):
    columns = {"image": pa.array([{"bytes": image, "path": ""} for image, _, _ in rows])}
    columns |= {name: pa.array([votes.get(name, 0) for _, votes, _ in rows], pa.int8()) for name in FERPLUS_VOTES}
    if also_in:
        columns["also_in"] = pa.array([other for _, _, other in rows])
    pq.write_table(pa.table(columns), path)
    return path


def plain_face() -> np.ndarray:
    """478 points with the eyes, lips and nose where they belong, in face units."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.6, 0.9, (mesh.POINTS, 2))
    points[list(mesh.EYES)] = [[-0.5, 0], [0.5, 0]]
    points[1] = [0, 0.45]
    x = np.linspace(-0.26, 0.26, 11)
    for line, height in ((mesh.OUTER_UPPER, 0.78), (mesh.INNER_UPPER, 0.83), (mesh.INNER_LOWER, 0.83)):
        points[line] = np.stack([x, np.full(11, height)], 1)
    points[mesh.OUTER_LOWER] = np.stack([x[1:-1], np.full(9, 0.92)], 1)
    points[list(mesh.CORNERS)] = [[-0.28, 0.84], [0.28, 0.84]]
    return points


def kill_after(count: int, config: Pretrain | Train) -> None:
    """Train in a process of its own, and kill it when its log has so many lines."""
    child = Forked(train, (config,))
    log = config.out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= count) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.kill()

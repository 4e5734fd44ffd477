"""What several test files share: made-up pictures, and short runs of training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import png

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.config.presets import NANO
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

"""Losses that are not finite: told at once on a processor, a few steps later on a GPU, with the step's own number."""

from pathlib import Path

import pytest
import torch

from pfvit.config import Train, TrainPhoto
from pfvit.errors import InputError
from pfvit.training import checkpoint
from pfvit.training.finite import READ_EVERY, LossCheck


def losses(value: float) -> dict[str, torch.Tensor]:
    return {"first": torch.tensor(1.0), "second": torch.tensor(value)}


def check_on(device: str) -> LossCheck:
    return LossCheck(Train(data=(Path("faces.parquet"),), out=Path("nowhere")), torch.device(device))


def test_on_a_processor_at_once():
    check = check_on("cpu")
    check.note(losses(2.0), 0, ["a"])
    with pytest.raises(InputError, match=r"not finite at step 1 \(first 1, second nan\).*rows of this step: b"):
        check.note(losses(float("nan")), 1, ["b"])


def test_on_a_gpu_when_it_is_read_next():
    check = check_on("cuda")
    for step in range(READ_EVERY - 1):
        check.note(losses(float("inf") if step == 3 else 2.0), step, [f"row {step}"])
    with pytest.raises(InputError, match=r"not finite at step 3 \(first 1, second inf\).*row 3"):
        check.note(losses(2.0), READ_EVERY - 1, ["row 9"])


def test_before_anything_is_saved():
    check = check_on("cuda")
    check.note(losses(float("nan")), 0, ["row"])
    with pytest.raises(InputError, match="step 0"):
        check.now()
    check.now()  # told once


def test_how_a_photo_run_goes_on(tmp_path):
    """Its --resume is a flag: the run's folder is named by --out."""
    config = TrainPhoto(data=(Path("faces.parquet"),), points=Path("p.npz"), out=tmp_path)
    checkpoint.save(tmp_path / checkpoint.LAST, {}, {"stage": "photo", "step": 7, "config": {}})
    with pytest.raises(InputError, match="go on from it with the same command and --resume --lr 4e-05"):
        LossCheck(config, torch.device("cpu")).note(losses(float("nan")), 9, [])

"""What a GPU would wait for, and what makes it deterministic, as far as it can be told without one.

On the `meta` device tensors have no numbers, so that whatever a step would have to read from a device fails, and a copy
from the processor that a GPU would wait for can be told from one that is queued.
"""

import os
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from helpers import EXACT, STAGES, lines
from torch.utils._python_dispatch import TorchDispatchMode

from pfvit.config import Hardware, Train
from pfvit.data.dataset import FaceDataset, Stream
from pfvit.data.face_batch import onto
from pfvit.errors import UsageError
from pfvit.model import PFViT
from pfvit.training import distributed, losses
from pfvit.training.build import build_pfvit
from pfvit.training.ema import AveragedPFViT
from pfvit.training.finite import LossCheck
from pfvit.training.loop import pieces, take_step
from pfvit.training.pretrainer import PretrainStage
from pfvit.training.run import Run
from pfvit.training.throughput import Throughput
from pfvit.training.trainer import TrainStage, train

META = torch.device("meta")
FULL = {"cutmix": 0.3, "mixup": 0.3, "random_erasing": 0.5, "drop_path": 0.1}


class Copies(TorchDispatchMode):
    """Counts operations that take from the processor to another device: those that are queued, and those waited for."""

    def __init__(self):
        super().__init__()
        self.queued, self.waited_for = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [one for some in args for one in (some if isinstance(some, list | tuple) else [some])]
        kinds = {one.device.type for one in (*given, result) if isinstance(one, torch.Tensor) and one.dim()}
        if {"cpu", "meta"} <= kinds:
            if (kwargs or {}).get("non_blocking"):
                self.queued += 1
            else:
                self.waited_for.append(str(func))
        return result


def test_copies_are_told_apart():
    with Copies() as copies:
        torch.ones(3).to(META, non_blocking=True)
        assert (copies.queued, copies.waited_for) == (1, [])
        torch.ones(3).to(META)
        torch.ones(3, device=META)[torch.tensor([1, 2])]
    assert copies.queued == 1 and len(copies.waited_for) == 2


@pytest.mark.parametrize("views", ["plain", "wild"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_waits_for_no_copy_and_no_number(stage, views, made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none for this device
    config = replace(STAGES[stage], data=(made_up,), out=tmp_path / "run", views=views)
    config = replace(config, **FULL) if isinstance(config, Train) else config
    fabric, faces = distributed.make_fabric(EXACT), FaceDataset([made_up])
    run = Run(fabric, config, stage)
    run.steps = 100
    made = (TrainStage if stage == "train" else PretrainStage)(run, config, faces, 1)
    for module in made._modules().values() if isinstance(made, TrainStage) else [made.model]:
        module.to(META)
    made.fabric = SimpleNamespace(device=META)
    batches = iter(Stream(faces, config.batch, config.model.image_size, 1, seed=0))
    check = LossCheck(config, torch.device("cuda"))
    with Copies() as copies:
        for step in range(2):
            take_step(fabric, config, made, next(batches), step, Throughput(fabric, config.batch), check)
    assert not copies.waited_for and copies.queued >= 6


class Pinned(NamedTuple):
    """Stands for a tensor of the processor; notes what is done to it."""

    done: list
    device: torch.device = torch.device("cpu")

    def pin_memory(self) -> "Pinned":
        self.done.append("pinned")
        return self

    def to(self, device: torch.device, non_blocking: bool) -> "Pinned":
        self.done.append((device.type, non_blocking))
        return self


def test_what_goes_to_a_gpu_is_pinned_and_queued():
    value = Pinned([])
    onto(value, torch.device("cuda"))
    assert value.done == ["pinned", ("cuda", True)]
    tensor = torch.ones(2)
    assert onto(tensor, torch.device("cpu")) is tensor


def test_one_piece_is_the_batch_as_the_loader_pinned_it(made_up):
    batch = next(iter(Stream(FaceDataset([made_up]), 8, 24, 1, seed=0)))
    assert pieces(batch, 1)[0].image is batch.image
    assert [len(piece.name) for piece in pieces(batch, 2)] == [4, 4]


def test_the_loss_of_stage_one_is_the_same_where_no_number_of_patches_is_read():
    predicted, target = torch.randn(2, 3, 16, 12)
    hidden = torch.rand(3, 16).argsort(1) >= 4
    expected = losses.masked_reconstruction(predicted, target, hidden)
    error = (predicted - target).square().mean(-1)
    assert expected == pytest.approx(float(torch.where(hidden, error, 0).sum() / hidden.sum()), rel=1e-6)
    assert losses.masked_reconstruction(predicted.to(META), target.to(META), hidden.to(META)).shape == ()


def test_the_average_is_that_of_torch_s_own_class():
    torch.manual_seed(0)
    model = build_pfvit(STAGES["train"].model)
    ours = AveragedPFViT(model, 0.999)
    expected: PFViT | None = None
    for count in range(3):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        ours.update_parameters(model)
        if expected is None:
            expected = build_pfvit(STAGES["train"].model)
            expected.load_state_dict(model.state_dict())
        else:
            decay = (1 + count) / (10 + count)
            for mean, weight in zip(expected.parameters(), model.parameters(), strict=True):
                mean.data.mul_(decay).add_(weight.data, alpha=1 - decay)
    for name, value in ours.model.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name])
    assert int(ours.n_averaged) == 3


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_algorithms_are_a_setting(plain, monkeypatch):
    distributed.make_fabric(Hardware(precision="32", threads=1))
    assert not torch.are_deterministic_algorithms_enabled() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    distributed.make_fabric(Hardware(precision="32", threads=1, deterministic=True))
    assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    distributed.be_deterministic()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8", "a person's own choice stays"
    with pytest.raises(UsageError, match="needs other --labels than pld"):
        replace(STAGES["train"], labels="pld", hardware=Hardware(deterministic=True))


def test_on_processors_the_setting_changes_nothing(made_up, tmp_path, plain):
    for name, deterministic in (("plain", False), ("set", True)):
        hardware = replace(EXACT, deterministic=deterministic)
        train(replace(STAGES["train"], data=(made_up,), out=tmp_path / name, epochs=0.4, hardware=hardware))
    assert lines(tmp_path / "plain") == lines(tmp_path / "set") != []

"""Stage two step by step: who learns in which phase, what is frozen, fitted and averaged, and when."""

import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers import EXACT
from torch.utils._python_dispatch import TorchDispatchMode

import pfvit
from pfvit.config import Gan, Train
from pfvit.config.presets import NANO
from pfvit.data import augment
from pfvit.data.dataset import FaceDataset, Stream
from pfvit.errors import InputError
from pfvit.training.distributed import make_fabric
from pfvit.training.finite import LossCheck
from pfvit.training.initialise import both_sides
from pfvit.training.loop import take_step
from pfvit.training.run import Run
from pfvit.training.throughput import Throughput
from pfvit.training.trainer import TrainStage

CONVOLUTIONAL = replace(NANO, patch_size=8, stem=(4, 8, 16), separator="subspace")


class Trainer:
    """Stage two step by step, on eight of the made-up faces at a time."""

    def __init__(self, tmp_path, made_up, model=NANO, gan: dict | None = None, **settings):
        gan = {"batch": 8, "every": 2, "discriminator_start": 0.0} | (gan or {})
        self.config = Train(
            data=(made_up,),
            out=tmp_path / "run",
            batch=8,
            warmup=0.0,
            model=model,
            gan=Gan(**gan),
            hardware=EXACT,
            **({"start": made_up} if "freeze" in settings else {}),
            **settings,
        )
        config = replace(self.config, freeze=(), start=None) if "freeze" in settings else self.config  # fresh weights
        self.fabric = make_fabric(EXACT)
        run = Run(self.fabric, self.config, "train")
        run.steps = 100
        faces = FaceDataset([made_up])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pfvit.training.trainer.both_sides", lambda _, say, kinds: both_sides(config, say, kinds))
            self.stage = TrainStage(run, self.config, faces, 0)
        for cross in self.model.generator.cross.values():
            torch.nn.init.ones_(cross.gate)
        self.batches = iter(Stream(faces, 8, 24, 1, seed=0))

    @property
    def model(self):
        return self.stage.model

    @property
    def opponent(self):
        return self.stage.opponent

    @property
    def average(self):
        return self.stage.average.model

    def step(self, number: int) -> dict[str, float]:
        batch = next(self.batches)
        check = LossCheck(self.config, self.fabric.device)
        means = take_step(self.fabric, self.config, self.stage, batch, number, Throughput(self.fabric, 8), check)
        return {name: float(mean) for name, mean in means.items()}


@pytest.fixture
def trainer(tmp_path, made_up):
    return partial(Trainer, tmp_path, made_up)


PACKAGE = Path(pfvit.__file__).parent


class Reads(TorchDispatchMode):
    """Notes who of us asks for what would make a GPU wait: a number, or a result whose size only it knows."""

    def __init__(self):
        super().__init__()
        self.by: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "masked_select", "equal"}:
            files = [Path(frame.filename) for frame in traceback.extract_stack()]
            ours = (file.name for file in reversed(files) if PACKAGE in file.parents or file.parent.name == "optim")
            self.by.add(next(ours))
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_from_the_device(trainer):
    run = trainer()
    batch, check = next(run.batches), LossCheck(run.config, torch.device("cuda"))
    with Reads() as reads:
        take_step(run.fabric, run.config, run.stage, batch, 1, Throughput(run.fabric, 8), check)
    assert "ema.py" in reads.by, "reads are noted"
    # What is drawn, and the count of averaged steps, are on the processor; and on a GPU, optimizers are fused.
    assert reads.by <= {"augment.py", "ema.py", "optimizer.py"}


def test_the_average_s_count_stays_on_the_processor(trainer):
    average = trainer().stage.average
    average.to("meta")
    assert average.n_averaged.device.type == "cpu"
    assert next(average.parameters()).device.type == "meta"


def changed(before: dict, module: torch.nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


def snapshot(module: torch.nn.Module) -> dict:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_who_learns_in_which_phase(trainer):
    made = trainer()
    made.stage.start_discriminator()
    model, opponent = snapshot(made.model), snapshot(made.opponent)
    losses = made.step(0)  # recognition alone
    parts = {name.split(".")[0] for name in changed(model, made.model)}
    assert parts == {"encoder", "separator", "classifier"} and not changed(opponent, made.opponent)
    assert set(losses) == {"classification"}
    losses = made.step(1)
    parts = {name.split(".")[0] for name in changed(model, made.model)}
    assert parts == {"encoder", "separator", "classifier", "generator"}
    parts = {name.split(".")[0] for name in changed(opponent, made.opponent)}
    assert parts == {"discriminator", "probe"}
    assert {"adversarial", "emotion", "neutral_identity", "discriminator_realism", "probe"} <= set(losses)


def test_the_generator_s_phase_leaves_no_gradient_in_the_discriminator_side(trainer):
    made = trainer()
    seen = []
    optimizer = made.stage.opponent_optimizer
    step = optimizer.step
    optimizer.step = lambda *a, **k: (
        seen.append({n: p.grad.clone() for n, p in made.opponent.named_parameters()}),
        step(*a, **k),
    )
    made.step(1)
    assert len(seen) == 1 and seen[0]
    assert all(p.grad is None for p in made.opponent.parameters())


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_adversarial_gradient_moves_the_encoder_by_its_scale_only(scale, trainer):
    made = trainer(gan={"encoder_gradient": scale})
    image = augment.to_unit(next(made.batches).image)
    _, generated = made.stage.side(image, image, torch.ones(8))
    generated.reconstruction.square().mean().backward()
    moved = made.model.encoder.blocks[0].mlp.fc1.weight.grad.abs().sum()
    assert (moved > 0) == (scale > 0)
    assert made.model.generator.decoder.pred.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("model", [NANO, CONVOLUTIONAL])
def test_with_all_else_frozen_only_the_generator_learns(model, trainer):
    gan = {"every": 1, "cycle": 1.0, "cycle_emotion": 0.1, "discriminator_ramp": 0.0}
    made = trainer(model, gan, freeze=("encoder", "separator", "classifier", "discriminator_stem"))
    assert made.config.generator_only and made.config.gan_batch == 8
    made.stage.start_discriminator()
    before, stem = snapshot(made.model), snapshot(made.opponent.discriminator.backbone.patch_embed)
    for number in (1, 2):
        losses = made.step(number)
    assert {name.split(".")[0] for name in changed(before, made.model)} == {"generator"}
    assert not changed(stem, made.opponent.discriminator.backbone.patch_embed)
    assert {"cycle", "cycle_emotion", "emotion", "discriminator_realism"} <= set(losses)
    assert "residue_confusion" not in losses


def test_a_frozen_encoder_keeps_its_subspace_once_it_is_fitted(trainer):
    made = trainer(CONVOLUTIONAL, freeze=("encoder",), fit_emotion_subspace=0.0)
    made.step(0)
    before = snapshot(made.model)
    for number in (1, 2):  # one with generation, one without
        made.step(number)
    learnt = {name.split(".")[0] for name in changed(before, made.model)}
    assert learnt == {"generator", "classifier"}


def test_the_cycle_encodes_the_poker_face_again(trainer):
    made = trainer(gan={"cycle": 1.0})
    image = augment.to_unit(next(made.batches).image)
    _, generated = made.stage.side(image, image, torch.ones(8))
    again = made.model.separator(made.model.encoder(generated.poker_face))
    torch.testing.assert_close(generated.residue_again, again.residue)
    torch.testing.assert_close(generated.logits_again, made.model.classifier(again.emotion))


def test_the_subspace_is_fitted_when_it_is_time_and_then_kept(trainer):
    made = trainer(CONVOLUTIONAL, fit_emotion_subspace=0.02)  # of 100 steps
    for number in (0, 1):
        before = made.model.separator.basis.clone()
        made.step(number)
        assert not torch.equal(before, made.model.separator.basis)
    for number in (2, 3):
        made.step(number)
    axes = made.model.separator.basis
    torch.testing.assert_close(axes.T @ axes, torch.eye(axes.shape[1]))
    torch.testing.assert_close(axes, made.average.separator.basis)


def test_a_stem_s_statistics_are_averaged_too(trainer):
    made = trainer(CONVOLUTIONAL)
    start = snapshot(made.average)
    made.step(0)
    assert any(name.endswith("running_mean") for name in changed(start, made.average))


def test_averaged_weights_follow(trainer):
    made = trainer()
    for number in range(3):
        made.step(number)
    weight, average = made.model.classifier.head.weight, made.average.classifier.head.weight
    assert not torch.equal(weight, average)
    assert (weight - average).abs().max() < 0.1


def test_a_loss_that_is_not_finite_stops_with_step_terms_and_rows(trainer):
    made = trainer()
    torch.nn.init.constant_(made.model.classifier.head.weight, float("inf"))
    with pytest.raises(InputError, match=r"step 4 \(classification nan\).*the rows of this step: faces\.parquet#"):
        made.step(4)


def test_the_discriminator_enters_as_the_encoder_is_then(trainer):
    made = trainer(gan={"discriminator_start": 0.02})  # of 100 steps
    for number in (0, 1):
        before = snapshot(made.opponent)
        losses = made.step(number)
        assert not changed(before, made.opponent) and "discriminator_realism" not in losses
    encoder = snapshot(made.average.encoder)
    made.stage.start_discriminator()
    backbone = made.opponent.discriminator.backbone.state_dict()
    assert len(backbone) > 5 and all(torch.equal(encoder[name], backbone[name]) for name in backbone)
    made.step(2)
    assert "discriminator_realism" in made.step(3)


def test_only_the_recognition_view_skips_layers(trainer):
    side = trainer().stage.side
    view, clean = torch.rand(4, 1, 24, 24), torch.rand(2, 1, 24, 24)
    strength, paths = torch.ones(2), torch.zeros(4, NANO.depth, 2)
    whole, generated = side(view, clean, strength)
    skipped, again = side(view, clean, strength, paths)
    assert torch.allclose(generated.poker_face, again.poker_face, atol=1e-6) and not torch.allclose(whole, skipped)
    alone, _ = side(view, paths=paths)
    assert torch.allclose(alone, skipped, atol=1e-6)

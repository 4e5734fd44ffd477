"""Both stages as a person runs them: they learn, stop, resume, share work, and say what is wrong."""

import json
import os
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import inside, run_training, write_faces
from helpers import EXACT, STAGES, kill_after, lines
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

import pfvit
from pfvit.config import Gan, Train
from pfvit.config.presets import NANO
from pfvit.data import augment
from pfvit.data.dataset import FaceDataset, Stream
from pfvit.errors import InputError
from pfvit.training import checkpoint
from pfvit.training.distributed import make_fabric
from pfvit.training.finite import LossCheck
from pfvit.training.initialise import both_sides
from pfvit.training.loop import take_step
from pfvit.training.optim import cosine, layer_scale
from pfvit.training.run import Run
from pfvit.training.throughput import Throughput
from pfvit.training.trainer import TrainStage
from pfvit.weights import CHECKPOINT

CONVOLUTIONAL = replace(NANO, patch_size=8, stem=(4, 8, 16), separator="subspace")
GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = STAGES | {"stem": replace(STAGES["train"], model=CONVOLUTIONAL, fit_emotion_subspace=0.5, optimizer="muon")}


def start(stage: str, data: Path, out: Path, **changes: object) -> None:
    done = run_training(replace(RUNS[stage], data=(data,), out=out, **changes))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_golden_losses_of_twenty_steps(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "run")
    told = lines(tmp_path / "run")
    assert len(told) == 20
    golden = GOLDEN / f"{stage}.json"
    if os.environ.get("PFVIT_WRITE_GOLDEN"):
        golden.write_text(json.dumps(told, indent=0))
    for ours, expected in zip(told, json.loads(golden.read_text()), strict=True):
        assert ours == pytest.approx(expected, rel=2e-3, abs=2e-5), "if the change is meant: PFVIT_WRITE_GOLDEN=1"


@pytest.mark.parametrize("stage", RUNS)
def test_resume_after_kill_is_bitwise_the_unbroken_run(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "whole")
    config = replace(RUNS[stage], data=(made_up,), out=tmp_path / "cut", checkpoint_minutes=1e-5)
    kill_after(7, config)
    _, record = checkpoint.load(tmp_path / "cut")
    assert 0 < record["step"] < 20, "killed too late to test anything"
    done = run_training(replace(config, resume=True))
    assert done.returncode == 0, done.stderr
    whole, cut = (load_file(tmp_path / run / checkpoint.LAST) for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


@pytest.mark.parametrize("stage", STAGES)
def test_faces_kept_in_memory_train_the_same(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "one")
    start(stage, made_up, tmp_path / "two", hardware=replace(EXACT, resident=True))
    assert lines(tmp_path / "one") == lines(tmp_path / "two")


def test_both_stages_learn(nano):
    told = lines(nano / "one")
    assert told[-1]["loss"] < 0.7 * told[0]["loss"]
    looks = [line for line in lines(nano / "two") if "validation_war" in line]
    assert looks[-1]["validation_war"] > 0.5, "eight made-up emotions; chance is one in eight"
    assert list((nano / "two" / "sheets").glob("*.png"))
    assert list((nano / "two" / "board").glob("events.*"))


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


def test_time_budget_ends_cleanly_and_a_finished_run_can_be_resumed(made_up, tmp_path):
    start("pretrain", made_up, tmp_path / "run", minutes=1e-4)
    _, record = checkpoint.load(tmp_path / "run")
    assert record["step"] < 20
    start("pretrain", made_up, tmp_path / "run", resume=True)
    assert checkpoint.load(tmp_path / "run")[1]["step"] == 20
    start("pretrain", made_up, tmp_path / "run", resume=True)
    assert len(lines(tmp_path / "run")) == 20


def test_run_folders_that_exist_are_not_overwritten_nor_resumed_with_other_settings(made_up, nano, capsys):
    words = ("pretrain", "nano", "--data", made_up, "--out")
    done = inside(capsys, *words, nano / "one")
    assert done.returncode == 1 and "exists and is not empty; --resume continues it" in done.stderr
    done = inside(capsys, *words, nano / "one", "--epochs", 20, "--warmup", 1, "--batch", 16, "--resume")
    assert done.returncode == 1 and "other settings: batch 32 -> 16" in done.stderr
    done = inside(capsys, *words, nano / "none", "--resume")
    assert done.returncode == 1 and "no checkpoint to resume" in done.stderr


def test_what_a_run_starts_from(made_up, nano, tmp_path):
    def built(start: str) -> dict:
        model, _ = both_sides(Train(data=(made_up,), out=tmp_path, model=NANO, start=nano / start))
        return model.state_dict()

    one, two = built("one"), built("two")
    saved = checkpoint.part_of(load_file(nano / "one" / checkpoint.LAST), "model")
    assert torch.equal(one["encoder.cls_token"], saved["encoder.cls_token"])
    assert torch.equal(one["generator.decoder.pred.weight"], saved["decoder.pred.weight"])
    average = checkpoint.part_of(load_file(nano / "two" / checkpoint.LAST), "average.module")
    assert two.keys() == average.keys() and all(torch.equal(two[name], average[name]) for name in two)


def test_a_run_can_start_from_the_weights_that_ship(made_up, tmp_path, monkeypatch):
    tensors, record = checkpoint.load(CHECKPOINT)
    assert not any("/" in str(value) for value in record["config"].values()), "a place on some machine"
    config = Train(data=(made_up,), out=tmp_path, model=checkpoint.architecture_of(record), start=Path("shipped"))
    model, _ = both_sides(config)
    weights = checkpoint.part_of(tensors, "average.module")
    assert all(torch.equal(value, weights[name].to(value.dtype)) for name, value in model.state_dict().items())
    monkeypatch.setattr("pfvit.training.initialise.CHECKPOINT", tmp_path / "pfvit.safetensors")
    with pytest.raises(InputError, match=r"in the repository, not in the wheel.*--start"):
        both_sides(config)


@pytest.mark.parametrize("classes", [7, 8])
def test_seven_and_eight_emotions_share_what_they_have_in_common(classes, made_up, nano, tmp_path):
    tensors, record = checkpoint.load(nano / "two")
    other = tmp_path / "other.safetensors"
    if classes == 8:  # the run has eight: make it one of seven
        for name in ("weight", "bias"):
            full = f"average.module.classifier.head.{name}"
            tensors[full] = tensors[full][:7].contiguous()
    checkpoint.save(other, tensors, record)
    said: list[str] = []
    sizes = replace(NANO, classes=classes)
    model, _ = both_sides(Train(data=(made_up,), out=tmp_path, model=sizes, start=other), said.append)
    fresh = both_sides(Train(data=(made_up,), out=tmp_path, model=sizes))[0]
    ours, had = model.classifier.head.weight, tensors["average.module.classifier.head.weight"]
    assert torch.equal(ours[:7], had[:7]) and len(ours) == classes
    assert torch.equal(ours[7:], fresh.classifier.head.weight[7:])
    assert said == [f"the weights tell {15 - classes} emotions apart, this run {classes}: 7 are taken over"]


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


def test_wrong_start_is_named(made_up, nano, tmp_path, capsys):
    done = inside(capsys, "train", "nano", "--data", made_up, "--out", tmp_path / "a", "--start", nano / "nowhere")
    assert done.returncode == 1 and "is not there" in done.stderr and "Traceback" not in done.stderr
    done = inside(capsys, "train", "compact", "--data", made_up, "--out", tmp_path / "c", "--start", nano / "one")
    assert done.returncode == 1 and "does not hold the weights of this encoder" in done.stderr


def test_wrong_command_lines_exit_with_2(tmp_path, capsys):
    for words in (
        ("pretrain",),
        ("train", "nano"),
        ("train", "nope", "--data", "x", "--out", "y"),
        ("dance",),
        (),
    ):
        done = inside(capsys, *words)
        assert done.returncode == 2, (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_checkpoint_survives_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / checkpoint.LAST
    checkpoint.save(path, {"a": torch.ones(2)}, {"step": 1, "stage": "photo", "config": {}})

    def full(tensors, filename, metadata):
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"No space left on device.*previous checkpoint is untouched"):
        checkpoint.save(path, {"a": torch.zeros(2)}, {"step": 2})
    tensors, record = checkpoint.load(tmp_path)
    assert record["step"] == 1 and torch.equal(tensors["a"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.LAST]


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match="is not a safetensors file"):
        checkpoint.load(tmp_path / "junk")
    (tmp_path / "mine.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(InputError, match=r"mine.onnx is an ONNX file, .*: give the .safetensors"):
        checkpoint.load(tmp_path / "mine.onnx")
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "other", {"format": "pfvit-run-99"})
    with pytest.raises(InputError, match=r"format 'pfvit-run-99', and this version reads 'pfvit-run-2'"):
        checkpoint.load(tmp_path / "other")


def test_schedule_and_layer_decay():
    rates = [cosine(step, 110, 10) for step in range(111)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 and rates[60] == pytest.approx(0.5) and rates[110] == 0
    assert layer_scale("encoder.patch_embed.proj.weight", 6, 0.5) == 0.5**7
    assert layer_scale("encoder.blocks.5.mlp.fc1.weight", 6, 0.5) == 0.5
    assert layer_scale("encoder.norm.weight", 6, 0.5) == layer_scale("classifier.head.weight", 6, 0.5) == 1


@pytest.mark.parametrize(
    ("label", "words"), [(3, ["--order", "ferplus"]), ("sadness", []), (3, ["--order", "a", "b", "c", "d"])]
)
def test_faces_of_one_class_are_refused_however_it_is_written(label, words, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    faces = pq.read_table(write_faces(tmp_path / "f.parquet", 16)).to_pydict()["image"]
    pq.write_table(pa.table({"image": faces, "label": [label] * 16}), tmp_path / "f.parquet")
    done = inside(capsys, "train", "nano", "--data", tmp_path / "f.parquet", "--out", tmp_path / "run", *words)
    shown = "d" if "d" in words else "sadness"
    assert done.returncode in (1, 2) and f"--data show one class alone ({shown}): two or more" in done.stderr


def test_a_corrupt_picture_is_left_out_and_named_before_the_first_step(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_faces(tmp_path / "f.parquet", 16)
    table = pq.read_table(path).to_pydict()
    table["image"][5] = {"bytes": b"no", "path": "x"}
    pq.write_table(pa.table(table), path)
    done = inside(capsys, "pretrain", "nano", "--data", path, "--out", tmp_path / "run", "--batch", 8, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    told = done.stderr[: done.stderr.index("2 steps of 8")]
    assert "f.parquet#0:5 is" in told and "15 faces; left out: 1 whose picture is damaged" in told

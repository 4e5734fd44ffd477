"""Both stages as a person runs them: they learn, stop, resume, share work, and say what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import inside, pfvit, write_faces
from helpers import EXACT, STAGES, lines
from safetensors.torch import load_file

from pfvit.config import Architecture, Game, Hardware, Pretrain, Train
from pfvit.config.presets import NANO
from pfvit.data import augment
from pfvit.data.dataset import Faces, Stream, everything
from pfvit.errors import InputError
from pfvit.training import checkpoint
from pfvit.training.initialise import both_sides
from pfvit.training.loop import make_fabric
from pfvit.training.optim import cosine, layer_scale
from pfvit.training.run import settings
from pfvit.training.trainer import Trainer, check
from pfvit.weights import CHECKPOINT

CONVOLUTIONAL = replace(NANO, patch_size=8, stem=(4, 8, 16), separator="subspace")
GOLDEN = Path(__file__).parents[1] / "golden"
STEM = (*STAGES["train"], "--model.patch-size", "8", "--model.stem", "4", "8", "16", "--model.separator", "subspace",
        "--erase-at", "0.5", "--optimizer", "muon")  # fmt: skip


def start(stage: str, data: Path, out: Path, *more: object) -> None:
    done = pfvit(*STAGES[stage], "--data", data, "--out", out, *EXACT, *more)
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


@pytest.mark.parametrize("stage", [*STAGES.values(), STEM], ids=[*STAGES, "stem"])
def test_resume_after_kill_is_bitwise_the_unbroken_run(stage, made_up, tmp_path):
    done = pfvit(*stage, "--data", made_up, "--out", tmp_path / "whole", *EXACT)
    assert done.returncode == 0, done.stderr
    words = [*stage, "--data", str(made_up), "--out", str(tmp_path / "cut"), *EXACT]
    words += ["--checkpoint-minutes", "0.00001"]
    child = subprocess.Popen([sys.executable, "-m", "pfvit", *words], stderr=subprocess.DEVNULL)
    log = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 7) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    _, record = checkpoint.load(tmp_path / "cut")
    assert 0 < record["step"] < 20, "killed too late to test anything"
    done = pfvit(*words, "--resume")
    assert done.returncode == 0, done.stderr
    whole, cut = (load_file(tmp_path / run / checkpoint.LAST) for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


@pytest.mark.parametrize("stage", STAGES)
def test_faces_kept_in_memory_train_the_same(stage, made_up, tmp_path):
    start(stage, made_up, tmp_path / "one")
    start(stage, made_up, tmp_path / "two", "--hardware.resident")
    assert lines(tmp_path / "one") == lines(tmp_path / "two")
    done = pfvit(*STAGES[stage], "--data", made_up, "--out", tmp_path / "three", "--hardware.resident",
                 "--hardware.workers", 1)  # fmt: skip
    assert done.returncode == 2 and "--hardware.resident needs --hardware.workers 0" in done.stderr


def test_both_stages_learn(nano):
    told = lines(nano / "one")
    assert told[-1]["loss"] < 0.7 * told[0]["loss"]
    looks = [line for line in lines(nano / "two") if "validation_war" in line]
    assert looks[-1]["validation_war"] > 0.5, "eight made-up emotions; chance is one in eight"
    assert list((nano / "two" / "sheets").glob("*.png"))
    assert list((nano / "two" / "board").glob("events.*"))


def trainer(tmp_path, made_up, model=NANO, encoder_stays=False, **settings) -> tuple[Trainer, Stream]:
    game = Game(**{"batch": 8, "every": 2, "start": 0.0, **settings})
    config = Train(
        data=(made_up,),
        out=tmp_path,
        batch=8,
        encoder_stays=encoder_stays,
        model=model,
        game=game,
        hardware=Hardware(precision="32", threads=1),
    )
    made = Trainer(make_fabric(config.hardware), config, steps=100)
    for cross in made.model.generator.cross.values():
        torch.nn.init.ones_(cross.gate)
    return made, Stream(Faces([made_up]), 8, 24, 1, seed=0)


def changed(before: dict, module: torch.nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}


def snapshot(module: torch.nn.Module) -> dict:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_who_learns_in_which_phase(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up)
    batch = next(iter(stream))
    made.let_critics_in()
    model, critics = snapshot(made.model), snapshot(made.bare_critics)
    terms = made.step(batch, 0, warmup=0)  # no game in this step
    parts = {name.split(".")[0] for name in changed(model, made.model)}
    assert parts == {"encoder", "separator", "classifier"} and not changed(critics, made.bare_critics)
    assert set(terms) == {"classification"}
    terms = made.step(batch, 1, warmup=0)
    parts = {name.split(".")[0] for name in changed(model, made.model)}
    assert parts == {"encoder", "separator", "classifier", "generator"}
    parts = {name.split(".")[0] for name in changed(critics, made.bare_critics)}
    assert parts == {"discriminator", "probe"}
    assert {"adversary", "emotion", "untouched", "critic_realism", "critic_probe"} <= set(terms)


def test_the_makers_phase_leaves_no_gradient_in_the_critics(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up)
    seen = []
    step = made.critic_optimizer.step
    made.critic_optimizer.step = lambda *a, **k: (
        seen.append({n: p.grad.clone() for n, p in made.bare_critics.named_parameters()}), step(*a, **k)
    )  # fmt: skip
    batch = next(iter(stream))
    made.step(batch, 1, warmup=0)
    weights = {n: p.detach().clone() for n, p in made.bare_critics.named_parameters()}
    assert len(seen) == 1 and weights
    assert all(p.grad is None for p in made.bare_critics.parameters())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_game_moves_the_encoder_by_its_share_only(share, tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up, encoder_share=share)
    batch = next(iter(stream))
    image = augment.to_unit(batch.image)
    _, drawn = made.makers(image, image, torch.ones(8))
    drawn.expressive.square().mean().backward()
    moved = made.model.encoder.blocks[0].mlp.fc1.weight.grad.abs().sum()
    assert (moved > 0) == (share > 0)
    assert made.model.generator.decoder.pred.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("model", [NANO, CONVOLUTIONAL])
def test_the_game_alone_teaches_nobody_but_the_generator(model, tmp_path, made_up):
    made, stream = trainer(
        tmp_path, made_up, model, every=1, alone=True, start=0.0, cycle=1.0, cycle_emotion=0.1, ramp=0.0
    )
    made.let_critics_in()
    before = snapshot(made.model)
    batches = iter(stream)
    for number in (1, 2):
        terms = made.step(next(batches), number, warmup=0)
    assert {name.split(".")[0] for name in changed(before, made.model)} == {"generator"}
    assert {"cycle", "cycle_emotion", "emotion", "critic_realism"} <= set(terms) and "confusion" not in terms


def test_an_encoder_that_stays_is_erased_for_good(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up, model=CONVOLUTIONAL, encoder_stays=True, every=2)
    made.sample, made.erasure = everything(Faces([made_up]), 24, 1), 0
    batches = iter(stream)
    made.step(next(batches), 0, warmup=0)
    before = snapshot(made.model)
    for number in (1, 2):  # one with the game, one without
        made.step(next(batches), number, warmup=0)
    learnt = {name.split(".")[0] for name in changed(before, made.model)}
    assert learnt == {"generator", "classifier"}


def test_the_cycle_looks_at_the_calm_face_again(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up, cycle=1.0)
    image = augment.to_unit(next(iter(stream)).image)
    _, drawn = made.makers(image, image, torch.ones(8))
    again = made.model.separator(made.model.encoder(drawn.calm))
    torch.testing.assert_close(drawn.residue_again, again.residue)
    torch.testing.assert_close(drawn.logits_again, made.model.classifier(again.emotion))


def test_the_emotion_is_erased_when_it_is_due_and_the_axes_stay(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up, model=CONVOLUTIONAL)
    made.sample, made.erasure = everything(Faces([made_up]), 24, 1), 2
    batches = iter(stream)
    for number in (0, 1):
        before = made.model.separator.basis.clone()
        made.step(next(batches), number, warmup=0)
        assert not torch.equal(before, made.model.separator.basis)
    for number in (2, 3):
        made.step(next(batches), number, warmup=0)
    axes = made.model.separator.basis
    torch.testing.assert_close(axes.T @ axes, torch.eye(axes.shape[1]))
    torch.testing.assert_close(axes, made.averaged.separator.basis)


def test_a_stem_s_statistics_are_averaged_too(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up, model=CONVOLUTIONAL)
    start = snapshot(made.averaged)
    made.step(next(iter(stream)), 0, warmup=0)
    assert any(name.endswith("running_mean") for name in changed(start, made.averaged))


def test_averaged_weights_follow(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up)
    batches = iter(stream)
    for step in range(3):
        made.step(next(batches), step, warmup=0)
    weight = made.model.classifier.head.weight
    average = made.average.module.classifier.head.weight
    assert not torch.equal(weight, average)
    assert (weight - average).abs().max() < 0.1


def test_a_loss_that_is_not_finite_stops_with_step_terms_and_rows(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up)
    torch.nn.init.constant_(made.model.classifier.head.weight, float("inf"))
    with pytest.raises(InputError, match=r"step 4 \(classification nan\).*Rows: faces\.parquet#"):
        made.step(next(iter(stream)), 4, warmup=0)


def test_time_budget_ends_cleanly_and_a_finished_run_can_be_resumed(made_up, tmp_path):
    start("pretrain", made_up, tmp_path / "run", "--minutes", "0.0001")
    _, record = checkpoint.load(tmp_path / "run")
    assert record["step"] < 20
    start("pretrain", made_up, tmp_path / "run", "--resume")
    assert checkpoint.load(tmp_path / "run")[1]["step"] == 20
    start("pretrain", made_up, tmp_path / "run", "--resume")
    assert len(lines(tmp_path / "run")) == 20


def test_a_run_folder_that_exists_is_not_overwritten(made_up, nano):
    done = pfvit("pretrain", "nano", "--data", made_up, "--out", nano / "one")
    assert done.returncode == 1 and "exists and is not empty; --resume continues it" in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_with_other_settings_is_refused(made_up, nano):
    done = pfvit("pretrain", "nano", "--data", made_up, "--out", nano / "one", "--epochs", 4, "--batch", 16, "--resume")
    assert done.returncode == 1 and "batch 32 -> 16" in done.stderr
    done = pfvit("pretrain", "nano", "--data", made_up, "--out", nano / "none", "--resume")
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
    sizes = Architecture(**settings(Architecture, record["config"]["model"]))
    config = Train(data=(made_up,), out=tmp_path, model=sizes, start=Path("shipped"))
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


def test_the_discriminator_enters_as_the_encoder_is_then(tmp_path, made_up):
    made, stream = trainer(tmp_path, made_up)
    made.entrance = 2
    batches = iter(stream)
    for number in (0, 1):
        before = snapshot(made.bare_critics)
        terms = made.step(next(batches), number, warmup=0)
        assert not changed(before, made.bare_critics) and "critic_realism" not in terms
    encoder = snapshot(made.averaged.encoder)
    made.let_critics_in()
    backbone = made.bare_critics.discriminator.backbone.state_dict()
    assert len(backbone) > 5 and all(torch.equal(encoder[name], backbone[name]) for name in backbone)
    made.step(next(batches), 2, warmup=0)
    assert "critic_realism" in made.step(next(batches), 3, warmup=0)


def test_only_the_recognition_view_skips_layers(tmp_path, made_up):
    made, _ = trainer(tmp_path, made_up)
    view, clean = torch.rand(4, 1, 24, 24), torch.rand(2, 1, 24, 24)
    strength, paths = torch.ones(2), torch.zeros(4, NANO.depth, 2)
    whole, drawn = made.makers(view, clean, strength)
    skipped, drawn_again = made.makers(view, clean, strength, paths)
    assert torch.allclose(drawn.calm, drawn_again.calm, atol=1e-6) and not torch.allclose(whole, skipped)
    alone, _ = made.makers(view, paths=paths)
    assert torch.allclose(alone, skipped, atol=1e-6)


def test_settings_that_do_not_go_together_are_refused(made_up, tmp_path, capsys):
    words = ("train", "nano", "--data", made_up, "--out", tmp_path / "x")
    done = inside(capsys, *words, "--game.alone")
    assert done.returncode == 2 and "--game.alone needs --start" in done.stderr
    done = inside(capsys, *words, "--encoder-stays")
    assert done.returncode == 2 and "--start" in done.stderr
    done = inside(capsys, *words, "--erase-at", "0.5")
    assert done.returncode == 2 and "--erase-at needs --model.separator subspace" in done.stderr
    for told, more in (
        ("at most 1 together", {"mixup": 0.6, "cutmix": 0.5}),
        ("from 0 to below 1", {"drop_path": 1.0}),
        ("must not be negative", {"oversample": -1.0}),
        ("--cutmix 0", {"labels": "ml", "mixup": 0.0, "smoothing": 0.0, "cutmix": 0.2}),
    ):
        with pytest.raises(InputError, match=told):
            check(Train(data=(made_up,), out=tmp_path, **more))


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
    checkpoint.save(path, {"a": torch.ones(2)}, {"step": 1})

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
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "other", {"format": "pfvit-run-99"})
    with pytest.raises(InputError, match=r"format 'pfvit-run-99'; this version reads 'pfvit-run-1'"):
        checkpoint.load(tmp_path / "other")


def test_schedule_and_layer_decay():
    rates = [cosine(step, 110, 10) for step in range(111)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1 and rates[60] == pytest.approx(0.5) and rates[110] == 0
    assert layer_scale("encoder.patch_embed.proj.weight", 6, 0.5) == 0.5**7
    assert layer_scale("encoder.blocks.5.mlp.fc1.weight", 6, 0.5) == 0.5
    assert layer_scale("encoder.norm.weight", 6, 0.5) == layer_scale("classifier.head.weight", 6, 0.5) == 1


def test_defaults_are_immutable_and_documented(made_up, capsys):
    with pytest.raises(AttributeError):
        Pretrain(data=(made_up,), out=Path()).batch = 1
    for verb in ("pretrain", "train"):
        text = inside(capsys, verb, "compact", "--help").stdout
        assert "--minutes" in text and "--resume" in text


def test_a_corrupt_picture_stops_training_with_its_row(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_faces(tmp_path / "f.parquet", 16)
    table = pq.read_table(path).to_pydict()
    table["image"][5] = {"bytes": b"no", "path": "x"}
    pq.write_table(pa.table(table), path)
    done = pfvit("pretrain", "nano", "--data", path, "--out", tmp_path / "run", "--batch", 8)
    assert done.returncode == 1 and "f.parquet#0:5 cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr

"""The best checkpoint by a figure, the last ones, early stopping, curves, class weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import STAGES, lines
from PIL import Image
from safetensors.torch import load_file

from pfvit.config import Gan
from pfvit.errors import UsageError
from pfvit.evaluation.curves import learning_curves
from pfvit.rendering import ACCENT, INK
from pfvit.training import checkpoint, losses
from pfvit.training.selection import Selection
from pfvit.training.trainer import TrainStage, train
from pfvit.utils.files import also_as


@pytest.fixture(scope="module")
def config(made_up):
    """20 steps of recognition, validated after every fourth; checkpoints only where they are the best."""
    short = replace(STAGES["train"], gan=Gan(every=0), data=(made_up,), validation=(made_up,), evaluate_every=4)
    return replace(short, best="loss", keep=2, checkpoint_minutes=60.0)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("selection") / "whole"
    train(replace(config, out=out))
    return out


def validations(run) -> list[dict]:
    return [line for line in lines(run) if "validation_loss" in line]


def test_the_best_and_the_last_checkpoints_are_kept(whole):
    figures = {line["step"]: line["validation_loss"] for line in validations(whole)}
    assert list(figures) == [4, 8, 12, 16, 20]
    best = min(figures, key=figures.__getitem__)
    record = checkpoint.record_of(whole / "best.safetensors")
    assert record["step"] == best
    kept = checkpoint.record_of(whole)["best"]
    assert (kept["figure"], kept["step"], round(kept["value"], 6)) == ("loss", best, figures[best])
    history = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert len(history) == 2 and history[-1] == "0000020.safetensors"
    assert not list(whole.glob(".*.safetensors")), "nothing unfinished is left"
    with Image.open(whole / "curves.png") as picture:
        assert picture.width > picture.height > 200


def test_a_resumed_run_has_the_same_best_as_the_unbroken_one(config, whole, tmp_path, monkeypatch):
    cut, steps = replace(config, out=tmp_path / "cut"), 0
    follow = TrainStage.after_step

    def stops_at(stage) -> None:
        nonlocal steps
        steps += 1
        if steps == 11:
            raise RuntimeError("as a kill does: nothing is written any more")
        follow(stage)

    monkeypatch.setattr(TrainStage, "after_step", stops_at)
    with pytest.raises(RuntimeError, match="as a kill does"):
        train(cut)
    monkeypatch.undo()
    record = checkpoint.record_of(cut.out)
    assert record["step"] in (4, 8) and record["best"]["step"] == record["step"]
    (cut.out / "best.safetensors").unlink()  # killed between the two writes
    train(replace(cut, resume=True))
    for name in ("last.safetensors", "best.safetensors"):
        ours, unbroken = load_file(cut.out / name), load_file(whole / name)
        assert ours.keys() == unbroken.keys() and all(torch.equal(ours[key], unbroken[key]) for key in ours)
    assert lines(cut.out) == lines(whole)
    assert checkpoint.record_of(cut.out)["best"] == checkpoint.record_of(whole)["best"]


def test_a_run_goes_on_from_an_earlier_checkpoint(config, whole, tmp_path):
    """What docs/training.md says: copied over the last one, it is where the run goes on."""
    earlier = sorted((whole / "checkpoints").iterdir())[0]
    again = tmp_path / "again"
    again.mkdir()
    (again / checkpoint.LAST).write_bytes(earlier.read_bytes())
    train(replace(config, out=again, resume=True))
    ours, unbroken = load_file(again / checkpoint.LAST), load_file(whole / checkpoint.LAST)
    assert all(torch.equal(ours[key], unbroken[key]) for key in unbroken)


def test_a_run_stops_early_and_stays_stopped(config, tmp_path, capsys):
    still = replace(config, out=tmp_path / "run", best="war", patience=2, keep=0, lr=1e-12)
    train(still)
    said = capsys.readouterr().err
    assert "12 of 20 steps done: war has not improved in 2 validations" in said and "--resume" not in said
    assert "the best (war 0." in said and "step 4) in" in said
    train(replace(still, resume=True))
    assert checkpoint.record_of(still.out)["step"] == 12 == lines(still.out)[-1]["step"]
    train(replace(still, resume=True, patience=3))
    assert checkpoint.record_of(still.out)["step"] == 16
    train(replace(still, resume=True, best="", patience=None))
    assert checkpoint.record_of(still.out)["step"] == 20 and not (tmp_path / "run" / "checkpoints").exists()


def test_a_figure_that_is_none_is_refused_before_the_first_step(config, tmp_path):
    with pytest.raises(UsageError, match="--best f1: validation gives war, uar, loss, reconstruction, recall_neutral"):
        train(replace(config, out=tmp_path / "run", best="f1"))
    assert not (tmp_path / "run").exists()


def test_which_value_is_better():
    higher, lower = Selection("uar", 2), Selection("validation_loss")
    seen = [higher.note(step, {"validation_uar": value}) for step, value in ((1, float("nan")), (2, 0.2), (3, 0.2))]
    assert seen == [False, True, False]
    assert not higher.exhausted and not higher.note(4, {"validation_uar": 0.1}) and higher.exhausted
    seen = [lower.note(step, {"validation_loss": value}) for step, value in ((1, 2.0), (2, 1.0), (3, 3.0))]
    assert seen == [True, True, False]
    again = Selection("loss")
    again.restore(lower.record())
    assert again.record() == lower.record() and again.step == 2
    other = Selection("war")
    other.restore(lower.record())
    assert other.step == 0, "another figure is counted anew"
    with pytest.raises(UsageError, match="--best recall_fear: validation gives war"):
        Selection("recall_fear").note(1, {"validation_war": 0.5})


def test_a_file_in_two_places_is_there_once_more_when_the_first_goes(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")
    also_as(first, second)
    also_as(first, second)
    first.unlink()
    first.write_text("new")
    assert second.read_text() == "old"
    also_as(first, second)
    assert second.read_text() == "new" and sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_curves_are_where_the_figures_are():
    told = [{"step": step, "classification": 2.0 - step / 100} for step in range(1, 101)]
    told += [{"step": 50, "validation_war": 0.25, "validation_uar": 0.75, "validation_loss": float("nan")}]
    told += [{"step": 100, "validation_war": 0.25, "validation_uar": 0.75}]
    picture = np.asarray(learning_curves(told))
    box = picture[48 : 48 + 240 + 1, picture.shape[1] // 2 :]
    heights = {name: np.argwhere((box == colour).all(2))[:, 0] for name, colour in (("war", ACCENT), ("uar", INK))}
    assert np.median(heights["war"]) == pytest.approx(0.75 * 240, abs=2)
    assert np.median(heights["uar"]) == pytest.approx(0.25 * 240, abs=2)
    alone = learning_curves([{"step": 1, "loss": 0.5}])
    assert alone.width < picture.shape[1], "without validation there is one panel"
    assert learning_curves([]).width == alone.width


def test_class_weights_by_hand():
    """Six faces of the first class, two of the second, none of the third."""
    half, full = losses.class_weights([6, 2, 0], 0.5), losses.class_weights([6, 2, 0], 1.0)
    assert full[:2].tolist() == pytest.approx([8 / 12, 8 / 4]) and full[2] > full[1]
    assert (half[1] / half[0]).item() == pytest.approx(3**0.5)
    assert (half[:2] * torch.tensor([6.0, 2.0])).sum().item() == pytest.approx(8)
    assert losses.class_weights([6, 2, 0], 0.0).tolist() == [1, 1, 1]
    logits, target = torch.randn(5, 3), torch.eye(3)[[0, 1, 2, 1, 0]]
    theirs = torch.nn.functional.cross_entropy(logits, target, weight=full)
    torch.testing.assert_close(losses.classification(logits, target, full), theirs)
    torch.testing.assert_close(
        losses.classification(logits, target), losses.classification(logits, target, half * 0 + 1)
    )


def test_class_weights_change_what_is_learnt_alone(config, whole, tmp_path):
    train(replace(config, out=tmp_path / "run", best="", keep=0, class_weights=1.0, epochs=0.4, warmup=0.05))
    ours, plain = lines(tmp_path / "run")[0], lines(whole)[0]
    assert ours["classification"] != plain["classification"] and ours["classification"] == pytest.approx(
        plain["classification"], rel=0.2
    )


def test_few_steps_from_fresh_weights_are_told(config, whole, tmp_path, capsys):
    """A newcomer's hundred pictures make a run that ends after seconds, and knows nothing."""
    train(replace(config, out=tmp_path / "fresh", best="", keep=0))
    assert "20 steps are too few for fresh weights" in capsys.readouterr().err
    train(replace(config, out=tmp_path / "one", best="", keep=0, epochs=0.01, warmup=0.0))
    told = capsys.readouterr().err
    assert "faces, 1 step of 16" in told and "1 step is too few for fresh weights" in told
    train(replace(config, out=tmp_path / "gone-on", best="", keep=0, start=whole))
    assert "too few" not in capsys.readouterr().err

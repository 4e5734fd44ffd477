"""`pfvit evaluate` on faces and weights whose figures are known by hand."""

import json
from pathlib import Path

import fake_weights
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import pfvit, png
from helpers import flat_png, voted
from PIL import Image

from pfvit.__main__ import main
from pfvit.emotions import EIGHT
from pfvit.evaluation.figures import reliability
from pfvit.evaluation.measure import _square
from pfvit.inference.reader import Reader
from pfvit.rendering import ACCENT, heat_over
from pfvit.rendering import SIDE as PANEL

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"
SIDE = 12
PICTURE = Image.new("RGB", (8, 8))


@pytest.fixture
def few(tmp_path):
    """The fake recogniser answers with the emotion whose centre is nearest: here it is right in 5 of 6."""
    centre = dict(zip(EIGHT, fake_weights.CENTRES.tolist(), strict=True))
    rows = [(flat_png(centre[name]), {name: 8, "unknown": 2}, "") for name in EIGHT[:5]]
    rows.append((flat_png(centre["fear"]), {"neutral": 5, "fear": 5}, ""))  # a tie goes to the first column: wrong
    rows.append((flat_png(16), {"neutral": 4, "unknown": 6}, ""))
    rows.append((flat_png(16), {"NF": 10}, ""))
    rows.append((flat_png(16), {"anger": 10}, "train"))
    return voted(tmp_path / "few.parquet", rows)


@pytest.fixture
def weights(tmp_path):
    return fake_weights.write(tmp_path)


def evaluate(capsys, *words) -> tuple[int, dict, str]:
    status = main(["evaluate", *map(str, words), "--json"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else {}, said.err


def test_the_contract(few, weights, capsys):
    status, report, _ = evaluate(capsys, "--data", few, "--weights", weights)
    assert status == 0
    assert {"n", "war", "uar", "macro_f1", "ece", "confusion", "labels"} <= set(report)
    assert report["n"] == 6 and report["labels"] == list(EIGHT)
    assert report["left_out"] == {"leaked": 1, "no_emotion": 2, "unreadable": 0}
    assert report["war"] == pytest.approx(5 / 6)
    # Recall: neutral 1 of 2, four other emotions 1 of 1.
    assert report["uar"] == pytest.approx((0.5 + 4) / 5)
    assert report["recall"]["neutral"] == 0.5 and report["recall"]["contempt"] is None
    assert report["confusion"][EIGHT.index("neutral")][EIGHT.index("fear")] == 1
    low, high = report["war_ci"]
    assert low <= report["war"] <= high


def test_poker_figures_by_hand(few, weights, capsys):
    """The fake generator draws the mean brightness and lifts the left half by a quarter (1 at most)."""
    _, report, _ = evaluate(capsys, "--data", few, "--weights", weights)
    poker = report["poker"]
    assert poker["expressive"] == 4
    assert poker["emphasis"] == 1
    assert poker["reconstruction_l1"] == pytest.approx(0, abs=1e-3)
    assert poker["reconstruction_ssim"] == pytest.approx(1, abs=1e-3)
    assert poker["expression_change_l1"] == pytest.approx(fake_weights.CHANGE / 2, abs=1e-3)
    # Neutral: centres 16, which is read as neutral and so due a part of the change only, and, of the face that shows
    # fear, 208, which can only be lifted to 255.
    shares = np.exp(-0.1 * np.abs(16 - fake_weights.CENTRES))
    part = (2 * (1 - shares[0] / shares.sum())) ** 3
    assert 0 < part < 0.7
    lifted = [part * fake_weights.CHANGE / 2, (255 - 208) / 255 / 2]
    assert poker["neutral_change_l1"] == pytest.approx(np.mean(lifted), abs=1e-3)
    assert poker["own_neutral_before"] == 0
    assert poker["majority_rate"] == pytest.approx(2 / 6)
    assert "judge" not in poker


def test_a_judge_needs_no_components(few, weights, tmp_path, capsys):
    judge = fake_weights.write(tmp_path, "judge", generator=False)
    model = onnx.load(judge)
    del model.graph.output[2:]
    onnx.save(model, judge)
    _, report, _ = evaluate(capsys, "--data", few, "--weights", weights, "--judge", judge)
    poker = report["poker"]
    # A quarter on half the pixels is 32 levels in the mean: every answer moves to the next emotion, none to neutral.
    assert poker["judge_war"] == pytest.approx(5 / 6)
    assert poker["judge_neutral_before"] == poker["judge_neutral_carried"] == 0
    assert poker["judge_neutral_gain_ci"] == [0, 0]
    calm = voted(tmp_path / "calm.parquet", [(flat_png(16), {"neutral": 9}, "")] * 2)
    _, report, _ = evaluate(capsys, "--data", calm, "--weights", weights, "--judge", judge)
    assert report["poker"]["judge_neutral_gain"] is report["poker"]["judge_neutral_gain_ci"] is None
    status, _, said = evaluate(capsys, "--data", few, "--weights", judge)
    assert status == 1 and "judge.onnx is not a recogniser that this pfvit can use" in said


def test_a_judge_can_say_neutral_and_has_faces_to_look_at(few, weights, tmp_path, capsys):
    words = ("--data", few, "--weights", weights, "--judge")
    never = fake_weights.write(tmp_path, "never", labels=json.dumps(["calm", *EIGHT[1:]]))
    status, report, said = evaluate(capsys, *words, never)
    assert (status, report) == (1, {}) and "never.onnx has no class neutral" in said
    status, report, said = evaluate(capsys, *words, weights, "--no-faces")
    assert (status, report) == (2, {}) and "--judge looks at poker faces, which --no-faces leaves out" in said
    _, _, said = evaluate(capsys, *words, weights)
    assert "is what is measured itself" in said
    other = fake_weights.write(tmp_path, "other", pair="another")
    _, _, said = evaluate(capsys, *words, other)
    assert "is what is measured itself" not in said


def test_the_official_protocol_keeps_leaking_rows(few, weights, capsys):
    _, report, _ = evaluate(capsys, "--data", few, "--weights", weights, "--protocol", "official")
    assert report["n"] == 7 and report["left_out"]["leaked"] == 0


def test_also_in_may_be_absent(tmp_path, weights, capsys):
    path = voted(tmp_path / "v.parquet", [(flat_png(16), {"neutral": 9}, "")] * 3, also_in=False)
    status, report, _ = evaluate(capsys, "--data", path, "--weights", weights, "--no-faces")
    assert (status, report["n"], report["war"]) == (0, 3, 1.0)
    assert "poker" not in report


@pytest.mark.parametrize("order", ["rafdb", "affectnet8"])
def test_labels_are_read_in_the_order_of_their_data_set(order, tmp_path, weights, capsys):
    # rafdb: 6 is neutral, 3 happiness; affectnet8: 7 is contempt.
    label, name = {"rafdb": (3, "happiness"), "affectnet8": (7, "contempt")}[order]
    brightness = fake_weights.CENTRES[EIGHT.index(name)]
    table = pa.table({"image": pa.array([flat_png(brightness)] * 2), "label": pa.array([label, label])})
    pq.write_table(table, tmp_path / "l.parquet")
    words = ("--data", tmp_path / "l.parquet", "--weights", weights, "--no-faces", "--order", order)
    _, report, _ = evaluate(capsys, *words)
    assert report["war"] == 1 and report["recall"][name] == 1
    # Where contempt is not told apart it is no answer either.
    assert ("contempt" in report["labels"]) == (order == "affectnet8")
    assert "js_distance" not in report


def test_what_cannot_be_read_is_named_and_the_rest_is_measured(tmp_path, weights, capsys):
    rows = [(flat_png(16), {"neutral": 9}, ""), (b"no picture", {"neutral": 9}, ""), (flat_png(16), {"neutral": 9}, "")]
    path = voted(tmp_path / "v.parquet", rows)
    status, report, said = evaluate(capsys, "--data", path, tmp_path / "missing.parquet", "--weights", weights)
    assert status == 1 and report["n"] == 2 and report["left_out"]["unreadable"] == 2
    assert "v.parquet#1" in said and "missing.parquet is not there" in said
    status, report, said = evaluate(capsys, "--data", tmp_path / "missing.parquet", "--weights", weights)
    assert (status, report) == (1, {}) and "missing.parquet is not there" in said
    assert "missing.parquet could be read: what is wrong is named above" in said and "could name" not in said


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("--order", "klingon"), 2, "--order must be one of"),
        (("--batch", "0"), 2, "--batch must be 1 or more"),
        (("--judge", "nowhere.onnx"), 1, "nowhere.onnx is not there"),
        (("--weights", "."), 1, "is a folder"),
    ],
)
def test_mistakes_are_explained(words, status, what, few, weights, capsys):
    default = () if "--weights" in words else ("--weights", weights)
    got, report, said = evaluate(capsys, "--data", few, *default, *words)
    assert (got, report) == (status, {}) and what in said


def test_data_without_labels_and_labels_out_of_range(tmp_path, weights, capsys):
    pq.write_table(pa.table({"image": pa.array([flat_png(16)])}), tmp_path / "bare.parquet")
    status, _, said = evaluate(capsys, "--data", tmp_path / "bare.parquet", "--weights", weights)
    assert status == 2 and "neither the ten FER+ vote columns nor a label column" in said
    pq.write_table(pa.table({"image": pa.array([flat_png(16)]), "label": pa.array([8])}), tmp_path / "out.parquet")
    status, _, said = evaluate(capsys, "--data", tmp_path / "out.parquet", "--weights", weights)
    assert status == 2 and "out.parquet#0: labels of ferplus are 0 to 7, not 8" in said


def test_figures_and_table(few, weights, tmp_path, capsys):
    folder = tmp_path / "figures"
    words = ("--data", str(few), "--weights", str(weights), "--figures", str(folder), "--shown", "1")
    status = main(["evaluate", *words])
    shown = capsys.readouterr().out
    assert status == 0 and "WAR (accuracy)" in shown and "0.833" in shown and "happiness" in shown
    emotions = {path.stem for path in folder.iterdir()} - {"reliability", "selective"}
    assert emotions <= set(EIGHT) and len(emotions) > 1 and (folder / "selective.png").is_file()
    with Image.open(folder / f"{emotions.pop()}.png") as sheet:  # one face: four cells of 96, and a gap
        assert sheet.size == (4 * 96 + 2, 96 + 2)


def test_a_folder_for_figures_that_cannot_be_made_is_told_before_measuring(tmp_path, capsys):
    (tmp_path / "file").touch()
    status, _, said = evaluate(capsys, "--data", tmp_path / "absent", "--figures", tmp_path / "file")
    assert status == 1 and "file cannot be a folder: a file is in the way" in said


def test_figures_show_the_answers_that_are_reported(tmp_path, weights, capsys, monkeypatch):
    """Data that tell two emotions apart: an answer of a third is none, in the figures as in the accuracy."""
    seen = {}
    figures = {
        "reliability": lambda p, *_: seen.update(p=p),
        "selective_curve": lambda right, *_: seen.update(right=right),
    }
    for name, keep in figures.items():
        monkeypatch.setattr(f"pfvit.evaluation.measure.{name}", lambda *given, keep=keep: keep(*given) or PICTURE)
    surprise = fake_weights.CENTRES[EIGHT.index("surprise")]
    images = [flat_png(surprise), flat_png(fake_weights.CENTRES[EIGHT.index("neutral")])]
    table = pa.table({"image": pa.array(images), "label": pa.array(["happiness", "neutral"])})
    pq.write_table(table, tmp_path / "two.parquet")
    words = ("--data", tmp_path / "two.parquet", "--weights", weights, "--no-faces", "--figures", tmp_path / "figures")
    status, report, said = evaluate(capsys, *words)
    assert (status, report["war"], report["labels"]) == (0, 1.0, ["neutral", "happiness"])
    assert "never counted as an answer, as the data do not distinguish it: surprise, sadness, anger" in said
    assert seen["right"].tolist() == [True, True] and seen["p"].shape == (2, 2)


def test_the_map_in_a_sheet_is_of_the_poker_face_beside_it(tmp_path, capsys, monkeypatch):
    """The weights that ship move photos, and their small generator would change other places."""
    crop = Reader(threads=1).read(PHOTO)[0].crop
    path, folder = tmp_path / "mine.parquet", tmp_path / "figures"
    pq.write_table(pa.table({"image": pa.array([png(crop)]), "label": pa.array(["happiness"])}), path)
    kept = {}
    monkeypatch.setattr("pfvit.evaluation.measure.save_sheet", lambda file, columns, *_, **__: kept.update(c=columns))
    status, *_ = evaluate(capsys, "--data", path, "--no-faces", "--figures", folder)
    (reading,) = Reader(threads=1).read(crop, whole=True)
    expected = _square(np.asarray(heat_over(crop, reading.expression_map)))
    assert status == 0 and (kept["c"][3][0] == expected).all() and (kept["c"][2][0] != kept["c"][0][0]).any()


def test_reliability_diagram_shows_the_accuracy_of_each_bin():
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.3, 0.7]] * 2)
    picture = np.asarray(reliability(probabilities, np.array([0, 0, 0, 1, 0, 1]), 0.1))
    tall = (picture == ACCENT).all(2).sum(0) / (2 * PANEL)  # of each column; the diagonal hides two or three pixels
    assert tall.max() == pytest.approx(0.75, abs=0.02)  # the bin of 0.9: three of four right
    assert (np.abs(tall - 0.5) < 0.02).sum() > 20  # the bin of 0.7: one of two


def test_of_one_face_what_can_be_measured_is_measured(tmp_path, weights, capsys):
    path = voted(tmp_path / "one.parquet", [(flat_png(48), {"happiness": 9}, "")])
    status, report, said = evaluate(capsys, "--data", path, "--weights", weights, "--robustness")
    assert (status, report["n"], report["war"]) == (0, 1, 1.0) and report["poker"]["reconstruction_l1"] < 0.01
    assert report["poker"]["emotion_probe"] is None and report["poker"]["residue_probe"] is None
    assert "emotion_probe and residue_probe are not measured: they are fitted on every second face" in said
    assert main(["evaluate", "--data", str(path), "--weights", str(weights)]) == 0
    assert "emotion probe" not in capsys.readouterr().out


def test_weights_without_neutral_have_no_poker_faces(few, tmp_path, capsys):
    """Eight other names: what can be measured is, and why the rest cannot be is said."""
    weights = fake_weights.write(tmp_path, "smiles", labels=json.dumps([f"kind {k}" for k in range(8)]))
    path = tmp_path / "own.parquet"
    table = pa.table({"image": pa.array([flat_png(16)] * 2), "label": pa.array(["kind 0", "kind 1"])})
    pq.write_table(table, path)
    status, report, said = evaluate(capsys, "--data", path, "--weights", weights, "--figures", tmp_path / "figures")
    assert (status, report["war"]) == (0, 0.5) and "poker" not in report
    assert "smiles.onnx has no class neutral, so there are no poker faces to measure or to show" in said
    assert {one.name for one in (tmp_path / "figures").iterdir()} == {"reliability.png", "selective.png"}


def test_the_trained_slice_is_measured(nano, made_up):
    """From faces to weights to figures: two made-up minutes of training must show in every figure."""
    done = pfvit("evaluate", "--data", made_up, "--weights", nano / "nano.onnx", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["n"] == 200 and report["war"] > 0.5
    assert report["poker"]["emotion_probe"] > report["poker"]["majority_rate"]

"""Measures of poker faces: none that prefers a control to what it should prefer is reported."""

import json
import shutil
from pathlib import Path

import fake_weights
import numpy as np
import pytest
from helpers import flat_png, voted
from PIL import Image

from pfvit.__main__ import main
from pfvit.report import changes, robustness, section
from pfvit.report import poker_measures as pm

ASTRONAUT = Path(__file__).parents[2] / "assets" / "astronaut.jpg"
DATA = {
    pm.PROBABLY: {pm.AS_IS: 0.1, **dict.fromkeys(pm.BLURRED, 0.15), pm.ENCODED: 0.1, pm.FADED: 0.4, pm.ANOTHER: 0.9},
    pm.PERSON: {pm.AS_IS: 1, **dict.fromkeys(pm.BLURRED, 0.8), pm.ENCODED: 0.9, pm.FADED: 0.5, pm.ANOTHER: 0.0},
    pm.DETAIL: {pm.AS_IS: 1, **dict(zip(pm.BLURRED, (0.9, 0.7, 0.3), strict=True)), pm.ENCODED: 0.9, pm.FADED: 0.5},
}
#: p(neutral) of pairs: what is near the real neutral photo has more.
PAIRS = {pm.AS_IS: 0.2, **dict.fromkeys(pm.BLURRED, 0.2), pm.FADED: 0.5, pm.ANOTHER: 0.9, pm.NEUTRAL_ENCODED: 1.0}


def test_a_measure_that_orders_the_controls_rightly_is_reported():
    assert [pm.without_pairs(what, mean) for what, mean in DATA.items()] == [[], [], []]
    assert pm.with_pairs(pm.PROBABLY, PAIRS) == []
    assert pm.way(PAIRS, pm.FADED) == pytest.approx((0.5 - 0.2) / 0.8)


@pytest.mark.parametrize(
    ("what", "wrong", "said"),
    [
        (pm.PROBABLY, {pm.BLURRED[2]: 0.6}, "blurred by 4 px of 256 is called calmer"),
        (pm.PROBABLY, {pm.ANOTHER: 0.1}, "neutral faces do not have more"),
        (pm.PERSON, {pm.ANOTHER: 0.95}, "another's neutral face is as good as the face, JPEG 75"),
        (pm.DETAIL, {pm.BLURRED[2]: 0.85}, "a blur does not lose it"),
        (pm.DETAIL, {pm.ENCODED: 0.5}, "the face, JPEG 75 loses it"),
    ],
)
def test_a_measure_that_a_control_deceives_is_not(what, wrong, said):
    assert said in " ".join(pm.without_pairs(what, DATA[what] | wrong))


def test_pairs_have_rules_of_their_own():
    assert pm.with_pairs(pm.PERSON, PAIRS) == ["another's neutral face is too good"]
    assert pm.with_pairs(pm.PROBABLY, PAIRS | {pm.BLURRED[0]: 0.5}) == ["blurred by 1 px of 256 is too good"]
    assert "no better" in pm.with_pairs(pm.MOUTH, PAIRS)[0]  # a gap should be smaller
    alone = {kind: value for kind, value in PAIRS.items() if kind != pm.ANOTHER}
    assert "one person alone" in pm.with_pairs(pm.PROBABLY, alone)[0]


def test_likeness_of_fine_detail_by_hand():
    rng = np.random.default_rng(0)
    noise = rng.integers(-20, 21, (96, 96, 1))
    one, twice = (np.repeat(128 + scale * noise, 3, axis=2).astype(np.uint8) for scale in (1, 2))
    assert pm.likeness(one, one, ("mouth",)) == 1
    # Twice the contrast is four times the energy, whichever of the two has it.
    assert pm.likeness(one, twice, ("mouth",)) == pytest.approx(0.25, rel=0.03)
    assert pm.likeness(twice, one, ("mouth",)) == pytest.approx(0.25, rel=0.03)
    changed = one.copy()
    changed[:40] = 128  # the brows have no lines any more: the worst region counts
    assert pm.likeness(changed, one, ("mouth", "brows")) < 0.1


def test_a_report_of_pairs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(robustness, "CHANGES", {"darker": changes.CHANGES["darker"]})
    monkeypatch.setattr(section, "DPI", 30)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(ASTRONAUT, photos / "ann_happiness.jpg")
    for name, turned in (("ann_neutral", False), ("ben_happiness", False), ("ben_neutral", True)):
        with Image.open(ASTRONAUT) as photo:
            seen = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned else photo
            seen.save(photos / f"{name}.jpg", quality=60)
    data = voted(tmp_path / "d.parquet", [(flat_png(k * 20 + 16), {name: 9}, "") for k, name in enumerate(NAMES)])
    words = ["--data", data, "--weights", fake_weights.write(tmp_path), "--out", tmp_path / "out"]
    assert main(["report", *map(str, words), "--pairs", str(photos)]) == 0
    told = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]["generation"]
    assert [row[0] for row in told["tables"]["pairs"]["rows"]][:2] == [pm.AS_IS, pm.BLURRED[0]]
    assert told["tables"]["pairs"]["columns"] == ["picture", pm.PROBABLY, pm.PERSON, pm.DETAIL, pm.MOUTH]
    assert told["tables"]["controls"]["columns"] == ["picture", pm.PROBABLY, pm.PERSON, pm.DETAIL]
    # Flat faces have no fine lines that a blur could take away.
    assert any("fine detail is not reported" in note for note in told["notes"])
    made = next(row for row in told["tables"]["controls"]["rows"] if row[0] == pm.POKER)
    assert made[3] is None
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    assert main(["report", *map(str, words), "--pairs", str(tmp_path / "empty")]) == 1
    assert "has no pair of photos" in capsys.readouterr().err


NAMES = ("neutral", "happiness", "surprise", "neutral")

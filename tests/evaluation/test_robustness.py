"""What is measured of faces seen otherwise, and of answers that are left out."""

import json

import fake_weights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import flat_png, voted

from pfvit.__main__ import main
from pfvit.data.votes import agreed
from pfvit.emotions import EIGHT
from pfvit.evaluation import robustness
from pfvit.evaluation.figures import selective_curve
from pfvit.rendering import ACCENT

CENTRE = dict(zip(EIGHT, fake_weights.CENTRES.tolist(), strict=True))


@pytest.mark.parametrize(
    ("votes", "kept"),
    [
        ({"neutral": 6, "fear": 4}, True),
        ({"neutral": 5, "fear": 5}, False),  # half is no majority
        (
            {"neutral": 4, "fear": 3, "anger": 1, "sadness": 1, "disgust": 1},
            True,
        ),  # four of seven: single votes dropped
        ({"neutral": 4, "fear": 2, "anger": 2, "sadness": 2}, False),
        ({"unknown": 6, "fear": 4}, False),
        ({"NF": 10}, False),
        (dict.fromkeys(EIGHT, 1), False),
    ],
)
def test_the_papers_protocol_by_hand(votes, kept):
    names = (*EIGHT, "unknown", "NF")
    assert agreed(np.array([[votes.get(name, 0) for name in names]])).tolist() == [kept]


@pytest.fixture
def disputed(tmp_path):
    """Three faces: a clear one; one that half of the annotators call otherwise; one read wrongly."""
    rows = [
        (flat_png(CENTRE["happiness"]), {"happiness": 9}, ""),
        (flat_png(CENTRE["anger"]), {"anger": 4, "fear": 3, "sadness": 3}, ""),
        (flat_png(CENTRE["anger"]), {"fear": 8}, ""),
    ]
    return voted(tmp_path / "disputed.parquet", rows)


@pytest.fixture
def weights(tmp_path):
    return fake_weights.write(tmp_path)


def report_of(capsys, *words) -> dict:
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_both_protocols_are_reported(disputed, weights, capsys):
    words = ("--data", disputed, "--weights", weights, "--no-faces")
    both = report_of(capsys, *words)
    assert both["n"] == 3 and both["war"] == pytest.approx(2 / 3) and both["protocol"] == "clean"
    assert both["majority"]["n"] == 2 and both["majority"]["war"] == 0.5
    assert both["majority"]["recall"]["happiness"] == 1 and "majority" not in both["majority"]
    papers = report_of(capsys, *words, "--protocol", "majority")
    assert papers["n"] == 2 and papers["war"] == 0.5 and papers["left_out"]["disputed"] == 1
    ours = report_of(capsys, *words, "--protocol", "official", "all")
    assert ours["n"] == 3 and ours["protocol"] == "official" and "majority" not in ours
    words = ("--data", disputed, "--cross", weights)
    cross = report_of(capsys, *words)["cross"][0]
    assert (cross["n"], cross["majority"]["n"], cross["majority"]["war"]) == (3, 2, 0.5)
    assert report_of(capsys, *words, "--protocol", "majority")["cross"][0]["n"] == 2
    assert main(["evaluate", *map(str, words)]) == 0
    assert "disputed, majority" in capsys.readouterr().out


def test_protocols_that_exclude_each_other_and_data_without_votes(disputed, weights, tmp_path, capsys):
    words = ["evaluate", "--weights", str(weights), "--no-faces", "--data"]
    assert main([*words, str(disputed), "--protocol", "clean", "official"]) == 2
    assert "clean and official are two answers to one question" in capsys.readouterr().err
    bare = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"image": pa.array([flat_png(16)] * 2), "label": pa.array([0, 0])}), bare)
    assert main([*words, str(bare), "--protocol", "majority"]) == 2
    assert "--protocol majority needs the ten FER+ vote columns" in capsys.readouterr().err
    assert "majority" not in report_of(capsys, *words[1:], bare)


def test_robustness_measures_each_view(disputed, weights, capsys):
    words = ("--data", disputed, "--weights", weights, "--no-faces")
    report = report_of(capsys, *words, "--robustness")
    views = report["robustness"]
    assert set(views) == set(robustness.VIEWS) and all(view["n"] == 3 for view in views.values())
    # A flat picture looks the same framed otherwise; in a third of its light anger (144) is sadness (48 is happiness).
    assert views["framed +30%"]["war"] == views["turned 30°"]["war"] == report["war"] == report["mean_of_framings"]
    assert views["framed -12%"]["majority"] == views["framed -12%"]["majority"] | {"n": 2, "war": 0.5}
    assert views["a third of the light"]["war"] == 0
    assert "robustness" not in report_of(capsys, *words)
    assert main(["evaluate", *map(str, words), "--robustness"]) == 0
    said = capsys.readouterr().out
    assert "covered: mouth" in said and "mean accuracy over framings from -12% to +30%: 0.667" in said


def test_what_is_gained_by_leaving_answers_out():
    right, reliability = np.array([True, False, True, True]), np.array([0.9, 0.8, 0.6, 0.7])
    assert robustness.selective(right, reliability).tolist() == pytest.approx([1, 0.5, 2 / 3, 3 / 4])
    marked = np.array([False, False, True, True])
    assert robustness.unsure_figures(right, marked) == {"unsure": 0.5, "right_if_sure": 0.5, "right_if_unsure": 1.0}
    assert robustness.unsure_figures(right, np.ones(4, bool))["right_if_sure"] is None
    picture = np.asarray(selective_curve(right, reliability, marked))
    assert (picture == ACCENT).all(2).any()

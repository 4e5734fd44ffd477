"""The four label schemes of the FER+ paper, by hand and in training."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SHARED

from pfvit.__main__ import main
from pfvit.data.augment import Draws, drawn_label
from pfvit.data.label_schemes import SCHEMES, scheme_targets
from pfvit.emotions import FERPLUS_VOTES
from pfvit.training.losses import classification, multi_label

#: neutral happiness surprise sadness anger disgust fear contempt unknown NF -> targets of each scheme, first emotions.
CASES = {
    # A clear case: the single vote is dropped first.
    (6, 3, 0, 0, 1, 0, 0, 0, 0, 0): {"mv": [1, 0], "ml": [2 / 3, 1 / 3], "pld": [2 / 3, 1 / 3]},
    # Exactly half is no majority; both have 30%; both are taken.
    (5, 5, 0, 0, 0, 0, 0, 0, 0, 0): {"mv": None, "ml": [0.5, 0.5], "pld": [0.5, 0.5]},
    # Two are 30% each. For pld they are too few votes, and with the next two they are too many emotions.
    (3, 3, 2, 2, 0, 0, 0, 0, 0, 0): {"mv": None, "ml": [0.5, 0.5], "pld": None},
    # Unknown comes first: left out by all.
    (2, 2, 0, 0, 0, 0, 0, 0, 6, 0): {"mv": None, "ml": None, "pld": None},
    # Unknown comes second: pld stops there and takes what it has.
    (6, 0, 0, 0, 0, 0, 0, 0, 4, 0): {"mv": [1, 0], "ml": [1, 0], "pld": [1, 0]},
    # ... but what it has must be more than half.
    (5, 0, 0, 0, 0, 0, 0, 0, 5, 0): {"mv": None, "ml": [1, 0], "pld": None},
    # Single votes only: nothing is left.
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1): {"mv": None, "ml": None, "pld": None},
}


@pytest.mark.parametrize("votes", CASES)
def test_schemes_by_hand(votes):
    for scheme, expected in {**CASES[votes], "cel": CASES[votes]["pld"]}.items():
        got = scheme_targets(np.array([votes], dtype=np.int8), 8, scheme)[0]
        wanted = np.zeros(8)
        wanted[:2] = expected or 0
        np.testing.assert_allclose(got, wanted, atol=1e-6, err_msg=scheme)


def test_contempt_is_left_out_of_seven_emotions():
    votes = np.array([[0, 0, 0, 0, 0, 0, 0, 9, 1, 0]])
    assert scheme_targets(votes, 8, "mv")[0, 7] == 1 and not scheme_targets(votes, 7, "mv").any()


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the shared faces are not here")
def test_as_many_training_faces_stay_as_with_the_authors_code():
    table = pq.read_table(SHARED / "data" / "ferplus_train.parquet", columns=list(FERPLUS_VOTES))
    votes = np.stack([table[name].to_numpy() for name in FERPLUS_VOTES], axis=1)
    kept = {scheme: int((scheme_targets(votes, 8, scheme).sum(1) > 0).sum()) for scheme in SCHEMES}
    assert kept == {"mv": 25059, "ml": 27670, "pld": 27955, "cel": 27955}


def test_multi_label_is_cross_entropy_of_the_best_right_emotion():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    target = torch.tensor([[0.5, 0.5, 0.0], [0.6, 0.0, 0.4]])
    expected = -(logits.log_softmax(1)[0, 0] + logits.log_softmax(1)[1, 2]) / 2
    assert multi_label(logits, target).item() == pytest.approx(expected.item())
    one = torch.eye(3)[[1, 1]]
    assert multi_label(logits, one).item() == pytest.approx(classification(logits, one).item())


def test_labels_are_drawn_as_often_as_voted_and_again_the_same():
    target = torch.tensor([[0.0, 0.7, 0.3, 0.0]]).repeat(4000, 1)
    first = drawn_label(target, Draws(0, 5, 4000, list(range(4000))))
    assert (first.sum(1) == 1).all() and first.mean(0).tolist() == pytest.approx([0, 0.7, 0.3, 0], abs=0.03)
    some = drawn_label(target[:2], Draws(0, 5, 4000, [7, 9]))
    assert (some == first[[7, 9]]).all(), "a rank draws what one process would"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains(scheme, made_up, tmp_path):
    briefly = ["--epochs", "2", "--batch", "50", "--gan.every", "0", "--mixup", "0", "--label-smoothing", "0"]
    run = tmp_path / "run"
    words = [
        "train",
        "nano",
        "--data",
        str(made_up),
        "--out",
        str(run),
        "--labels",
        scheme,
        *briefly,
        "--log-every",
        "1",
    ]
    assert main(words) == 0
    losses = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["classification"]) for line in losses) and len(losses) == 8


def test_multi_label_learning_refuses_what_would_make_every_emotion_right(made_up, tmp_path, capsys):
    words = ["train", "nano", "--data", str(made_up), "--out", str(tmp_path / "run"), "--labels", "ml"]
    assert main(words) == 2 and "--labels ml needs --mixup 0 --cutmix 0 --label-smoothing 0" in capsys.readouterr().err

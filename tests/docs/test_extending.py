"""The examples of docs/extending.md: each is one short file, and does what the page says."""

import json

import pytest
from pages import BLOCKS, sandbox

from pfvit import emotions
from pfvit.datasets import SETS

MOST_LINES = 29
LABELS, DETECTOR, LOSS, DATA_SET = (
    block for block in BLOCKS if block.page == "docs/extending.md" and block.language == "python"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the inputs; what an example registers is gone afterwards."""
    monkeypatch.chdir(sandbox(tmp_path))
    before = dict(emotions.ORDERS), dict(SETS)
    yield tmp_path
    for registry, old in zip((emotions.ORDERS, SETS), before, strict=True):
        registry.clear()
        registry.update(old)


def execute(block) -> dict:
    names = {"__name__": "__main__"}
    exec(compile(block.code, str(block), "exec"), names)
    return names


@pytest.mark.parametrize("block", [LABELS, DETECTOR, LOSS, DATA_SET], ids=str)
def test_each_is_short(block):
    assert len(block.code.splitlines()) <= MOST_LINES


def test_a_label_set(folder):
    report = execute(LABELS)["report"]
    recalls = {name: recall for name, recall in report["recall"].items() if recall is not None}
    assert set(recalls) == {"happiness", "neutral", "anger"} and report["n"] == 6
    assert recalls["happiness"] == 1  # the pictures are of a smile, whatever their labels say


def test_a_detector(folder, capsys):
    execute(DETECTOR)
    assert capsys.readouterr().out.split(") ") == ["(181, 66, 86, 112", "happiness\n"]


def test_a_loss_term(folder, monkeypatch):
    from pfvit.training import trainer

    monkeypatch.setattr(trainer, "TrainStage", trainer.TrainStage)  # put back afterwards
    execute(LOSS)
    logged = [json.loads(line) for line in (folder / "smooth" / "metrics.jsonl").read_text().splitlines()]
    assert any(line.get("total_variation", 0) > 0 for line in logged)


def test_a_data_set(folder):
    execute(DATA_SET)
    manifest = json.loads((folder / "data" / "mine" / "manifest.json").read_text())
    assert sum(split["rows"] for split in manifest["splits"].values()) == 2 and manifest["bad"] == 1
    assert "bliss" in (folder / "data" / "mine" / "bad.jsonl").read_text()

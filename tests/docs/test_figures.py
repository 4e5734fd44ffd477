"""Figures of the shipped weights: the pages say what docs/figures.json holds, and it is of the weights that ship."""

import importlib.util
import json
from pathlib import Path

import pytest

from pfvit.inference import network
from pfvit.report import card

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def evidence():
    found = importlib.util.spec_from_file_location("evidence", ROOT / "experiments" / "evidence.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def figures(evidence):
    return json.loads((ROOT / evidence.FIGURES).read_text(encoding="utf-8"))


def test_card_results_and_readme_say_what_was_measured(evidence, figures):
    """python experiments/evidence.py ferplus_val.parquet writes them again."""
    for name, page in evidence.pages(figures).items():
        assert (ROOT / name).read_text(encoding="utf-8") == page, name


def test_the_figures_are_of_the_weights_that_ship(figures):
    assert figures["report"]["recogniser"] == card.described(network.open_answering(None))
    assert figures["evaluate"]["weights"] == figures["report"]["recogniser"]["file"]


def test_report_and_evaluate_agree(figures):
    table = figures["report"]["sections"]["recognition"]["tables"]["summary"]
    place = {name: table["columns"].index(name) for name in ("protocol", "faces", "measure", "value")}
    told = {(row[place["protocol"]], row[place["measure"]]): row for row in table["rows"]}
    for protocol, one in (("all", figures["evaluate"]), ("majority", figures["evaluate"]["majority"])):
        row = told[protocol, "WAR (accuracy)"]
        assert (row[place["faces"]], row[place["value"]]) == (one["n"], pytest.approx(one["war"]))


def test_the_card_has_its_parts(figures):
    page = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heading in ("What it is", "Training data", "Recognition", "Poker faces", "Robustness", "What it must not be"):
        assert f"\n## {heading}" in page
    for name in figures["report"]["recogniser"]["labels"]:
        assert f"| all | {name} | " in page


def test_a_change_of_one_figure_shows(evidence, figures):
    other = json.loads(json.dumps(figures))
    other["evaluate"]["war"] += 0.1
    assert evidence.pages(other)["README.md"] != evidence.pages(figures)["README.md"]
    assert evidence.replaced("a\n<!-- b -->\nold\n<!-- b -->\nc", "b", "new") == "a\n<!-- b -->\nnew\n<!-- b -->\nc"

"""The attack of `benchmarks/attack.py`, for some seconds: a new seed each day, which failures name."""

import random
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import attack
import guided
import parsers

from pfvit.errors import InputError
from pfvit.inference import network

COUNTS = {
    **{"pictures": 150, "parquet": 25, "row_groups": 40, "weights": 40, "metadata": 40, "checkpoints": 30},
    **{"lists": 100, "films": 40, "requests": 500},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", attack.PARTS)
def test_damaged_inputs_are_read_or_refused(part, tmp_path):
    seed = f"{date.today():%Y%m%d}"
    found_in, folder = tmp_path / "found", tmp_path / "files"
    found_in.mkdir()
    folder.mkdir()
    counts = attack.some(part, seed, COUNTS[part], found_in, folder)
    found = {file.name: file.read_text() for file in found_in.glob("*.txt")}
    assert not found, f"seed {seed}: {found}"
    assert counts["read"] + counts["refused"] == COUNTS[part] and counts["refused"] > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", parsers.PARSERS)
def test_what_guided_fuzzing_begins_with_is_read(part, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "open_session", network.open_session)  # which one part replaces
    good, read = parsers.PARSERS[part](tmp_path)
    rng, count = random.Random(f"{date.today():%Y%m%d}"), 0
    for content in good:
        for changed in (content[: guided.LONGEST], guided.changed_json(content, rng)):
            with suppress(InputError):
                read(content if changed is None else changed)
                count += 1
    assert count > 0


def test_guided_fuzzing_without_atheris_is_skipped_in_words(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["guided.py"])
    monkeypatch.setattr(guided.importlib.util, "find_spec", lambda name: None)
    assert guided.main() == 0 and "atheris is not installed" in capsys.readouterr().out

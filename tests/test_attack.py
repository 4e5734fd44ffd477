"""The attack of `benchmarks/attack.py`, for some seconds: a new seed each day, which failures name."""

import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import attack

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

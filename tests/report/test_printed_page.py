"""The page and the look of its figures: intervals, paper, and people who see fewer colours."""

from itertools import combinations

import numpy as np
import pytest

from pfvit.report import page, style
from pfvit.report.compare import names_of
from pfvit.report.section import Section, Table

#: What people without red or green cones see, in linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1).
SIGHT = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen."""
    value = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    share = TO_XYZ @ np.clip(sight @ linear, 0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_colours_are_alike(sight):
    seen = [lab(colour, SIGHT[sight]) for colour in style.COLOURS]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 20  # 2 can just be told apart
    assert len({*style.MARKERS}) == len({*style.DASHES}) == len(style.COLOURS)


def shown(header, rows) -> str:
    section = Section("part", "Part", "")
    section.tell("table", "Caption.", header, rows)
    return page.html("Title", [], [section])


def test_a_value_and_its_interval_stand_in_one_column():
    text = shown(("name", "recall", "recall low", "recall high", "small"), [["a", 0.5, 0.25, 0.75, True]])
    assert "recall (95% interval)</th>" in text and "recall low" not in text
    assert '<td class="number">0.500 (0.250 to 0.750)</td><td class="number">yes</td>' in text
    nothing = shown(("name", "recall", "low", "high"), [["a", np.nan, np.nan, np.nan], ["b", 0.5, None, None]])
    assert nothing.count("–") == 1 and ">0.500</td>" in nothing


def test_classes_called_low_and_high_are_no_interval():
    text = shown(("truth", "mid", "low", "high"), [["mid", 3, 1, 2]])
    assert "interval" not in text and all(f">{name}</th>" in text for name in ("mid", "low", "high"))


def test_short_tables_are_not_divided_between_sheets_of_paper():
    short, long = (page._table(Table("t", "", ("a",), [[1]] * rows)) for rows in (page.SHORT, page.SHORT + 1))
    assert '<table class="short">' in short and 'class="short"' not in long


def test_weights_with_one_name_are_told_apart_by_their_folders(tmp_path):
    class Opened:
        def __init__(self, path):
            self.path = path

    one, other, third = (Opened(tmp_path / name) for name in ("a/w.onnx", "b/w.onnx", "b/other.onnx"))
    assert names_of([one]) == ["w.onnx"]
    assert names_of([one, other, third]) == ["1: a/w.onnx", "2: b/w.onnx", "3: other.onnx"]

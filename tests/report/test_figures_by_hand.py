"""Figures of each part of the report, against values worked by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from pfvit.emotions import EIGHT
from pfvit.inference.movement import Movement
from pfvit.report import explanation, labels, poker_measures, recognition, separation, statistics
from pfvit.report.explanation import GRID, INSIDE
from pfvit.report.section import Section


@pytest.fixture
def section():
    return Section("part", "Part", "")


def rows(section: Section, name: str) -> list[dict]:
    table = next(table for table in section.tables if table.name == name)
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def answers(*given: int) -> np.ndarray:
    return np.eye(2)[list(given)] * 0.8 + 0.1


def test_accuracy_against_agreement(section):
    """Of three faces with 6 of 10 votes two are right, of two with 9 of 10 one is."""
    votes = np.zeros((5, 8))
    votes[:, :2] = [[6, 4], [6, 4], [4, 6], [9, 1], [1, 9]]
    truth = np.array([0, 0, 1, 0, 1])
    faces = SimpleNamespace(votes=votes, names=list(EIGHT[:2]), truth=truth, probabilities=answers(0, 1, 1, 0, 0))
    labels._agreement(section, faces)
    found = [(row["share of votes for the label"], row["faces"], row["right"]) for row in rows(section, "agreement")]
    assert found == [(pytest.approx(0.6), 3, pytest.approx(2 / 3)), (pytest.approx(0.9), 2, 0.5)]


def test_accuracy_against_coverage(section):
    """The two surest are right, of the next two one is: all of one half, three quarters of all."""
    faces = SimpleNamespace(
        truth=np.array([0, 1, 0, 1]),
        probabilities=answers(1, 1, 0, 1),  # the first is wrong
        protocols={"all": np.ones(4, bool)},
        tally={
            "probabilities, reliability": np.array([0.5, 0.9, 0.8, 0.4]),
            "probabilities, unsure": np.array([True, False, False, True]),
        },
    )
    recognition._coverage(section, faces)
    found = [(row["answered"], row["right"]) for row in rows(section, "coverage")]
    assert found == [(1, 1), (2, 1), (3, pytest.approx(2 / 3)), (4, 0.75)]


def test_retrieval(section, monkeypatch):
    """Faces at 0, 10, 180 and 190 degrees, the third of another emotion: two of four have a neighbour of their own."""
    monkeypatch.setattr(separation, "RETRIEVED", 1)
    angles = np.deg2rad([0, 10, 180, 190])
    values = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    faces = SimpleNamespace(
        truth=np.array([0, 0, 1, 0]), first={"neutral": [0]}, thumb=lambda face: np.zeros((96, 96, 3), np.uint8)
    )
    separation._retrieval(section, faces, {"emotion": values})
    (row,) = rows(section, "retrieval")
    # Pairs of the same emotion: three of class 0 with two others each, of 4 x 3.
    assert (row["neighbours"], row["of the same emotion"], row["by chance"]) == (1, 0.5, 0.5)


def test_differences_of_mean_recall():
    """The first has all of one emotion and none of the other, the second half of both."""
    truth = np.array([0, 0, 0, 0, 1, 1])
    told = statistics.paired(truth, np.zeros(6, int), np.array([0, 0, 1, 1, 1, 0]), 2)
    assert (told.first_alone, told.second_alone, told.p) == (2, 1, 1)
    assert told.war == pytest.approx(3 / 6 - 4 / 6) and told.uar == pytest.approx(0)


def test_the_bootstrap_of_a_difference_of_mean_recall_is_as_wide_as_its_standard_error_says():
    """Classes are independent, so that the variance is the sum of those of their differences over classes squared."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], [300, 100])
    first, second = (np.where(rng.random(400) < right, truth, 1 - truth) for right in (0.7, 0.8))
    told = statistics.paired(truth, first, second, 2, draws=2000)
    gains = [((second == k).astype(float) - (first == k))[truth == k] for k in (0, 1)]
    error = np.sqrt(sum(gain.var() / len(gain) for gain in gains)) / 2
    assert told.uar == pytest.approx(np.mean([gain.mean() for gain in gains]))
    assert np.diff(told.uar_ends)[0] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_verdicts_on_maps_need_some_faces(section):
    mouth = np.repeat(INSIDE["mouth"][None].astype(float), explanation.FEW, axis=0)
    chosen = {"happiness": [0] * explanation.FEW, "contempt": [0]}
    explanation._tables(section, chosen, {"movement": {"happiness": mouth, "contempt": mouth[:1]}})
    happy, contempt = rows(section, "facs")
    there = 1 / (INSIDE["mouth"] | INSIDE["eyes"]).mean()  # the whole map, in the share of the crop that FACS names
    assert happy["in named regions"] == pytest.approx(there) == pytest.approx(happy["difference"])
    assert (happy["in the others"], happy["points there"]) == (0, "yes")
    assert contempt["points there"] == "too few faces" and INSIDE["mouth"].shape == (GRID, GRID)


def test_directions_of_movement(section):
    seen = [Movement(*[0.1] * len(Movement._fields)), Movement(*[0.3] * len(Movement._fields)), None]
    faces = SimpleNamespace(
        pixels={},
        names=["neutral"],
        truth=np.zeros(3, int),
        read=lambda _, face: SimpleNamespace(movement=seen[face]),
    )
    explanation._directions(section, faces, {"happiness": [0, 1, 2]}, None)
    for row in rows(section, "directions"):
        assert (row["faces"], row["movement"], row["low"], row["high"]) == (2, *map(pytest.approx, (0.2, 0.1, 0.3)))


def flat(red: int, green: int) -> np.ndarray:
    return np.full((20, 20, 3), (red, green, 0), np.uint8)


def test_p_of_neutral_and_likeness_of_residues():
    """The fake residue is red and green: 30 / 40 and 40 / 30 have a cosine of 0.96, after the mean is taken off."""

    class Fake:
        labels, size = list(EIGHT), 20

        def each(self, pictures, _):
            return [(np.repeat(picture[:1, 0, :2].astype(float), 3, axis=0),) for picture in pictures]

        def probabilities(self, pictures):
            share = np.array([picture[0, 0, 0] / 255 for picture in pictures])
            return np.stack([share, *[(1 - share) / 7] * 7], axis=1)

    case = poker_measures.Case({"a": flat(50, 70), "b": flat(60, 60)}, flat(60, 60))
    fake = Fake()
    found = poker_measures.measure([case], poker_measures.Judge(fake, fake, np.array([20.0, 30, 20, 30])), None)
    assert found[poker_measures.PROBABLY] == pytest.approx(np.array([[50, 60]]) / 255)
    assert found[poker_measures.PERSON] == pytest.approx(np.array([[0.96, 1]]))


def test_the_width_of_the_largest_face_s_mouth():
    """Eyes are 10 apart and the corners of the mouth 5: half a distance of the eyes."""
    points = np.array([[0.0, 0], [10, 0], [5, 5], [2, 8], [7, 8]])
    small = SimpleNamespace(box=(0, 0, 5, 5), points=points * [[1], [1], [1], [1], [3]])
    large = SimpleNamespace(box=(0, 0, 20, 20), points=points)
    for found, wide in (
        ([small, large], 0.5),
        ([], np.nan),
        ([SimpleNamespace(box=(0, 0, 9, 9), points=None)], np.nan),
    ):
        reader = SimpleNamespace(detector=SimpleNamespace(detect=lambda _, found=found: found))
        assert poker_measures.mouth_width(flat(0, 0), reader) == pytest.approx(wide, nan_ok=True)

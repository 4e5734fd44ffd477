"""Who is who from detection to detection, smoothing, and the timeline."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from pfvit.detection.base import Face
from pfvit.video.timeline import BINS, Timeline
from pfvit.video.tracking import Tracker, between

# Who is who.


def face(x: float, y: float, side: float = 40) -> Face:
    return Face((x, y, side, side), 0.9, None)


def test_two_who_pass_each_other_keep_their_numbers():
    tracker = Tracker(0)
    for step in range(30):
        numbers = tracker.assign([face(10 * step, 0), face(300 - 10 * step, 60)], step / 10)
        assert numbers == [1, 2], step
    assert tracker.assign([face(300 - 290, 60), face(290, 0)], 3.0) == [2, 1], "the order does not matter"


def test_a_face_elsewhere_is_someone_else():
    tracker = Tracker(0)
    assert tracker.assign([face(0, 0)], 0) == [1]
    assert tracker.assign([face(300, 0)], 0.1) == [2]
    assert tracker.assign([face(0, 0, 160)], 0.2) == [3], "four times as large"
    assert tracker.assign([], 0.3) == [] and tracker.count == 3
    assert tracker.assign([face(0, 0, 0)], 0.4) == [4], "a box without an inside is no accident"


@given(some.lists(some.tuples(some.integers(0, 900), some.integers(0, 900)), max_size=8, unique=True))
def test_no_number_is_given_twice(places):
    tracker = Tracker(0)
    for step in range(3):
        numbers = tracker.assign([face(x + step, y) for x, y in places], step / 10)
        assert len(set(numbers)) == len(places)


def test_smoothing_is_an_exponential_mean_over_seconds():
    tracker = Tracker(0.5)
    tracker.assign([face(0, 0)], 0)
    assert tracker.smooth(1, np.array([1.0, 0.0]), 0).tolist() == [1, 0]
    assert tracker.smooth(1, np.array([0.0, 1.0]), 0.5) == pytest.approx([math.exp(-1), 1 - math.exp(-1)])
    assert tracker.smooth(1, np.array([0.0, 1.0]), 9.0).tolist() == [0, 1], "what was long ago is forgotten"


def test_reliability_is_smoothed_while_the_emotion_stays():
    tracker = Tracker(0.5)
    tracker.assign([face(0, 0)], 0)
    assert tracker.smooth_reliability(1, "fear", None, 0) is None
    assert tracker.smooth_reliability(1, "fear", 0.8, 0.1) == 0.8
    assert tracker.smooth_reliability(1, "fear", None, 0.2) == 0.8, (
        "a frame of another emotion says nothing of this one"
    )
    assert tracker.smooth_reliability(1, "fear", 0.4, 0.7) == pytest.approx(0.4 + 0.4 * math.exp(-1))
    assert tracker.smooth_reliability(1, "anger", None, 0.8) is None
    assert tracker.smooth_reliability(1, "anger", 0.6, 9.0) == 0.6
    frame_by_frame = Tracker(0)
    assert [frame_by_frame.smooth_reliability(1, "fear", r, t) for t, r in enumerate((0.8, None, 0.4))] == [
        0.8,
        None,
        0.4,
    ]


def test_between_two_looks():
    first, second = face(0, 0, 40), Face((10.0, 20.0, 50.0, 60.0), 0.5, None)
    assert between(first, second, 0).box == first.box and between(first, second, 1).box == second.box
    assert between(first, second, 0.5) == Face((5.0, 10.0, 45.0, 50.0), 0.5, None)


def test_a_timeline_stays_small_however_long_the_film():
    timeline = Timeline(["neutral", "happiness"])
    crop = np.zeros((8, 8, 3), np.uint8)
    for second in range(0, 36_000, 7):
        timeline.add(1, second, np.array([0.25, 0.75]), crop)
    bins = timeline.persons[1]
    assert len(bins) <= BINS and timeline.last < BINS
    assert sum(sums[-1] for sums in bins.values()) == len(range(0, 36_000, 7))
    picture = np.asarray(timeline.draw("long"))
    yellow = (picture == (240, 200, 60)).all(axis=2).sum()
    gray = (picture == (205, 209, 214)).all(axis=2).sum()
    assert yellow == pytest.approx(3 * gray, rel=0.05)

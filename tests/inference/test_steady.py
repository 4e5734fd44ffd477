"""Maps of people in a video: averaged over time, faded in and out, plain and mirrored frames in turn."""

from types import SimpleNamespace

import numpy as np
import pytest

from pfvit.inference.steady import FADE_IN, SteadyMovement

RNG = np.random.default_rng(0)


class Model:
    """Predicts a downward flow of 0.1, with noise, and counts what it is asked."""

    def __init__(self, noise: float = 0.0, stubborn: bool = False):
        self.noise, self.stubborn, self.asked = noise, stubborn, 0

    @property
    def moves(self) -> bool:
        return True

    def maps(self, crops):
        self.asked += len(crops)
        maps = np.zeros((len(crops), 9, 56, 56), np.float32)
        maps[:, 1] = 0.1 + RNG.normal(0, self.noise, (len(crops), 1, 1))
        maps[:, 0] = 0.3 if self.stubborn else 0
        maps[:, 4], maps[:, 6] = 0.5, 0.2
        return list(maps)


def face(model: Model) -> SimpleNamespace:
    return SimpleNamespace(generator=model, crop=np.zeros((80, 80, 3), np.uint8), maps=[])


def film(model: Model, steady: SteadyMovement, frames: int, first: int = 0, rate: float = 25.0) -> list:
    """Add frames with one person, four at a time; return the faces."""
    faces = []
    for start in range(first, first + frames, 4):
        some = [(k / rate, [face(model)], [1]) for k in range(start, min(start + 4, first + frames))]
        steady.add(some)
        faces += [one for _, readings, _ in some for one in readings]
    return faces


def flow(one) -> float:
    """How far down a face's pixels are read from, as far as that is trusted."""
    maps, trust = one.maps[0]
    return float(maps[1, 0, 0]) * trust


def test_every_second_frame_is_looked_at_and_it_is_steadier_than_each():
    model = Model(noise=0.02)
    faces = film(model, SteadyMovement(), 80)
    flows = np.array([flow(one) for one in faces])[8:]
    assert model.asked == 2 + 2 + 19 * 2, (
        "both views in the first frame; then every second frame, and the last of a run"
    )
    assert np.abs(np.diff(flows)).mean() < 0.5 * np.sqrt(4 / np.pi) * 0.02 and flows.mean() == pytest.approx(
        0.1, abs=0.01
    )
    assert all(one.maps[0][1] == 1 for one in faces)


def test_between_two_looks_maps_are_on_the_way():
    model, steady = Model(noise=0.05), SteadyMovement()
    faces = film(model, steady, 12)
    flows = [flow(one) for one in faces]
    for k in (4, 6, 8, 10):  # frames 3, 5, 7, 9, 11 are looked at
        assert flows[k] == pytest.approx((flows[k - 1] + flows[k + 1]) / 2, abs=1e-6)
    assert len({round(flow, 6) for flow in flows}) == 12, "they change from frame to frame"


def test_who_is_there_from_the_beginning_does_not_fade_in_and_who_comes_does():
    model, steady = Model(), SteadyMovement()
    assert film(model, steady, 4)[0].maps[0][0][1, 0, 0] == pytest.approx(0.1)
    newcomers = []
    for k in range(8):
        readings = [face(model), face(model)]
        steady.add([((4 + k) / 25, readings, [1, 2])])
        newcomers.append(readings[1])
    flows = [flow(one) for one in newcomers]
    assert flows[0] == 0 and flows == sorted(flows) and flows[3] == pytest.approx(0.1 * 3 / 25 / FADE_IN, rel=0.01)


def test_who_leaves_fades_out():
    model, steady = Model(), SteadyMovement()
    film(model, steady, 8)
    there = [face(model), face(model)]
    steady.add([(8 / 25, [there[0]], [1]), (9 / 25, [there[1]], [1]), (10 / 25, [], []), (11 / 25, [], [])])
    flows = [flow(one) for one in there]
    assert flows == pytest.approx([0.1 * 2 / 3, 0.1 / 3], rel=0.01)


def test_doubt_is_told_by_the_mirrored_frames():
    faces = film(Model(stubborn=True), SteadyMovement(), 12)
    assert max(one.maps[0][1] for one in faces) == 0


def test_a_person_who_was_away_for_long_starts_anew():
    model, steady = Model(), SteadyMovement()
    film(model, steady, 4)
    (back,) = film(model, steady, 1, first=100)
    assert flow(back) == 0 and len(steady.people) == 1

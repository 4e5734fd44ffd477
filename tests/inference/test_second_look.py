"""A face whose answer is unsure is looked at again, mirrored and a little wider."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfvit.inference import network
from pfvit.inference.unsure import LEAST_RELIABLE, RELIABILITY, of_both, second_look


def test_it_shows_the_mirror_image_with_its_edge_repeated():
    crop = np.random.default_rng(0).integers(0, 256, (48, 100, 3), dtype=np.uint8)
    seen = second_look(crop)
    assert seen.shape == (52, 110, 3)
    assert (seen[2:-2, 5:-5] == crop[:, ::-1]).all()
    assert (seen[0] == seen[2]).all() and (seen[:, 0] == seen[:, 5]).all() and (seen[:, -1] == seen[:, -6]).all()


def test_two_looks_count_alike():
    first = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], np.float32)
    second = np.array([[0.1, 0.6, 0.3], [0.0, 1.0, 0.0]], np.float32)
    both = of_both(first, second)
    assert both == pytest.approx(of_both(second, first))
    assert both.sum(1) == pytest.approx(1)
    assert np.log(both[0, 0] / both[0, 1]) == pytest.approx((np.log(0.7 / 0.2) + np.log(0.1 / 0.6)) / 2, abs=1e-5)


def test_only_unsure_faces_are_looked_at_again(monkeypatch):
    """And their answer and its reliability are the mean of both looks, in log odds, but no surer than the first."""
    recogniser = network.open_answering(threads=1)
    with Image.open(Path(__file__).parents[2] / "assets" / "astronaut.jpg") as photo:
        smile = np.asarray(photo.convert("RGB").crop((165, 55, 285, 175)).resize((48, 48)))
    rng = np.random.default_rng(0)
    faces = [smile, *(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(5)), smile[:, ::-1].copy()]
    first = recogniser.run(("probabilities", RELIABILITY), image=np.stack(faces))
    again = recogniser.run(("probabilities", RELIABILITY), image=np.stack([second_look(face) for face in faces]))
    doubtful = first[RELIABILITY] < LEAST_RELIABLE
    assert 0 < doubtful.sum() < len(faces)
    seen, each = [], network.Network.each
    monkeypatch.setattr(
        network.Network, "each", lambda self, some, out: seen.append(len(some)) or each(self, some, out)
    )
    answers, reliability = recogniser.answers(faces)
    assert seen == [len(faces), doubtful.sum()]
    assert answers[~doubtful] == pytest.approx(first["probabilities"][~doubtful], abs=1e-5)
    assert answers[doubtful] == pytest.approx(
        of_both(first["probabilities"], again["probabilities"])[doubtful], abs=1e-5
    )
    odds = np.mean([np.log(one[RELIABILITY] / (1 - one[RELIABILITY])) for one in (first, again)], axis=0)
    mean = 1 / (1 + np.exp(-odds))
    assert reliability[doubtful] == pytest.approx(np.minimum(mean, first[RELIABILITY])[doubtful], abs=1e-5)
    assert (mean > first[RELIABILITY])[doubtful].any(), "the second look was surer of one"

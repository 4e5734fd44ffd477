"""Other views of a face, by hand."""

import numpy as np
import pytest

from pfvit.data.views import PARTS, compress, cover, darken, reframe, shrink, turn


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_a_tighter_frame_is_the_middle_enlarged(picture):
    assert np.array_equal(reframe(picture, 0.5, side=20), picture[10:30, 10:30])
    assert np.array_equal(reframe(picture, 0.5, down=0.25, side=20), picture[15:35, 10:30])
    assert reframe(picture, 0.9).shape == picture.shape and reframe(picture, 1.0) is picture


def test_a_wider_frame_repeats_the_edge():
    picture = np.full((40, 40, 3), 100, np.uint8)
    picture[:, :1], picture[:, -1:] = 10, 200
    wide = reframe(picture, 1.5, side=60)
    assert (wide[:, :10] == 10).all() and (wide[:, -10:] == 200).all() and (wide[:, 12:48] == 100).all()


@pytest.mark.parametrize("part", PARTS)
def test_a_cover_hides_its_part_alone(part, picture):
    left, right, top, bottom = (round(20 * (1 + edge)) for edge in PARTS[part])
    covered = cover(picture, part)
    assert (covered[top:bottom, left:right] == 128).all()
    outside = np.ones((40, 40), bool)
    outside[top:bottom, left:right] = False
    assert np.array_equal(covered[outside], picture[outside]) and not np.array_equal(covered, picture)


def test_a_turn_is_about_the_middle_and_counter_clockwise():
    picture = np.zeros((41, 41, 3), np.uint8)
    picture[18:23, 30:35] = 255  # right of the middle
    turned = turn(picture, 90)
    assert (turned[7:10, 19:22] == 255).all() and turned[:, 25:].max() == 0, "now above it"
    assert (turn(np.full((40, 40, 3), 77, np.uint8), 30) == 77).all(), "no black corners"


def test_quality_is_lost_and_the_size_is_kept(picture):
    flat = np.full((40, 40, 3), 90, np.uint8)
    for worse in (lambda p: shrink(p, 10), lambda p: compress(p, 15)):
        assert worse(picture).shape == picture.shape and worse(picture).std() < picture.std()
        assert np.abs(worse(flat).astype(int) - 90).max() <= 4
    assert (darken(flat, 1 / 3) == 30).all()

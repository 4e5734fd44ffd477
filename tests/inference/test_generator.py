"""Which generator makes a face, and how far its movement is trusted."""

from types import SimpleNamespace

import numpy as np
import pytest

from pfvit.inference.face_change import movement_change
from pfvit.inference.generator import (
    AGREE,
    CLOSED,
    DISAGREE,
    MORE_LIGHT,
    MOST_LIGHT,
    MOVING,
    MUCH_LEFT,
    NOT_CLOSED,
    SMALL_SIDE,
    STILL,
    WIDE,
    FaceGenerator,
    change_of,
    together,
    trust_of,
)

GRAY = np.full((SMALL_SIDE, SMALL_SIDE, 3), 90, np.uint8)
COLOUR = GRAY + np.array([0, 1, 2], np.uint8)


def generator(answer) -> FaceGenerator:
    """A generator whose photo model answers by a function of pictures [height, width, 3]."""
    made = FaceGenerator(SimpleNamespace())
    photo = SimpleNamespace(size=56, each=lambda crops, outputs: [(answer(crop),) for crop in crops])
    made.__dict__["photo"] = photo
    return made


def flow_to(crop: np.ndarray) -> np.ndarray:
    """Maps that move every place towards the brightest column, as a model that is right under mirroring would."""
    maps = np.zeros((9, 56, 56), np.float32)
    bright = crop.mean((0, 2)).argmax() / crop.shape[1]
    maps[0] = 0.1 * (bright - 0.5)
    maps[1] = 0.02
    return maps


def test_without_a_photo_model_the_small_generator_draws():
    made = generator(flow_to)
    assert made.moves
    made.__dict__["photo"] = None
    assert not made.moves


def test_small_gray_faces_get_more_of_faint_light_and_stay_gray():
    maps = np.zeros((9, 56, 56), np.float32)
    maps[6:9, :28] = np.array([0.01, 0.02, 0.03], np.float32)[:, None, None]
    maps[6:9, 28:] = 1.0
    plain = change_of(COLOUR, maps, 1.0).light
    assert plain[[0, 40], 0].mean(axis=1) == pytest.approx([0.01, 0.5])
    large = change_of(np.repeat(GRAY, 2, axis=0), maps, 1.0).light
    assert large[[0, 40], 0].mean(axis=1) == pytest.approx([0.01, 0.5]), "it is not small"
    more = change_of(GRAY, maps, 1.0).light
    assert more.shape == (56, 56, 1), "what is gray stays gray"
    assert 0.92 * MORE_LIGHT < more[0, 0, 0] / 0.01 < MORE_LIGHT and more[40, 0, 0] == pytest.approx(0.5, rel=0.06)
    assert change_of(GRAY, maps, 0.0).light == pytest.approx(0), "nor is it trusted more"


def test_small_gray_faces_that_are_hardly_neutral_change_by_more():
    maps = np.full((9, 56, 56), 0.01, np.float32)
    calm, half, not_at_all = (change_of(GRAY, maps, 1.0, {"neutral": share}) for share in (1.0, 0.5, 0.0))
    assert np.array_equal(calm.base, movement_change(maps).base)
    a, b, c = (change.light[0, 0, 0] for change in (calm, half, not_at_all))
    assert c / a == pytest.approx(MOST_LIGHT / MORE_LIGHT, rel=0.02) and b == pytest.approx((a + c) / 2)
    assert np.array_equal(calm.height, not_at_all.height) and np.array_equal(calm.base, not_at_all.base)
    colour = [change_of(COLOUR, maps, 1.0, {"neutral": share}).light for share in (1.0, 0.0)]
    assert np.array_equal(*colour), "in colour nothing changes"


@pytest.mark.parametrize(("face", "share"), [(GRAY, 1.0), (GRAY, 0.25), (GRAY, 0.0), (COLOUR, 1.0)])
def test_small_gray_faces_are_looked_at_again_and_what_is_left_is_added(face, share):
    asked = []

    def brighter(crop):  # half of what is missing to white; the lip line rises with it
        asked.append(crop)
        maps = np.zeros((9, 56, 56), np.float32)
        maps[1], maps[4], maps[6:9] = 0.01, crop.mean() / 255, (1 - crop.mean() / 255) * 0.5 * 2
        return maps

    first, second = (generator(brighter).careful_maps([face], neutral)[0][0] for neutral in (None, [1 - share]))
    again = share if face is GRAY else 0.0
    assert len(asked) == (6 if face is GRAY else 4)
    assert second[1] == pytest.approx((1 + again) * first[1])
    assert second[6:] == pytest.approx((1 + again / 2) * first[6:], rel=0.03), "half of it was done by the first look"
    assert np.array_equal(second[4:6], first[4:6]), "the lip line stays"


def closing(*looks: float) -> np.ndarray:
    """A photo model whose lips part by so much in each look, both at a face and at its mirror image."""
    sizes = iter(np.repeat(looks, 2))

    def answer(crop):
        maps = np.zeros((9, 56, 56), np.float32)
        maps[3], maps[4] = next(sizes), 0.3
        return maps

    return generator(answer)


def test_wide_mouths_are_looked_at_again_and_what_is_left_is_added():
    ((maps, trust),) = closing(WIDE + 0.01, 0.003).careful_maps([COLOUR], [0.25])
    assert maps[3] == pytest.approx(WIDE + 0.01 + 0.75 * 0.003) and maps[4] == pytest.approx(0.3)
    assert trust == pytest.approx(1)
    ((maps, _),) = closing(WIDE - 0.01).careful_maps([COLOUR], [0.25])
    assert maps[3] == pytest.approx(WIDE - 0.01)


@pytest.mark.parametrize(("left", "trust"), [(CLOSED, 1), ((CLOSED + NOT_CLOSED) / 2, 0.5), (NOT_CLOSED, 0)])
def test_mouths_that_do_not_close_are_not_trusted(left, trust):
    much = 2 * MUCH_LEFT * 1.1  # in one of four channels, so that the root mean square is half of it
    ((_, found),) = closing(WIDE + 0.01, much, 2 * left).careful_maps([COLOUR], [0.0])
    assert found == pytest.approx(trust, abs=1e-5)
    ((_, found),) = closing(WIDE + 0.01, 2 * MUCH_LEFT * 0.9).careful_maps([COLOUR], [0.0])
    assert found == pytest.approx(1), "so little is left that it is not asked"


def test_what_agrees_under_mirroring_is_trusted():
    face = np.zeros((112, 112, 3), np.uint8)
    face[:, 80] = 255
    ((maps, trust),) = generator(flow_to).careful_maps([face])
    assert trust == pytest.approx(1, abs=0.01) and maps[:2] == pytest.approx(flow_to(face)[:2], abs=2e-3)


def test_what_disagrees_under_mirroring_is_not():
    def stubborn(crop):  # says "to the right" of a face and of its mirror image
        maps = np.zeros((9, 56, 56), np.float32)
        maps[0] = 0.1
        return maps

    ((maps, trust),) = generator(stubborn).careful_maps([COLOUR])
    assert trust == 0 and not maps[0].any()
    ((_, still),) = generator(lambda crop: np.zeros((9, 56, 56), np.float32)).careful_maps([COLOUR])
    assert still == 1, "where nothing moves nothing disagrees"


@pytest.mark.parametrize(("size", "share"), [(STILL / 2, 0), ((STILL + MOVING) / 2, 0.5), (MOVING, 1)])
def test_a_calm_face_stays_as_it_is_and_is_not_distrusted(size, share):
    maps = np.full((9, 56, 56), size, np.float32)
    found, agreement = together(maps, maps)
    assert found[:4] == pytest.approx(share * size) and found[6:] == pytest.approx(share * size)
    assert found[4:6] == pytest.approx(size), "the lip line stays"
    assert agreement == pytest.approx(1)
    noise = np.random.default_rng(0).normal(0, size, (2, 9, 56, 56)).astype(np.float32)
    assert (together(*noise)[1] == 1) == (size < MOVING), "noise that moves nothing cannot disagree"


def test_trust_grows_smoothly():
    assert [trust_of(a) for a in (0, DISAGREE, (DISAGREE + AGREE) / 2, AGREE, 1)] == pytest.approx([0, 0, 0.5, 1, 1])

import math

import kornia
import pytest
import torch

from pfvit.data import augment
from pfvit.data.augment import Draws


@pytest.fixture
def face():
    torch.manual_seed(0)
    return torch.rand(3, 1, 24, 24) * 2 - 1


def still(count: int, **changed):
    zero = torch.zeros(count)
    return {"zoom": torch.ones(count), "angle": zero, "shift": torch.zeros(count, 2), "flip": zero} | changed


def test_a_warp_that_does_nothing_does_nothing(face):
    torch.testing.assert_close(augment.warp(face, **still(3)), face, atol=1e-5, rtol=0)


def test_flip_mirrors(face):
    torch.testing.assert_close(augment.warp(face, **still(3, flip=torch.ones(3))), face.flip(3), atol=1e-5, rtol=0)


def test_shift_moves_to_the_right_and_down(face):
    moved = augment.warp(face, **still(3, shift=torch.tensor([[2 / 24, 3 / 24]] * 3)))
    torch.testing.assert_close(moved[:, :, 3:, 2:], face[:, :, :-3, :-2], atol=1e-4, rtol=0)


def test_turn_and_zoom_equal_kornia_s(face):
    angle, zoom = 20.0, 1.3
    ours = augment.warp(face, **still(3, angle=torch.full((3,), math.radians(angle)), zoom=torch.full((3,), zoom)))
    matrix = kornia.geometry.get_rotation_matrix2d(
        torch.full((3, 2), 11.5), torch.full((3,), angle), torch.full((3, 2), zoom)
    )
    theirs = kornia.geometry.warp_affine(face, matrix, (24, 24), padding_mode="border", align_corners=True)
    inner = (slice(None), slice(None), slice(4, 20), slice(4, 20))
    same = (ours[inner] - theirs[inner]).abs().mean()
    other = (augment.warp(face, **still(3))[inner] - theirs[inner]).abs().mean()
    assert same < 1e-4 < other


def test_draws_do_not_depend_on_how_the_batch_is_shared():
    whole = Draws(1, 7, 8, list(range(8)))
    halves = [Draws(1, 7, 8, list(range(rank, 8, 2))) for rank in range(2)]
    for _ in range(3):
        everyone = whole.uniform(2)
        for rank, half in enumerate(halves):
            assert torch.equal(half.uniform(2), everyone[rank::2])


def test_draws_differ_between_steps_and_seeds():
    draws = [Draws(seed, step, 4, [0, 1, 2, 3]).uniform() for seed in range(3) for step in range(3)]
    assert len({tuple(d.tolist()) for d in draws}) == 9


def test_erase_fills_one_rectangle_of_about_the_asked_area(face):
    many = face.repeat(200, 1, 1, 1)
    erased = augment.erase(many, Draws(0, 0, 600, list(range(600))), share=0.5, area=(0.1, 0.1))
    hole = (erased != many).flatten(1).float().mean(1)
    assert 0.4 < (hole > 0).float().mean() < 0.6
    assert 0.03 < hole[hole > 0].mean() <= 0.13  # part of it may lie outside


def test_tone_keeps_the_range(face):
    toned = augment.tone(face, Draws(0, 0, 3, [0, 1, 2]), 0.5, 0.5)
    assert toned.min() >= -1 and toned.max() <= 1 and not torch.equal(toned, face)


def test_mixup_blends_faces_and_targets_alike(face):
    target = torch.eye(8)[:3]
    mixed, blended = augment.mixup(face, target, Draws(0, 0, 3, [0, 1, 2]), share=1.0)
    for i in range(3):
        weight = blended[i, i]
        assert 0.5 <= weight <= 1
        torch.testing.assert_close(mixed[i], weight * face[i] + (1 - weight) * face[i - 1])
    torch.testing.assert_close(blended.sum(1), torch.ones(3))
    same, kept = augment.mixup(face, target, Draws(0, 0, 3, [0, 1, 2]), share=0.0)
    assert torch.equal(same, face) and torch.equal(kept, target)


def test_bytes_become_pixels_in_minus_one_to_one():
    pixels = augment.to_unit(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert pixels.flatten().tolist() == [-1, 1]


def test_cutmix_pastes_a_rectangle_of_the_next_face_and_as_much_of_its_target():
    count = 400
    face = torch.arange(count).float()[:, None, None, None].expand(count, 1, 32, 48).contiguous()
    target = torch.eye(count)
    mixed, label = augment.mixup(face, target, Draws(0, 0, count, list(range(count))), share=0.3, cut=0.5)
    foreign = mixed != face
    pasted = foreign & (mixed == face.roll(1, 0))
    blended = (foreign & ~pasted).flatten(1).any(1)
    cut = pasted.flatten(1).any(1)
    assert not (blended & cut).any()
    assert blended.float().mean() == pytest.approx(0.3, abs=0.08) and cut.float().mean() == pytest.approx(0.5, abs=0.08)
    share = pasted.flatten(1).float().mean(1)
    own = label.diagonal()
    torch.testing.assert_close(own[cut], 1 - share[cut], atol=1e-5, rtol=0)
    torch.testing.assert_close(label.sum(1), torch.ones(count))
    assert 0.1 < share[cut].mean() < 0.5  # half of the picture on average, less what falls beyond its edge
    for one in pasted[cut, 0]:
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_paths_are_dropped_more_often_towards_the_top_and_keep_their_mean():
    rows = 4000
    paths = augment.kept_paths(Draws(0, 0, rows, list(range(rows))), depth=3, highest=0.4)
    assert paths.shape == (rows, 3, 2)
    dropped = (paths == 0).float().mean(dim=(0, 2))
    torch.testing.assert_close(dropped, torch.tensor([0.0, 0.2, 0.4]), atol=0.03, rtol=0)
    torch.testing.assert_close(paths.mean(dim=(0, 2)), torch.ones(3), atol=0.04, rtol=0)
    assert augment.kept_paths(Draws(0, 0, 2, [0, 1]), depth=3, highest=0.0) is None

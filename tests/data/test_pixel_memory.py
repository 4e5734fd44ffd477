"""Large pictures are decoded into memory that is given back: to the same pixels, in less memory."""

import subprocess
import sys
from pathlib import Path

import hostile
import numpy as np
import pytest
from PIL import ExifTags, Image

from pfvit.data import images, pixel_memory
from pfvit.errors import PictureError

WIDTH, HEIGHT = 331, 270
#: A photo of 50 million pixels.
LARGE = 8660, 5774

pytestmark = pytest.mark.skipif(not pixel_memory.FREES, reason="there is no madvise")


def picture(mode: str) -> Image.Image:
    shape = (HEIGHT, WIDTH, len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), mode)


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA")])
def test_the_pixels_are_the_same(form, mode, turn, monkeypatch):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    content = hostile.saved(picture(mode), form, exif=exif.tobytes())
    expected = images.decode_photo(content)
    monkeypatch.setattr(pixel_memory, "LARGE", 1)
    monkeypatch.setattr(pixel_memory, "BAND", 4 * WIDTH * 31)
    used = []
    free = pixel_memory.PixelMemory._free
    monkeypatch.setattr(pixel_memory.PixelMemory, "_free", lambda *words: used.append(words) or free(*words))
    found = images.decode_photo(content)
    assert len(used) >= 9
    assert np.array_equal(found.pixels, expected.pixels) and found.pixels.flags.c_contiguous
    assert (found.metadata.alpha is None) == (mode == "RGB")
    if mode == "RGBA":
        assert np.array_equal(found.metadata.alpha, expected.metadata.alpha)


def test_damaged_pictures_and_other_kinds_are_as_before(monkeypatch):
    content = hostile.saved(picture("RGB"), "PNG")
    expected = {name: images.decode(good) for name, good in hostile.good().items()}
    monkeypatch.setattr(pixel_memory, "LARGE", 1)
    with pytest.raises(PictureError, match="cat is damaged or cut short"):
        images.decode(content[: len(content) // 2], "cat")
    for name, good in hostile.good().items():
        assert np.array_equal(images.decode(good), expected[name]), name


def test_a_callers_own_picture_is_left_alone(monkeypatch):
    monkeypatch.setattr(pixel_memory, "LARGE", 1)
    own = picture("RGB")
    images.as_photo(own)
    assert own.getpixel((3, 3)) == picture("RGB").getpixel((3, 3))


PEAK = """
import sys
sys.path.insert(0, {tests!r})
from pfvit import Reader
reader = Reader(threads=1)
print(len(reader.read({path!r})))
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photo_of_50_million_pixels_takes_little_more_than_its_pixels(form, turn, tmp_path):
    """Four bytes each in the decoder, then three, and 90 MB to look for faces: with a copy it is 450 MB and more."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    path = tmp_path / "large"
    y, x = (line.astype(np.uint16) for line in np.ogrid[: LARGE[1], : LARGE[0]])  # long integers take seven seconds
    bands = (x + y) // 57, (x + LARGE[1] - y) // 91, (x // 3 + y) // 31
    pixels = np.dstack([band.astype(np.uint8) for band in bands])
    Image.fromarray(pixels).save(path, form, exif=exif.tobytes(), compress_level=1)
    words = PEAK.format(tests=str(Path(__file__).parents[1]), path=str(path))
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    faces, peak = map(int, done.stdout.split())
    assert faces == 0 and peak < 430_000_000

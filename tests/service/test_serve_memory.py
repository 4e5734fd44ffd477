"""A service takes less than 400 MB for a photo of 50 million pixels, and keeps nothing of it."""

import contextlib
import io
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from pfvit.data import pixel_memory

MOST, MEGA = 400_000_000, 1_000_000
LARGE = 8656, 5772

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc"),
    pytest.mark.skipif(not pixel_memory.FREES, reason="there is no madvise"),
]


class Service:
    """A service in a process of its own."""

    def __init__(self, process: subprocess.Popen, address: str):
        self.process, self.address = process, address

    def read(self, content: bytes) -> tuple[int, dict]:
        request = urllib.request.Request(f"{self.address}/v1/read", content, {"Content-Type": "image/jpeg"})
        try:
            with urllib.request.urlopen(request, timeout=200) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as problem:
            return problem.code, json.load(problem)

    def memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    words = [sys.executable, "-m", "pfvit", "serve", "--port", "0", "--limits.seconds", "200"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"http://\S+?(?=;)", process.stderr.readline())
            assert found
            yield Service(process, found[0])
        finally:
            process.terminate()


def photo(faces: int, turn: int = 1, **options: object) -> bytes:
    """Return a JPEG with so many faces in a row; many of them are small."""
    pixels = np.tile(np.random.default_rng(0).integers(90, 166, (72, 108, 1), np.uint8), (1, 1, 3))
    picture = Image.fromarray(pixels).resize(LARGE, Image.Resampling.BICUBIC)
    with Image.open(Path(__file__).parents[2] / "assets" / "astronaut.jpg") as astronaut:
        face = astronaut.convert("RGB").crop((120, 0, 340, 230))
    if faces == 1:
        face = face.resize((1760, 1840))
    for number in range(faces):
        picture.paste(face, (150 + number % 12 * 700, 150 + number // 12 * 650))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif.tobytes(), **options)
    return file.getvalue()


@pytest.mark.parametrize(("faces", "turn"), [(1, 1), (1, 6), (48, 1)])
def test_a_photo_of_50_million_pixels_takes_less_than_400_mb(service, faces, turn):
    with contextlib.suppress(OSError):
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")  # the largest so far is forgotten
    status, answer = service.read(photo(faces, turn))
    assert status == 200 and len(answer["images"][0]["faces"]) == faces
    assert service.memory("VmHWM") < MOST
    assert service.memory("VmRSS") < 230 * MEGA


def test_what_would_take_more_is_refused(service):
    """A progressive one of this size needs its coefficients beside its pixels."""
    status, answer = service.read(photo(1, quality=95, progressive=True))
    assert status == 413 and "too large" in answer["detail"]
    assert service.memory("VmHWM") < MOST

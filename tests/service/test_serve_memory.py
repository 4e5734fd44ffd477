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

    def post(self, path: str, content: bytes, accept: str = "*/*") -> tuple[int, bytes]:
        headers = {"Content-Type": "image/jpeg", "Accept": accept}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address + path, content, headers), None, 200
            ) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read()

    def read(self, content: bytes) -> tuple[int, dict]:
        status, answer = self.post("/v1/read", content)
        return status, json.loads(answer)

    def forget_the_most(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

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


def photo(faces: int, turn: int = 1, size: tuple[int, int] = LARGE, **options: object) -> bytes:
    """Return a JPEG with so many faces in a row; many of them are small."""
    pixels = np.tile(np.random.default_rng(0).integers(90, 166, (72, 108, 1), np.uint8), (1, 1, 3))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
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
    service.forget_the_most()
    status, answer = service.read(photo(faces, turn))
    assert status == 200 and len(answer["images"][0]["faces"]) == faces
    assert service.memory("VmHWM") < MOST
    assert service.memory("VmRSS") < 230 * MEGA


def test_what_would_take_more_is_refused(service):
    """A progressive one of this size needs its coefficients beside its pixels."""
    status, answer = service.read(photo(1, quality=95, progressive=True))
    assert status == 413 and "too large" in answer["detail"]
    assert service.memory("VmHWM") < MOST


def test_a_face_is_drawn_in_a_photo_of_50_million_pixels(service):
    content = photo(1)
    service.forget_the_most()
    status, answer = service.post("/v1/poker?view=photo&face=all", content, "image/jpeg")
    with Image.open(io.BytesIO(answer)) as made, Image.open(io.BytesIO(content)) as given:
        assert status == 200 and made.size == given.size == LARGE
        face, below = (0, 0, 2100, 2100), (0, 5000, 8000, 5700)
        assert np.abs(np.asarray(made.crop(below)).astype(int) - np.asarray(given.crop(below))).max() < 12
        assert np.abs(np.asarray(made.crop(face)).astype(int) - np.asarray(given.crop(face))).max() > 40
    assert service.memory("VmHWM") < MOST
    assert service.memory("VmRSS") < 230 * MEGA


@pytest.mark.parametrize(
    ("view", "size", "accept"),
    [
        ("photo", (4000, 3000), "image/webp"),
        ("photo&whole=true", (4000, 3000), "image/webp"),
        ("poker&whole=true", (4000, 4000), "image/png"),
        ("map&whole=true", (4000, 4000), "image/jpeg"),
        ("face&whole=true", (4000, 4000), "image/png"),
    ],
)
def test_views_of_large_faces_take_less_than_400_mb(service, view, size, accept):
    content = photo(1, size=size)
    service.forget_the_most()
    status, answer = service.post(f"/v1/poker?view={view}", content, accept)
    with Image.open(io.BytesIO(answer)) as made:
        assert status == 200 and made.size == size and made.get_format_mimetype() == accept
    assert service.memory("VmHWM") < MOST
    assert service.memory("VmRSS") < 230 * MEGA


@pytest.mark.parametrize(
    ("query", "size", "accept", "hint"),
    [
        ("view=photo", LARGE, "image/webp", "accept image/jpeg"),
        ("view=photo&whole=true", (5000, 5000), "image/jpeg", "at most 16 million"),
        ("view=poker&whole=true", (200, 60_000), "image/jpeg", "smaller photo"),
    ],
)
def test_what_would_take_more_to_draw_is_refused_with_what_to_do(service, query, size, accept, hint):
    content = photo(1, size=size)
    service.forget_the_most()
    status, answer = service.post(f"/v1/poker?{query}", content, accept)
    assert status == 413 and hint in json.loads(answer)["detail"]
    assert service.memory("VmHWM") < MOST

"""What the service gets from the careless and the hostile: each a 4xx with a problem document, never a 500."""

import io
import struct
import zlib

import fake_weights
import numpy as np
import pytest
from conftest import png
from helpers import PHOTO, flat
from PIL import Image
from starlette.testclient import TestClient

from pfvit.config import Limits, Serve
from pfvit.service import app, images
from pfvit.service.app import create_app
from pfvit.service.errors import KINDS, MEDIA_TYPE, TYPE

LIMITS = Limits(megabytes=1, megapixels=2, images=5)
FORM = {"Content-Type": "multipart/form-data; boundary=xx"}
CROP = png(flat(100))
PART = b'--xx\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + CROP + b"\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    app = create_app(Serve(weights=fake_weights.write(tmp_path_factory.mktemp("weights")), limits=LIMITS))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client
        # Whatever came before, it still answers.
        assert client.post("/v1/read?whole=true", content=CROP).status_code == 200


def refused(answer, kind: str) -> dict:
    """Check that an answer is this problem, and return the problem."""
    told = answer.json()
    assert (told["type"], answer.status_code) == (TYPE + kind, KINDS[kind][0]), told
    assert answer.headers["content-type"] == MEDIA_TYPE and told["status"] == answer.status_code
    assert answer.headers["x-content-type-options"] == "nosniff"
    return told


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0" * 9))


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "JPEG")
    return file.getvalue()


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "JPEG", progressive=True)
    body = file.getvalue()[:-2]
    return body + scans * body[body.rindex(b"\xff\xda") :] + b"\xff\xd9"


INFLATED = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 50_000_000))
PICTURES = {
    "text": (b"GET / HTTP/1.1", "not-an-image"),
    "svg": (b"<svg onload='alert(1)'/>", "not-an-image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not-an-image"),
    "empty": (b"", "no-image"),
    "cut short": (PHOTO.read_bytes()[:20_000], "damaged-image"),
    "cut in its header": (PHOTO.read_bytes()[:30], "damaged-image"),
    "cut png": (CROP[:60], "damaged-image"),
    "pixels": (bomb(60_000, 60_000), "too-many-pixels"),
    "pixels beyond every limit": (bomb(2**31 - 1, 2**31 - 1), "too-many-pixels"),
    "honest pixels": (jpeg(2_000, 1_001), "too-many-pixels"),
    "passes": (many_scans(500), "damaged-image"),
    "no pixels": (bomb(100, 100), "damaged-image"),
    "inflating text": (bomb(100, 100, INFLATED), "damaged-image"),
    "one pixel": (png(flat(1, 1, 1)), "image-too-small"),
    "a line": (png(flat(1, 400, 2)), "image-too-small"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("path", ["/v1/read", "/v1/poker", "/v1/poker?view=photo&face=all&whole=true"])
def test_pictures_that_are_none(client, name, path):
    content, kind = PICTURES[name]
    refused(client.post(path, content=content, headers={"Content-Type": "image/png"}), kind)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/json", "application/x-www-form-urlencoded", "video/mp4", "a", ";", "multipart/mixed"],
)
def test_wrong_content_types(client, kind):
    refused(client.post("/v1/read", content=CROP, headers={"Content-Type": kind}), "wrong-content-type")


def test_what_curl_sends_without_a_type_is_told_the_header(client):
    answer = client.post("/v1/read", content=CROP, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 415 and "curl needs -H 'Content-Type: image/jpeg'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("strength=nan", "strength"),
        ("strength=inf", "strength"),
        ("strength=-1.01", "strength"),
        ("strength=much", "strength"),
        ("strength=", "strength"),
        ("strength=1e400", "strength"),
        ("face=-1", "face"),
        ("face=some", "face"),
        ("face=99999999999999999999", "face"),
        ("view=../../etc/passwd", "view"),
        ("whole=perhaps", "whole"),
        ("face=all", "face"),
    ],
)
def test_parameters_out_of_range(client, query, word):
    told = refused(client.post(f"/v1/poker?{query}", content=CROP), "bad-parameter")
    assert word in told["detail"] and "passwd" not in told["detail"]


def test_thousands_of_wrong_parameters_are_not_all_told(client):
    query = "&".join(f"word{number}=1" for number in range(3000))
    assert len(refused(client.post(f"/v1/read?{query}", content=CROP), "bad-parameter")["detail"]) < 2000


@pytest.mark.parametrize("metrics", ['{"a": NaN}', "[1e999]", '{"a": "\\ud800"}', "[" * 900 + "]" * 900, "["])
def test_what_weights_and_their_card_say_is_told_or_left_out(metrics, tmp_path):
    weights = fake_weights.write(tmp_path, metrics=metrics)
    (tmp_path / app.CARD).write_bytes(b"# Caf\xe9")
    with TestClient(create_app(Serve(weights=weights, limits=LIMITS)), base_url="http://localhost") as client:
        about = client.get("/v1/model").json()
    assert about["card"] == "# Caf\ufffd" and isinstance(about["metrics"], dict | list)


def test_scores_out_of_range(client):
    for score in ("nan", "-0.1", "1.1", "much"):
        refused(client.post(f"/v1/read?min_score={score}", content=CROP), "bad-parameter")


def test_faces_that_are_not_there(client):
    refused(client.post("/v1/poker", content=CROP), "no-face")
    refused(client.post("/v1/poker?whole=true&face=1", content=CROP), "no-such-face")
    refused(client.post("/v1/poker?view=photo&face=all", content=CROP), "no-face")


def test_large_bodies_are_cut(client):
    refused(client.post("/v1/read", content=b"\0" * 1_000_001), "too-large")
    came = 0

    def endless():
        nonlocal came
        for _ in range(3_000):
            came += 65_536
            yield b"\0" * 65_536

    refused(client.post("/v1/read", content=endless(), headers={"Content-Type": "image/png"}), "too-large")
    came, start = 0, PART[:-2]

    def endless_part():
        yield start
        yield from endless()

    refused(client.post("/v1/read", content=endless_part(), headers=FORM), "too-large")
    for length in ("-1", "1e3", "99999999999999999999"):
        answer = client.post("/v1/read", content=b"x", headers={"Content-Length": length})
        refused(answer, "too-large")


def test_many_images(client):
    assert len(client.post("/v1/read?whole=true", files=[("image", CROP)] * 5).json()["images"]) == 5
    refused(client.post("/v1/read?whole=true", files=[("image", CROP)] * 6), "too-many-images")
    refused(client.post("/v1/read?whole=true", files=[("image", CROP)] * 1_000), "too-many-images")
    refused(client.post("/v1/poker?whole=true", files=[("image", CROP)] * 2), "too-many-images")


FORMS = {
    "no boundary": ({"Content-Type": "multipart/form-data"}, PART + b"--xx--", "bad-multipart"),
    "empty boundary": ({"Content-Type": 'multipart/form-data; boundary=""'}, PART, "bad-multipart"),
    "long boundary": ({"Content-Type": f"multipart/form-data; boundary={'x' * 71}"}, PART, "bad-multipart"),
    "another boundary": ({"Content-Type": "multipart/form-data; boundary=yy"}, PART + b"--xx--", "bad-multipart"),
    "cut short": (FORM, PART[:-9], "bad-multipart"),
    "no end": (FORM, PART, "bad-multipart"),
    "nothing": (FORM, b"", "bad-multipart"),
    "no parts": (FORM, b"--xx--\r\n", "no-image"),
    "no name": (FORM, b"--xx\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xx--", "bad-multipart"),
    "another name": (FORM, PART.replace(b'"image"', b'"file"') + b"--xx--", "bad-multipart"),
    "no disposition": (FORM, b"--xx\r\nA: b\r\n\r\nx\r\n--xx--", "bad-multipart"),
    "endless header": (FORM, b"--xx\r\nA: " + b"b" * 50_000, "bad-multipart"),
    "many headers": (FORM, b"--xx\r\n" + b"A: b\r\n" * 50 + b"\r\n", "bad-multipart"),
    "no UTF-8": (FORM, b'--xx\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--xx--', "bad-multipart"),
    "an empty image": (FORM, PART.replace(CROP, b"") + b"--xx--", "not-an-image"),
}


@pytest.mark.parametrize("name", FORMS)
def test_malformed_forms(client, name):
    headers, content, kind = FORMS[name]
    refused(client.post("/v1/read", content=content, headers=headers), kind)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\windows\\\\x.png", "x.png"),
        ("/", "image"),
        ("..", "image"),
        ("", "image"),
        ("a\0b.png", "a\\x00b.png"),
        ("x" * 900, "x" * 200),
        ("<b>.png", "<b>.png"),
        ("ü.png", "ü.png"),
        ("à\u0160\u2603", "à\u0160\u2603"),
        (b"gr\xfcn\xe0.png", "grünà.png"),  # Latin-1, as curl on Windows sends it
    ],
)
def test_file_names_are_only_names(client, name, told):
    part = PART.replace(b"a.png", name if isinstance(name, bytes) else name.encode())
    answer = client.post("/v1/read?whole=true", content=part + b"--xx--\r\n", headers=FORM)
    assert answer.status_code == 200 and "<" not in answer.text
    assert answer.json()["images"][0]["source"] == answer.json()["images"][0]["faces"][0]["source"] == told


def test_what_is_not_there(client):
    refused(client.get("/v1/nothing"), "not-found")
    refused(client.get("/%2e%2e/%2e%2e/pyproject.toml"), "not-found")
    refused(client.get("/..%2fserve.py"), "not-found")
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert refused(client.request(method, "/v1/read"), "method-not-allowed")
    refused(client.post("/"), "method-not-allowed")


def test_a_face_too_large_to_be_drawn(client, monkeypatch):
    monkeypatch.setattr(images, "MOST_DRAWN", 0.0003)
    refused(client.post("/v1/poker?whole=true", content=CROP), "too-many-pixels")
    assert client.post("/v1/read?whole=true", content=CROP).status_code == 200


def test_an_image_of_every_kind_is_read(client):
    assert client.post("/v1/read?whole=true", content=many_scans(0)).status_code == 200
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"):
        file = io.BytesIO()
        Image.fromarray(np.full((30, 30, 3), 90, np.uint8)).save(file, kind)
        assert client.post("/v1/poker?whole=true", content=file.getvalue()).status_code == 200, kind

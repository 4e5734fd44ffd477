"""The service's contract: what comes back for pictures, who may call, what it tells of itself."""

import base64
import io
import json
import math
import re
import socket

import fake_weights
import numpy as np
import pytest
from conftest import png
from helpers import PHOTO, flat
from PIL import Image, ImageCms
from starlette.testclient import TestClient

from pfvit import Reader, __version__
from pfvit.__main__ import main
from pfvit.config import Limits, Serve
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError
from pfvit.service import encoding, schemas
from pfvit.service.app import KEY, create_app
from pfvit.service.errors import KINDS, TYPE

JPEG = {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}
CROP = png(np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return fake_weights.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def client(weights):
    with TestClient(create_app(Serve(weights=weights)), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def reader(weights):
    return Reader(weights, threads=1)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_photo_is_read_as_the_command_line_reads_it(client, reader):
    photo = PHOTO.read_bytes()
    answer = client.post("/v1/read", content=photo, headers=JPEG)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    expected = [face.to_dict() for face in reader.read(photo, source="image")]
    image = {"source": "image", "width": 512, "height": 512, "faces": expected, "problem": None}
    assert answer.json() == {"model": "fake", "images": [image]} and len(expected) == 1
    assert set(schemas.Face.model_fields) == set(expected[0])
    schemas.ReadAnswer.model_validate(answer.json())


def test_crops_and_a_body_without_a_type(client):
    happy = png(flat(fake_weights.CENTRES[EIGHT.index("happiness")]))
    answer = client.post("/v1/read?whole=true", content=happy).json()
    (face,) = answer["images"][0]["faces"]
    assert (face["emotion"], face["box"], face["landmarks"]) == ("happiness", [0, 0, 20, 20], None)


def test_many_images_one_of_them_broken(client):
    parts = [("image", (f"{n}.png", CROP)) for n in range(40)]
    parts[3] = ("image", ("broken.png", CROP[:100]))
    answer = client.post("/v1/read?whole=true", files=parts)
    images = answer.json()["images"]
    assert answer.status_code == 200 and [image["source"] for image in images][:4] == [
        "0.png",
        "1.png",
        "2.png",
        "broken.png",
    ]
    assert images[3]["faces"] == [] and images[3]["problem"]["type"] == f"{TYPE}damaged-image"
    assert images[3]["width"] is None
    assert all(len(image["faces"]) == 1 and image["problem"] is None for image in images[:3] + images[4:])
    schemas.ReadAnswer.model_validate(answer.json())


def test_faces_below_a_score_are_left_out(client):
    photo = PHOTO.read_bytes()
    assert client.post("/v1/read?min_score=0.99", content=photo, headers=JPEG).json()["images"][0]["faces"] == []
    assert client.post("/v1/read", content=png(flat(9)), headers=PNG).json()["images"][0]["faces"] == []


def test_every_view_of_a_face(client, reader):
    photo = PHOTO.read_bytes()
    (face,) = reader.read(photo)
    original = np.asarray(Image.open(io.BytesIO(photo)))

    def view(name: str, query: str = "") -> np.ndarray:
        return pixels(client.post(f"/v1/poker?view={name}{query}", content=photo, headers=JPEG).content)

    assert np.array_equal(view("face"), face.crop)
    assert np.array_equal(view("poker"), face.poker_face(1.0))
    assert np.array_equal(view("poker", "&strength=-0.5"), face.poker_face(-0.5))
    assert np.array_equal(view("poker", "&strength=0"), face.crop)
    assert np.array_equal(view("reconstruction"), face.reconstruction)
    assert view("map").shape == face.crop.shape
    assert np.array_equal(view("photo"), face.put_back(original, 1.0))
    assert np.array_equal(view("photo", "&face=all"), face.put_back(original, 1.0))


@pytest.mark.parametrize("kind", ["image/png", "image/webp", "image/jpeg"])
def test_a_picture_keeps_its_colour_profile_and_the_photo_its_exif(kind, client):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x010E], exif[0x0112] = "a walk", 6
    with Image.open(PHOTO) as photo:
        photo.rotate(90, expand=True).save(file, "JPEG", icc_profile=profile, exif=exif)
    for view in ("photo", "poker"):
        answer = client.post(f"/v1/poker?view={view}", content=file.getvalue(), headers={**JPEG, "Accept": kind})
        with Image.open(io.BytesIO(answer.content)) as given:
            assert given.info["icc_profile"] == profile
            assert dict(given.getexif()).get(0x010E) == ("a walk" if view == "photo" else None)
            assert 0x0112 not in given.getexif()


@pytest.mark.parametrize("kind", ["image/png", "image/webp", "image/jpeg"])
def test_a_photo_keeps_its_opacity_where_the_format_has_any(kind, client):
    with Image.open(PHOTO) as photo:
        cut_out = photo.convert("RGBA")
    alpha = np.full(cut_out.size[::-1], 255, np.uint8)
    alpha[:, :9], alpha[:9] = 0, 130
    cut_out.putalpha(Image.fromarray(alpha))
    file = io.BytesIO()
    cut_out.save(file, "PNG")
    for view in ("photo", "poker"):
        answer = client.post(f"/v1/poker?view={view}", content=file.getvalue(), headers={**PNG, "Accept": kind})
        with Image.open(io.BytesIO(answer.content)) as given:
            if view == "photo" and kind != "image/jpeg":
                assert np.array_equal(np.asarray(given)[:, :, 3], alpha)
            else:
                assert given.mode == "RGB"


def test_the_dial_on_a_crop_that_was_fetched_is_the_dial_on_the_photo(client):
    photo = PHOTO.read_bytes()
    crop = client.post("/v1/poker?view=face", content=photo, headers=JPEG).content
    on_crop = client.post("/v1/poker?whole=true&strength=0.5", content=crop, headers=PNG).content
    on_photo = client.post("/v1/poker?strength=0.5", content=photo, headers=JPEG).content
    assert np.array_equal(pixels(on_crop), pixels(on_photo))


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, "image/png"),
        ("*/*", "image/png"),
        ("image/webp", "image/webp"),
        ("image/jpeg", "image/jpeg"),
        ("image/*", "image/png"),
        ("text/html, image/webp;q=0.8, image/jpeg;q=0.9", "image/jpeg"),
        ("image/png;q=0, */*", "image/webp"),
        ("image/avif,image/webp,*/*;q=0.8", "image/webp"),
        ("text/html", None),
        ("image/png;q=0", None),
        ("image/png;q=x", None),
    ],
)
def test_accept_chooses_the_format(client, accept, given):
    headers = PNG | ({} if accept is None else {"Accept": accept})
    answer = client.post("/v1/poker?whole=true", content=CROP, headers=headers)
    if given is None:
        assert (answer.status_code, answer.json()["type"]) == (406, f"{TYPE}not-acceptable")
        return
    assert answer.headers["content-type"] == given and answer.headers["vary"] == "Accept"
    image = Image.open(io.BytesIO(answer.content))
    assert Image.MIME[image.format] == given and image.size == (32, 40)


def test_what_one_format_cannot_hold_comes_in_another_that_is_accepted(client, monkeypatch):
    monkeypatch.setattr(encoding, "LARGE", 1)
    monkeypatch.setattr(encoding, "MOST_FILE", 3000)  # it takes 4.0 kB as PNG, and 1.9 kB as JPEG
    monkeypatch.setattr(encoding, "WEBP", 1_000_000)
    for accept, status, kind in (
        ("*/*", 200, "image/jpeg"),
        ("image/png, image/jpeg;q=0.1", 200, "image/jpeg"),
        ("image/png", 413, "application/problem+json"),
    ):
        headers = PNG | {"Accept": accept}
        answer = client.post("/v1/poker?view=face&whole=true", content=CROP, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, kind)


def test_it_tells_which_model_answers(client):
    about = client.get("/v1/model").json()
    assert (about["name"], about["labels"], about["input_size"]) == ("fake", list(EIGHT), fake_weights.SIZE)
    assert about["version"] == __version__ and about["card"] is None and about["metrics"] == {}
    schemas.ModelAnswer.model_validate(about)


def test_the_shipped_weights_come_with_their_card():
    with TestClient(create_app(Serve()), base_url="http://localhost") as client:
        assert "Model card" in client.get("/v1/model").json()["card"]


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    before = numbers(client.get("/metrics").text)
    client.post("/v1/read?whole=true", content=CROP, headers=PNG)
    client.post("/v1/read?whole=true", content=b"nothing", headers=PNG)
    client.get("/made/up/by/callers")
    after = numbers(client.get("/metrics").text)

    def more(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert more("pfvit_faces_total") == 1
    assert more('pfvit_requests_total{path="/v1/read",status="200"}') == 1
    assert more('pfvit_requests_total{path="/v1/read",status="422"}') == 1
    assert more('pfvit_requests_total{path="other",status="404"}') == 1
    assert more('pfvit_errors_total{kind="not-an-image"}') == 1
    assert more('pfvit_request_seconds_count{path="/v1/read"}') == 2
    assert after["pfvit_queue_depth"] == 0


def numbers(text: str) -> dict[str, float]:
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def test_head_is_get_without_the_body(client):
    for path in ("/healthz", "/readyz", "/metrics", "/v1/model", "/docs", "/"):
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"") and get.content, path
        assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/v1/read").status_code == 405 and client.head("/nowhere").status_code == 404


def test_a_slash_at_the_end_is_no_other_place(client):
    assert client.get("/healthz/").json() == client.get("/healthz").json()
    assert client.get("/v1/model/").json() == client.get("/v1/model").json()
    assert client.post("/v1/read/?whole=true", content=CROP).json() == (
        client.post("/v1/read?whole=true", content=CROP).json()
    )


def test_what_is_unknown_is_named(client):
    for path, there in (("/v1/read", "whole, min_score"), ("/v1/poker", "strength, face, view, whole")):
        answer = client.post(f"{path}?wole=true", content=CROP)
        assert (answer.status_code, answer.json()["type"]) == (422, f"{TYPE}bad-parameter")
        assert answer.json()["detail"] == f"wole: there is no such parameter; there are {there}"
        answer = client.post(f"{path}?whole=true", content=CROP, headers={"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
        assert answer.json()["detail"] == "the body is encoded (gzip): send it as it is"
        answer = client.post(f"{path}?whole=true&whole=false", content=CROP)
        assert (answer.status_code, answer.json()["detail"]) == (422, "whole: give it once")
    plain = {"Content-Encoding": "identity"}
    assert client.post("/v1/read?whole=true", content=CROP, headers=plain).status_code == 200


def test_the_documents_work_without_scripts_or_other_sites(client):
    answer = client.get("/docs")
    page = answer.text
    assert "<script" not in page and "style=" not in page and "//" not in re.sub(f"{client.base_url}/v1/", "", page)
    assert f"@photo.jpg {client.base_url}/v1/read</pre>" in page  # the service's own address
    for path in ("/v1/read", "/v1/poker", "/v1/model"):
        assert f"<code>{path}</code>" in page
    assert "not-an-image" in page and "&quot;emotion&quot;: &quot;happiness&quot;" in page
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/v1/read", "/v1/poker", "/v1/model", "/healthz", "/readyz"}
    examples = schema["paths"]["/v1/read"]["post"]["responses"]["429"]["content"]["application/problem+json"][
        "examples"
    ]
    assert examples["overloaded"]["value"]["type"] == f"{TYPE}overloaded"
    told = {status for methods in schema["paths"].values() for one in methods.values() for status in one["responses"]}
    assert told >= {str(status) for status, _ in KINDS.values()} - {"404", "405", "499", "500"}


def test_every_answer_carries_the_security_headers(client):
    answers = [
        client.get("/docs"),
        client.get("/nowhere"),
        client.get("/v1/model"),
        client.post("/v1/read", content=b"x"),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    assert answers[2].headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "elsewhere.example"}, 421),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "[::1"}, 421),
    ],
)
def test_only_its_own_page_and_programs_may_call(client, headers, status):
    assert client.get("/v1/model", headers=headers).status_code == status
    assert client.post("/v1/read?whole=true", content=CROP, headers=headers | PNG).status_code == status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_any_loopback_address_is_closed_to_other_names(weights, host):
    with TestClient(create_app(Serve(weights=weights, host=host)), base_url="http://any.example") as client:
        assert client.get("/v1/model").status_code == 421


def test_names_of_a_proxy_can_be_allowed(weights):
    app = create_app(Serve(weights=weights, hosts=("faces.example",)))
    with TestClient(app, base_url="http://faces.example") as client:
        assert client.get("/v1/model").status_code == 200
    with TestClient(create_app(Serve(weights=weights, host="0.0.0.0")), base_url="http://any.example") as client:
        assert client.get("/v1/model").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic !!"}, 401),
        ({"Authorization": "Bearer ключ".encode()}, 401),
        ({"X-API-Key": "wrong", "Authorization": "Bearer wrong"}, 401),
        ({"X-API-Key": "open sesame"}, 200),
        ({"X-API-Key": "open sesame", "Authorization": "Bearer of-a-proxy"}, 200),
        ({"X-API-Key": "open sesame", "Authorization": "Basic !!"}, 200),
        ({"Authorization": "Bearer open sesame"}, 200),
        ({"Authorization": "Basic YW55Om9wZW4gc2VzYW1l"}, 200),
    ],
)
def test_a_key_from_the_environment(weights, monkeypatch, headers, status):
    monkeypatch.setenv(KEY, "open sesame")
    with TestClient(create_app(Serve(weights=weights)), base_url="http://localhost") as client:
        answer = client.get("/v1/model", headers=headers)
        assert answer.status_code == client.get("/metrics", headers=headers).status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert client.get("/healthz").status_code == client.get("/docs").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]


def test_a_key_of_any_letters_in_a_header_of_any_letters(weights, monkeypatch):
    monkeypatch.setenv(KEY, "schlüssel")
    basic = base64.b64encode("any:schlüssel".encode())
    sent = [("X-API-KEY", "schlüssel".encode()), ("x-Api-key", "schlüssel".encode("latin-1"))]
    sent += [("AUTHORIZATION", b"bEARER " + "schlüssel".encode()), ("authorization", b"Basic " + basic)]
    with TestClient(create_app(Serve(weights=weights)), base_url="http://localhost") as client:
        for name, value in sent:
            assert client.get("/v1/model", headers={name.encode(): value}).status_code == 200, name
            assert client.get("/v1/model", headers={name.encode(): value[:-1]}).status_code == 401


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "70000"], "--port must be"),
        (["--workers", "0"], "--workers must be"),
        (["--limits.images", "0"], "--limits.images must be"),
        (["--weights", "nowhere.onnx"], "is not there"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot be listened on"),
    ],
)
def test_settings_that_cannot_be(capsys, words, told):
    assert main(["serve", *words]) in (1, 2)
    said = capsys.readouterr().err
    assert told in said and "while attempting" not in said  # Python's own words, with the address as a tuple


@pytest.mark.parametrize("limits", [{"gather": math.inf}, {"gather": -1.0}, {"megapixels": math.inf}])
def test_limits_are_numbers_that_threads_can_wait_for_and_pictures_be_counted_by(limits):
    with pytest.raises(UsageError, match=r"--limits\.\w+ must be"):
        Limits(**limits)


def test_an_address_that_is_taken_is_told_in_a_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told == [f"pfvit serve: 127.0.0.1:{port} is in use already: choose another --port"]


def test_it_warns_where_anyone_may_call(capsys, monkeypatch):
    for key, warned in (("", True), ("open sesame", False)):
        monkeypatch.setenv(KEY, key)
        assert main(["serve", "--host", "192.0.2.1"]) == 1  # an address that no machine has
        assert (f"set {KEY}" in capsys.readouterr().err) == warned


def test_json_stays_text_wherever_it_is_pasted(client):
    name = "<img src=x onerror=alert(1)>.png"
    text = client.post("/v1/read?whole=true", files=[("image", (name, CROP))]).text
    assert "<" not in text and json.loads(text)["images"][0]["source"] == name

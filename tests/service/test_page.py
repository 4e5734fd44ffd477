"""The page in a real browser, against a real server. Pictures of its states go to out/page/, to be looked at."""

import io
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import SHARED
from PIL import Image, ImageChops

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine: scripts/browser installs it", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'pfvit[dev]'")

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "assets" / "astronaut.jpg"
SAMPLES = ROOT / "src" / "pfvit" / "page" / "samples"
SHOTS = ROOT / "out" / "page"
READ = "body[data-state=read] #viewer[data-shown][aria-busy=false]"
PHONE = {"width": 360, "height": 740}
AA, AA_LARGE = 4.5, 3.0
#: Chromium's own line for any answer of 400 and more: those that a test asks for are no fault of the page.
REFUSED = "Failed to load resource"


@pytest.fixture(scope="module")
def server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "pfvit", "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, process.stderr.read()
            try:
                with urlopen(f"{address}/readyz"):
                    break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """What the made-up camera sees: one face, standing still."""
    path = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    face = Image.open(ASTRONAUT).convert("RGB").crop((0, 0, 512, 384)).resize((640, 480))
    frame = io.BytesIO()
    face.save(frame, "JPEG", quality=90)
    path.write_bytes(frame.getvalue() * 4)
    return path


@pytest.fixture(scope="module")
def browser(film):
    with playwright.sync_playwright() as starter:
        flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        opened = starter.chromium.launch(
            executable_path=CHROMIUM, args=[*flags, f"--use-file-for-fake-video-capture={film}"]
        )
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, server):
    """Open the page; at the end nothing but its server may have been asked, and the console be silent."""
    contexts, asked, faults = [], [], []

    def open_page(**settings):
        settings = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", **settings}
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
        page.goto(server)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # What the page makes itself (blob:) never leaves the browser.
    assert {url for url in asked if not url.startswith((f"{server}/", "blob:"))} == set()
    assert [fault for fault in faults if not fault.startswith(REFUSED)] == []


@pytest.fixture
def group(tmp_path) -> Path:
    """Three faces beside each other, of which the outer two smile."""
    smile = Image.open(ASTRONAUT).convert("RGB").crop((120, 0, 376, 300)).resize((512, 600))
    calm = Image.open(SAMPLES / "lisa.webp").convert("RGB")
    photo = Image.new("RGB", (1474, 600))
    for left, picture in ((0, smile), (512, calm), (962, smile)):
        photo.paste(picture, (left, 0))
    photo.save(tmp_path / "group.png")
    return tmp_path / "group.png"


def read(page, photo: Path):
    page.set_input_files("#file", photo)
    page.wait_for_selector(READ)
    return page


def shoot(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True, animations="disabled")


def pixels(page, canvas: str) -> Image.Image:
    address = page.eval_on_selector(canvas, "canvas => canvas.toDataURL('image/png')")
    with urlopen(address) as content:
        return Image.open(io.BytesIO(content.read())).convert("RGB")


def photo_pixels(page) -> Image.Image:
    """The photo as the page holds it, without the boxes and words that lie over it."""
    content = page.evaluate(
        """async () => {
            await picture.decode();
            const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
            canvas.getContext("2d").drawImage(picture, 0, 0);
            return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
        }"""
    )
    return Image.open(io.BytesIO(bytes(content))).convert("RGB")


def differ(one: Image.Image, other: Image.Image) -> bool:
    return one.size != other.size or ImageChops.difference(one, other).getbbox() is not None


#: Count the calls with a picture from now on: how many, and at most how many at once.
FOLLOW = """() => {
    const { fetch } = window;
    window.seen = { all: 0, now: 0, most: 0 };
    window.fetch = async (path, options) => {
        if (options?.method !== "POST") return fetch(path, options);
        seen.all++;
        seen.most = Math.max(seen.most, ++seen.now);
        try {
            const answer = await fetch(path, options);
            await answer.clone().arrayBuffer();
            return answer;
        } finally {
            seen.now--;
        }
    };
}"""


def fits(page) -> bool:
    # Not innerWidth: a phone zooms out until it is as wide as what does not fit.
    return page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def refuse(page, path: str, status: int, title: str, **headers: str) -> None:
    document = {"type": "urn:pfvit:problem:test", "title": title, "status": status, "detail": "what to do next"}
    page.route(
        path,
        lambda route: route.fulfill(
            status=status,
            body=json.dumps(document),
            headers={"Content-Type": "application/problem+json", **headers},
        ),
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_empty_page_invites_and_credits_its_samples(visit, scheme):
    page = visit(color_scheme=scheme)
    assert page.is_visible("text=Choose a photo") and page.is_visible("text=nothing is stored")
    for sample in page.query_selector_all("[data-sample]"):
        assert "public domain" in sample.inner_text() or "CC0" in sample.inner_text()
        assert sample.query_selector("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.wait_for_function("() => document.getElementById('model').textContent.startsWith('pfvit')")
    shoot(page, f"empty-{scheme}")


def test_a_photo_is_read(visit):
    page = read(visit(), ASTRONAUT)
    boxes = page.query_selector_all("#boxes button")
    assert [box.get_attribute("aria-label") for box in boxes] == ["Face 1 of 1: happiness >99%"]
    assert page.inner_text("#emotion").startswith("Happiness")
    assert "one expression stands out" in page.inner_text("#sure")
    assert page.locator("#bars li").count() == 8
    assert page.inner_text("#say").startswith("Face 1 of 1: happiness")
    assert page.is_hidden("#strip") and page.is_hidden("#trouble")
    left, face = page.locator("#picture").bounding_box(), boxes[0].bounding_box()
    assert left["x"] < face["x"] and face["x"] + face["width"] < left["x"] + left["width"]
    shoot(page, "face")


@pytest.mark.parametrize(
    ("shares", "title", "words"),
    [
        ({"fear": 0.45, "surprise": 0.43, "neutral": 0.12}, "Fear?", "too close to call between fear and surprise"),
        ({"sadness": 0.3, "anger": 0.15, "neutral": 0.15}, "Sadness?", "no expression stands out"),
        ({"neutral": 0.9, "sadness": 0.1}, "Neutral?", "answers on faces like this one are often wrong"),
        ({"happiness": 0.8, "surprise": 0.15, "neutral": 0.05}, "Happiness", "with a touch of surprise"),
    ],
)
def test_how_sure_a_reading_is_said_in_words(visit, shares, title, words):
    page = visit()

    def answer(route):
        told = route.fetch().json()
        (face,) = told["images"][0]["faces"]
        face["probabilities"] = dict.fromkeys(face["probabilities"], 0.0) | shares
        face |= {"emotion": max(shares, key=shares.get), "unsure": title.endswith("?"), "entropy": 0.4}
        route.fulfill(json=told)

    page.route("**/v1/read*", answer)
    read(page, ASTRONAUT)
    assert page.inner_text("#emotion").startswith(title) and words in page.inner_text("#sure")
    assert page.inner_text("#boxes button span").startswith(title.lower())
    assert page.inner_text("#spread-value") == "40"
    if title == "Fear?":
        shoot(page, "unsure")


def test_keys_choose_among_faces(visit, group):
    page = read(visit(), group)
    boxes = page.locator("#boxes button")
    assert boxes.count() == page.locator("#strip button").count() == 3
    boxes.nth(0).click()
    assert page.inner_text("#which") == "Face 1 of 3"
    page.wait_for_selector(READ)
    smile = pixels(page, "#before")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#which") == "Face 2 of 3"
    assert page.inner_text("#emotion").startswith("Neutral")
    assert boxes.nth(1).evaluate("box => box === document.activeElement && box.tabIndex === 0")
    page.wait_for_selector(READ)
    assert differ(pixels(page, "#before"), smile)
    assert "neutral already" in page.inner_text("#explain")
    page.keyboard.press("End")
    assert boxes.nth(2).get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")  # round again
    page.keyboard.press("Alt+ArrowLeft")  # the browser's own: back
    assert boxes.nth(0).get_attribute("aria-pressed") == "true"
    page.locator("#strip button").nth(2).click()
    assert page.inner_text("#which") == "Face 3 of 3"
    page.wait_for_selector(READ)
    shoot(page, "several-faces")


def test_the_dial_moves_the_face(visit):
    page = read(visit(), ASTRONAUT)
    assert page.input_value("#dial") == "100" and page.inner_text("#dial-value") == "poker face"
    calm = pixels(page, "#after")
    assert differ(calm, pixels(page, "#before"))
    page.focus("#dial")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("[data-shown='0.95']")
    assert differ(pixels(page, "#after"), calm)
    assert page.get_attribute("#dial", "aria-valuetext") == "95% removed"
    page.click("[data-to='0']")
    page.wait_for_selector("[data-shown='0.00']")
    assert not differ(pixels(page, "#after"), pixels(page, "#before"))
    page.focus("#dial")
    page.keyboard.press("Home")
    page.wait_for_selector("[data-shown='-1.00']")
    assert page.inner_text("#dial-value") == "exaggerated"
    assert differ(pixels(page, "#after"), pixels(page, "#before"))
    shoot(page, "exaggerated")


def test_where_the_dial_is_set_is_said_once(visit):
    page = read(visit(reduced_motion="no-preference"), ASTRONAUT)
    assert page.get_attribute("#dial-value", "aria-live") == "off"  # keys on the dial say it already
    page.evaluate("""() => {
        window.heard = [];
        new MutationObserver(() => heard.push(say.textContent)).observe(say, { childList: true });
    }""")
    page.click("[data-to='-100']")
    page.wait_for_selector("[data-shown='-1.00']")
    assert page.evaluate("heard") == ["exaggerated"]
    assert page.get_by_role("group", name="Save").get_by_role("button").count() == 3


def test_the_dial_never_queues(visit):
    page = read(visit(reduced_motion="no-preference"), ASTRONAUT)
    page.evaluate(FOLLOW)
    page.evaluate("""() => {
        const dial = document.getElementById("dial");
        for (let value = 99; value >= -60; value--) {
            dial.value = value;
            dial.dispatchEvent(new Event("input"));
        }
    }""")
    page.wait_for_selector("[data-shown='-0.60']")
    assert page.evaluate("[seen.most, seen.all]") == [
        1,
        2,
    ]  # the first, and the last wished for meanwhile
    page.click("[data-view=poker]")  # glides there
    page.wait_for_selector("[data-shown='1.00']")
    assert page.evaluate("seen.most") == 1


def test_before_and_after(visit):
    page = read(visit(), ASTRONAUT)
    half = page.locator("#viewer").screenshot()
    page.focus("#split")
    page.keyboard.press("Home")
    assert page.eval_on_selector("#after", "after => getComputedStyle(after).clipPath") == "inset(0px 0px 0px 0%)"
    assert page.get_attribute("#split", "aria-valuetext") == "0% as is, 100% changed"
    assert page.locator("#viewer").screenshot() != half
    box = page.locator("#viewer").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    assert page.input_value("#split") == "90"  # the line is where it was pointed to


def test_every_view_of_a_face(visit):
    page = read(visit(), ASTRONAUT)
    seen = []
    for view, shown in (("reconstruction", "reconstruction"), ("map", "map"), ("face", "0.00"), ("poker", "1.00")):
        page.click(f"[data-view={view}]")
        page.wait_for_selector(f"[data-shown='{shown}']")
        pressed = page.locator("[data-view][aria-pressed=true]")
        assert pressed.count() == 1 and pressed.get_attribute("data-view") == view
        assert page.inner_text("#explain")
        picture = pixels(page, "#after")
        assert all(differ(picture, other) for other in seen)
        seen.append(picture)
    page.click("[data-view=map]")
    shoot(page, "expression-map")


def test_the_change_in_the_whole_photo(visit, group):
    page = read(visit(), group)
    before = photo_pixels(page)
    page.check("#in-photo")
    page.wait_for_selector("#frame[data-shown='1.00']")
    one = photo_pixels(page)
    assert differ(one, before)
    page.check("#everyone")
    page.wait_for_function(
        "shown => document.getElementById('picture').src !== shown", arg=page.evaluate("picture.src")
    )
    assert differ(photo_pixels(page), one)
    page.uncheck("#in-photo")
    assert not differ(photo_pixels(page), before)


def test_pictures_and_the_reading_are_saved(visit):
    page = read(visit(), ASTRONAUT)

    def save(button: str) -> tuple[str, bytes]:
        with page.expect_download() as saved:
            page.click(button)
        return saved.value.suggested_filename, Path(saved.value.path()).read_bytes()

    def view(name: str) -> None:
        page.click(f"[data-view={name}]")

    def dial(key: str) -> None:
        page.press("#dial", key)

    # The face is saved as it is shown.
    for turn, shown, label, words in (
        (lambda: view("poker"), "1.00", "Face", "poker-face"),
        (lambda: dial("ArrowLeft"), "0.95", "Face", "95-removed"),
        (lambda: dial("Home"), "-1.00", "Face", "exaggerated"),
        (lambda: view("reconstruction"), "reconstruction", "Reconstruction", "reconstruction"),
        (lambda: view("map"), "map", "Expression map", "expression-map"),
        (lambda: view("face"), "0.00", "Face", "as-is"),
        (lambda: view("poker"), "1.00", "Face", "poker-face"),
    ):
        turn()
        page.wait_for_selector(f"[data-shown='{shown}']")
        page.wait_for_timeout(300)  # a face larger than the dial's pictures is drawn once more
        name, content = save("#save-face")
        assert name == f"astronaut_0_{words}.png" and page.inner_text("#save-face") == f"{label} PNG"
        saved, seen = Image.open(io.BytesIO(content)).convert("RGB"), pixels(page, "#after")
        far = np.abs(np.asarray(saved.resize(seen.size), float) - np.asarray(seen, float)).mean()
        assert far < 2, f"{words} is not what is seen"  # the dial's own are JPEG
    name, content = save("#save-photo")
    photo = Image.open(io.BytesIO(content))
    assert name == "astronaut_poker-face.png" and photo.format == "PNG" and photo.size == (512, 512)
    assert differ(photo.convert("RGB"), Image.open(ASTRONAUT).convert("RGB"))
    name, content = save("#save-reading")
    (image,) = json.loads(content)["images"]
    assert (
        name == "astronaut.json"
        and image["source"] == "astronaut.jpg"
        and (image["width"], image["height"]) == (512, 512)
    )
    (face,) = image["faces"]
    assert face["emotion"] == "happiness" and sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_what_is_saved_has_the_name_of_its_own_photo(visit):
    page = read(visit(), ASTRONAUT)
    page.route("**/v1/poker?view=photo*", lambda route: (time.sleep(0.5), route.continue_()))
    with page.expect_download() as saved:
        page.click("#save-photo")
        page.set_input_files("#file", SAMPLES / "lisa.webp")
    assert saved.value.suggested_filename == "astronaut_poker-face.png"
    page.wait_for_selector(READ)
    with page.expect_download():
        page.click("#save-photo")
        page.click("#home")
    assert page.is_hidden("#trouble")


def test_a_face_can_be_saved_while_it_is_cut_out(visit, group):
    page = read(visit(), group)
    page.route("**/v1/poker?view=face*", lambda route: (time.sleep(0.5), route.continue_()))
    page.locator("#boxes button").nth(1).click()
    with page.expect_download() as saved:
        page.click("#save-face")
    assert saved.value.suggested_filename == "group_1_poker-face.png" and page.is_hidden("#trouble")


def test_back_and_forward_lead_to_photos(visit, group):
    page = read(visit(), ASTRONAUT)
    read(page, group)
    title = page.locator("#what h1")
    page.click("text=What it means")  # a link within the page is a step of its own
    page.go_back()
    assert title.inner_text() == "group.png" and not page.url.endswith("meaning")
    page.go_back()
    page.wait_for_selector(READ)
    assert title.inner_text() == "astronaut.jpg"
    page.go_forward()
    page.wait_for_selector(READ)
    assert title.inner_text() == "group.png" and page.locator("#boxes button").count() == 3
    page.click("#home")
    assert page.is_visible("#start")
    page.go_back()
    page.wait_for_selector(READ)
    assert title.inner_text() == "group.png"
    page.reload()  # nothing is kept beyond the page
    page.go_back()
    assert page.is_visible("#start") and page.is_hidden("#trouble")


def test_back_from_the_camera_turns_it_off(visit):
    page = read(visit(), ASTRONAUT)
    page.evaluate(LATE)
    page.evaluate("go()")
    page.click("#work [data-camera]")
    page.wait_for_selector("#snap:visible")
    assert "%" not in page.inner_text("#bars")  # no face yet
    page.go_back()
    page.wait_for_selector(READ)
    assert page.inner_text("#what h1") == "astronaut.jpg" and page.evaluate(ON) == 0
    page.click("#work [data-camera]")
    page.click("#snap")
    page.wait_for_selector(READ)
    assert page.inner_text("#what h1").startswith("camera")
    page.go_back()
    page.wait_for_selector("#what h1:text('astronaut.jpg')")


def test_what_fails_far_below_is_told_where_it_is_seen(visit):
    page = read(visit(viewport=PHONE), ASTRONAUT)
    refuse(page, "**/v1/poker?view=photo*", 422, "Not today")
    page.click("#save-photo")
    page.wait_for_selector("text=Not today")
    page.wait_for_function("() => document.getElementById('trouble').getBoundingClientRect().top >= 0")
    words, close = page.locator("#trouble > div").first.bounding_box(), page.locator("#dismiss").bounding_box()
    assert close["x"] >= words["x"] + words["width"]  # in the corner, not on a line of its own


def test_a_photo_too_large_for_a_png_is_saved_as_jpeg(visit):
    page = read(visit(), ASTRONAUT)
    jpeg = ASTRONAUT.read_bytes()
    page.route(
        "**/v1/poker?view=photo*",
        lambda route: (
            route.fulfill(body=jpeg, content_type="image/jpeg")
            if "image/jpeg" in route.request.headers["accept"]
            else route.fulfill(status=413)
        ),
    )
    with page.expect_download() as saved:
        page.click("#save-photo")
    assert saved.value.suggested_filename == "astronaut_poker-face.jpg"


def test_a_broken_file_is_refused_in_plain_words(visit, tmp_path):
    page = visit()
    (tmp_path / "<b>broken.jpg").write_bytes(ASTRONAUT.read_bytes()[:5000])
    page.set_input_files("#file", tmp_path / "<b>broken.jpg")
    page.wait_for_selector("#trouble")
    assert page.inner_text("#trouble-title").startswith("<b>broken.jpg: The image is damaged")
    assert page.inner_text("#trouble-detail")
    assert page.get_attribute("#trouble", "role") == "alert"
    shoot(page, "broken-file")
    read(page, ASTRONAUT)
    assert page.is_hidden("#trouble")


def test_a_file_that_is_no_picture_is_refused(visit, tmp_path):
    page = visit()
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#trouble")
    assert "not an image" in page.inner_text("#trouble-title") and "HEIC" in page.inner_text("#trouble-detail")


def test_a_photo_that_only_the_browser_can_decode(visit, tmp_path):
    Image.open(ASTRONAUT).convert("RGB").save(tmp_path / "photo.avif")
    page = read(visit(), tmp_path / "photo.avif")
    assert page.inner_text("#emotion").startswith("Happiness") and page.inner_text("#what").count("512") == 2
    with page.expect_download() as saved:
        page.click("#save-photo")
    with Image.open(saved.value.path()) as photo:
        assert photo.size == (512, 512)


def test_a_file_that_was_changed_is_not_blamed_on_the_server(visit, tmp_path):
    photo = tmp_path / "photo.jpg"
    shutil.copy(ASTRONAUT, photo)
    page = read(visit(), photo)
    with photo.open("ab") as file:
        file.write(b"more")
    page.check("#in-photo")
    page.wait_for_selector("#trouble")
    assert page.inner_text("#trouble-title") == "photo.jpg: The file cannot be read"


def test_a_sample_that_does_not_come_is_told(visit):
    page = visit()
    page.route("**/samples/*", lambda route: route.abort())
    page.click("[data-sample*=tilted]")
    page.wait_for_selector("text=lisa-tilted.webp: The sample does not come")
    assert page.is_hidden("#again")


def test_only_the_latest_photo_is_shown(visit, group):
    page = visit()
    for photo in (group, ASTRONAUT, group, ASTRONAUT):
        page.set_input_files("#file", photo)
    page.wait_for_selector(READ)
    assert page.inner_text("#what h1") == "astronaut.jpg" and page.locator("#boxes button").count() == 1
    assert page.is_hidden("#trouble")


def test_a_photo_without_a_face_can_be_read_as_one(visit, tmp_path):
    page = visit()
    Image.linear_gradient("L").resize((320, 240)).save(tmp_path / "gray.png")
    page.set_input_files("#file", tmp_path / "gray.png")
    page.wait_for_selector("text=No face found")
    assert page.is_hidden("#lab") and page.is_hidden("#reading")
    shoot(page, "no-face")
    page.click("#as-one-face")
    page.wait_for_selector(READ)
    assert page.locator("#boxes button").count() == 1


def test_a_picture_that_the_browser_cannot_show(visit, tmp_path):
    Image.open(ASTRONAUT).save(tmp_path / "scan.tif")
    page = read(visit(), tmp_path / "scan.tif")
    assert page.eval_on_selector("#picture", "picture => picture.naturalWidth") == 512
    assert page.locator("#boxes button").count() == 1


def test_a_busy_server_is_asked_again_and_a_silent_one_named(visit):
    page = visit()
    refuse(page, "**/v1/read*", 429, "Too much to do", **{"Retry-After": "0.05"})
    page.set_input_files("#file", ASTRONAUT)
    page.wait_for_selector("text=Too much to do")
    assert page.inner_text("#trouble-detail") == "what to do next"
    page.unroute("**/v1/read*")
    page.route("**/v1/read*", lambda route: route.abort())
    page.click("#again")
    page.wait_for_selector("text=The server does not answer")
    page.unroute("**/v1/read*")
    page.click("#again")
    page.wait_for_selector(READ)


@pytest.mark.parametrize(
    ("answer", "title", "detail"),
    [
        ({"status": 413, "body": "<h1>413</h1>"}, "photo.jpg: A proxy answers in pfvit’s place: 413", "of this size"),
        ({"status": 200, "body": "<h1>Log in</h1>"}, "A proxy answers in pfvit’s place", "log in again"),
        ({"status": 302, "headers": {"location": "https://sso.test"}}, "A proxy answers in pfvit’s place", "again"),
    ],
)
def test_a_proxy_that_answers_itself_is_told(visit, tmp_path, answer, title, detail):
    shutil.copy(ASTRONAUT, tmp_path / "photo.jpg")
    page = visit()
    page.route("**/v1/read*", lambda route: route.fulfill(content_type="text/html", **answer))
    page.set_input_files("#file", tmp_path / "photo.jpg")
    page.wait_for_selector("#trouble")
    assert page.inner_text("#trouble-title") == title and detail in page.inner_text("#trouble-detail")


@pytest.mark.parametrize("key", ["open sesame", "seşam"])
def test_a_locked_server_asks_for_its_key(visit, key):
    page = visit()

    def guard(route):
        if route.request.headers.get("authorization") == f"Bearer {key}":
            return route.continue_()
        return route.fulfill(
            status=401, body='{"title": "An API key is needed"}', content_type="application/problem+json"
        )

    page.route("**/v1/**", guard)
    page.set_input_files("#file", ASTRONAUT)
    page.wait_for_selector("text=Whoever runs this server can give it to you.")
    page.keyboard.type("wrong\n")  # the field has the focus
    page.wait_for_selector("text=The key that was given is not the right one.")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector(READ)


@pytest.mark.parametrize("way", ["drop", "drop two", "paste", "sample"])
def test_other_ways_in(visit, way):
    page = visit()
    if way == "sample":
        page.click("[data-sample*=astronaut]")
    else:
        page.evaluate(
            """async ([way, address]) => {
                const content = await (await fetch(address)).blob();
                const carried = new DataTransfer();
                for (const name of way === "drop two" ? ["carried.jpg", "other.jpg"] : ["carried.jpg"]) {
                    carried.items.add(new File([content], name, { type: "image/jpeg" }));
                }
                const event = way.startsWith("drop")
                    ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true });
                document.body.dispatchEvent(event);
            }""",
            [way, "samples/astronaut.webp"],
        )
    page.wait_for_selector(READ)
    assert page.locator("#boxes button").count() == 1
    told = page.inner_text("#trouble-title") if page.is_visible("#trouble") else ""
    assert told == ("carried.jpg: One photo is opened at a time" if way == "drop two" else "")


def test_the_camera_gives_a_photo(visit):
    page = visit()
    page.click("#start [data-camera]")
    page.wait_for_selector("body[data-state=camera]")
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.click("#snap")
    page.wait_for_selector(READ)
    assert page.inner_text("#emotion").startswith("Happiness")
    assert page.evaluate("document.getElementById('video').srcObject") is None  # the camera is off again


#: Keep what the camera gives, and give it only when the test says so.
LATE = """() => {
    const give = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    const wait = new Promise((go) => (window.go = go));
    window.tracks = [];
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        if (await wait) throw new DOMException("no", "NotAllowedError");
        const stream = await give(wanted);
        tracks.push(...stream.getTracks());
        return stream;
    };
}"""
ON = "tracks.filter(({ readyState }) => readyState === 'live').length"


def test_a_camera_that_was_asked_for_twice_is_off_when_it_is_stopped(visit):
    page = visit()
    page.evaluate(LATE)
    page.dblclick("#start [data-camera]")
    page.evaluate("go()")
    page.wait_for_function(f"() => tracks.length === 2 && {ON} === 1")
    page.click("#stop")
    assert page.evaluate(ON) == 0 and page.is_hidden("#trouble")


@pytest.mark.parametrize("refused", [True, False])
def test_a_camera_that_is_given_late_does_not_take_the_photo_away(visit, refused):
    page = visit()
    page.evaluate(LATE)
    page.click("#start [data-camera]")
    read(page, ASTRONAUT)
    page.evaluate(f"go({json.dumps(refused)})")
    page.wait_for_timeout(200)
    assert page.is_visible(READ) and page.inner_text("#what h1") == "astronaut.jpg"
    assert page.evaluate(ON) == 0 and page.is_hidden("#trouble")


def test_a_camera_that_is_refused_or_lost_is_told(visit):
    page = read(visit(), ASTRONAUT)
    page.evaluate(LATE)
    page.click("#work [data-camera]")
    page.evaluate("go(true)")
    page.wait_for_selector("text=The camera cannot be used")
    assert page.inner_text("#what h1") == "astronaut.jpg"  # the photo is still open
    page = visit()
    page.click("#start [data-camera]")
    page.wait_for_selector("#snap:visible")
    page.evaluate("video.srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    page.wait_for_selector("text=The camera does not answer any more")
    assert page.is_visible("#start")


def test_the_camera_is_read_live_one_frame_at_a_time(visit):
    page = visit()
    page.evaluate(FOLLOW)
    page.click("#start [data-camera]")
    page.click("#live")
    page.wait_for_selector("#boxes button")
    page.wait_for_function("() => document.getElementById('pace').textContent.includes('readings/s')")
    assert page.inner_text("#emotion").startswith("Happiness")
    page.check("#in-photo")
    page.wait_for_selector("#picture[src^=blob]:not([hidden])")
    shoot(page, "live")
    page.evaluate("for (const _ of 'ab') live.click()")  # off, and on again before the frame is read
    pace = page.inner_text("#pace")
    page.wait_for_function("pace => document.getElementById('pace').textContent !== pace", arg=pace)
    page.click("#live")
    page.wait_for_selector("#live[aria-pressed=false]")
    page.click("#stop")
    assert page.is_visible("#start") and page.evaluate("seen.most") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(visit, group, scheme):
    page = visit(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert fits(page)
    shoot(page, f"phone-empty-{scheme}")
    read(page, group)
    assert fits(page)
    shoot(page, f"phone-face-{scheme}")
    strip, card = page.locator("#strip").bounding_box(), page.locator(".photo").bounding_box()
    assert card["x"] <= strip["x"] and strip["x"] + strip["width"] <= card["x"] + card["width"]
    for button in page.query_selector_all("button:visible:not(.box)"):
        assert button.bounding_box()["height"] >= 24  # WCAG 2.2, 2.5.8
    page.goto(f"{page.url}docs")
    assert fits(page)


def test_a_phone_with_text_of_twice_the_size(visit, group):
    page = visit(viewport={"width": 390, "height": 740}, has_touch=True, is_mobile=True)
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    skip = page.locator(".skip").bounding_box()
    assert fits(page) and skip["y"] + skip["height"] <= 0  # it comes with the focus
    read(page, group)
    assert fits(page)
    lab = page.locator("#lab")
    assert lab.evaluate("lab => [...lab.children].every((part) => part.scrollWidth <= lab.clientWidth)")
    shoot(page, "phone-large-text")


def test_the_theme_can_be_turned_and_stays(visit):
    page = visit(color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#theme")
    dark = page.evaluate(paper)
    assert dark != light and page.get_attribute("#theme", "aria-pressed") == "true"
    page.reload()
    assert page.evaluate(paper) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_basics(visit, group, scheme):
    page = visit(color_scheme=scheme)
    look = (Path(__file__).parents[1] / "accessibility.js").read_text()
    assert page.evaluate(look, [AA, AA_LARGE]) == []
    read(page, group)
    assert page.evaluate(look, [AA, AA_LARGE]) == []
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    shoot(page, f"face-{scheme}")
    page.evaluate("strip.style.width = '60px'")  # what scrolls can be reached by keys, unless it is told not to
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('[aria-hidden=true]') === null"))
    assert all(reached)
    page.emulate_media(forced_colors="active")
    off = page.locator(".switch").first.screenshot()
    page.check("#in-photo")
    assert page.locator(".switch").first.screenshot() != off


@pytest.mark.skipif(not (SHARED / "photos").is_dir(), reason="no photos beside this checkout (shared/photos)")
@pytest.mark.parametrize(("photo", "faces"), [("solvay_conference_1927.jpg", 29), ("london_group_6x2.jpg", 12)])
def test_crowds(visit, photo, faces):
    page = read(visit(), SHARED / "photos" / photo)
    assert page.locator("#boxes button").count() == faces
    assert page.locator("#boxes span:visible").count() == 1  # names only where there is room
    shoot(page, photo.split("_")[0])

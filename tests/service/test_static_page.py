"""The page without a server: built by scripts/static_page, from a plain file server, in a real browser."""

import base64
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pfvit
from pfvit.inference.brows import ease_brows, soften_furrows
from pfvit.inference.face_change import FaceChange, movement_change
from pfvit.inference.face_edit import apply_change
from pfvit.inference.generator import (
    CLOSED,
    MUCH_LEFT,
    NOT_CLOSED,
    change_of,
    is_wide,
    rising,
    size_of,
)
from pfvit.inference.lip_shade import shade_lips
from pfvit.inference.skin_colour import in_colour_of_skin
from pfvit.inference.smile_folds import SIDE, soften_folds
from pfvit.inference.smile_parts import keep_still

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine: scripts/browser installs it", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'pfvit[dev]'")

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "assets" / "astronaut.jpg"
READ = "body[data-state=read] #viewer[data-shown][aria-busy=false]"
#: Asks the page's own api.js, as the page does; what comes back is JSON or a picture as a data URL.
CALL = """async ([photo, view, strength, whole]) => {
    const api = await import("./api.js");
    const blob = await (await fetch(photo)).blob();
    if (!view) return api.read(blob, { whole });
    const picture = await api.draw(blob, { view, strength, whole });
    return new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(picture);
    });
}"""

#: What brows.js makes of a face that does not move otherwise: the flow in halves of the side, and the light.
EASED = """async ([pixels, shares]) => {
    const { easeBrows, frownAndRaise, furrowLight } = await import("./browser/brows.js");
    const maps = new Float32Array(9 * 56 * 56);
    easeBrows(maps, 56, frownAndRaise(shares));
    const plane = (n) => maps.slice(n * 56 * 56, (n + 1) * 56 * 56);
    const parts = { base: [0, 1].map((n) => plane(n).map((v) => v / 2)), light: [6, 7, 8].map(plane) };
    return [[...maps.slice(0, 2 * 56 * 56)], [...furrowLight({ data: pixels }, parts, 56, 0.5)]];
}"""

#: What is left of a flow of ones, in halves of the side, in a smile of this probability.
STILL = """async (happy) => {
    const { keepStill } = await import("./browser/change.js");
    const maps = new Float32Array(9 * 56 * 56).fill(1);
    keepStill(maps, 56, happy);
    return [...maps];
}"""

#: The light of ones on a picture that the photo model saw.
COLOURED = """async (pixels) => {
    const { colourLight } = await import("./browser/change.js");
    const maps = new Float32Array(9 * 56 * 56).fill(1);
    colourLight(maps, 56, { data: Uint8ClampedArray.from(pixels), width: 112, height: 112 });
    return [...maps.slice(6 * 56 * 56)];
}"""

#: Whether maps are of a wide mouth, and how far others of it are trusted after much is left.
LOOKS = """async ([wide, left]) => {
    const { believed, isMuch, isWide } = await import("./browser/change.js");
    const one = (value) => ({ maps: new Float32Array(9 * 56 * 56).fill(value), size: 56, agreement: 0.9, trust: 0.5 });
    return [isWide(one(wide)), isMuch(one(left)), believed(one(wide), one(left)).trust];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The static page; the runtime comes from PFVIT_ONNXRUNTIME_WEB, or from npm where that can be reached."""
    out = tmp_path_factory.mktemp("static")
    given = os.environ.get("PFVIT_ONNXRUNTIME_WEB")
    words = [sys.executable, str(ROOT / "scripts" / "static_page"), str(out)]
    done = subprocess.run(words + (["--onnxruntime", given] if given else []), capture_output=True, text=True)
    if done.returncode and not given:
        pytest.skip("onnxruntime-web cannot be had from npm: set PFVIT_ONNXRUNTIME_WEB to its dist folder")
    assert done.returncode == 0, done.stderr
    shutil.copy(ASTRONAUT, out / "astronaut.jpg")
    with Image.open(ASTRONAUT) as photo:
        photo.rotate(90).save(out / "turned.png")
        photo.crop((191, 60, 262, 184)).save(out / "tight.png")
        photo.convert("RGB").point(lambda value: 0.2 * value + 30).save(out / "faint.png")
        grainy = np.asarray(photo.crop((150, 40, 300, 210)).resize((100, 113)), float)
        grainy += np.random.default_rng(0).normal(0, 45, grainy.shape)
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(out / "grainy.png")
        covered = photo.convert("RGB").crop((165, 55, 285, 175)).resize((60, 60))
        covered.paste((128, 128, 128), (0, 21, 60, 60))
        covered.save(out / "covered.png")
        tiny = photo.resize((128, 128))
        crowd = Image.new("RGB", (128 * 8, 128 * 6))
        for number in range(48):
            crowd.paste(tiny, (number % 8 * 128, number // 8 * 128))
        crowd.save(out / "crowd.png")
    return out


@pytest.fixture(scope="module")
def address(folder):
    """The folder behind the file server of `python -m http.server`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def page(address):
    """The page, with what it asked for and what went wrong in it."""
    with playwright.sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        tab.asked, tab.wrong = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.on("console", lambda line: tab.wrong.append(line.text) if line.type == "error" else None)
        tab.goto(address)
        yield tab
        browser.close()


def drawn(page, *words) -> np.ndarray:
    head, _, content = page.evaluate(CALL, list(words)).partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_sample_is_read_and_its_expression_taken_off(page, address):
    page.click("[data-sample='samples/astronaut.webp']")
    page.wait_for_selector(READ)
    assert page.inner_text("#emotion").startswith("Happiness")
    assert "this browser" in page.text_content("[data-where]") and page.query_selector("a[href=docs]") is None
    assert page.wrong == []
    away = [url for url in page.asked if not url.startswith((address, "blob:", "data:"))]
    assert away == [], "somebody else was asked"


def test_only_kinds_that_the_browser_shows_are_asked_for(page, tmp_path):
    assert "TIFF" not in page.text_content("#drop .fine")
    Image.new("RGB", (64, 64)).save(tmp_path / "scan.tif")
    page.set_input_files("#file", tmp_path / "scan.tif")
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.inner_text("#trouble-title") == "scan.tif: This is no photo that your browser can read"
    assert "TIFF" not in page.inner_text("#trouble-detail")


@pytest.mark.parametrize("name", ["astronaut.jpg", "turned.png", "tight.png", "faint.png", "grainy.png"])
def test_it_reads_as_the_package_does(name, page, folder):
    (face,) = page.evaluate(CALL, [name, "", 0, False])["images"][0]["faces"]
    (expected,) = (face.to_dict() for face in pfvit.read(folder / name))
    assert set(face) == set(expected) and face["emotion"] == expected["emotion"]
    assert face["box"] == pytest.approx(expected["box"], abs=0.06 * expected["box"][2])
    assert np.allclose(face["landmarks"], expected["landmarks"], atol=0.06 * expected["box"][2])
    ours = np.array(list(expected["probabilities"].values()))
    assert np.abs(np.array(list(face["probabilities"].values())) - ours).max() < 0.1
    assert json.dumps(face)


def test_it_looks_again_where_it_is_unsure_as_the_package_does(page, folder):
    (face,) = page.evaluate(CALL, ["covered.png", "", 0, True])["images"][0]["faces"]
    (expected,) = pfvit.read(folder / "covered.png", whole=True)
    assert expected.unsure and face["unsure"]
    assert list(face["probabilities"].values()) == pytest.approx(list(expected.probabilities.values()), abs=0.04)
    alone = pfvit.Reader().recogniser.run(("probabilities",), image=expected.crop[None])["probabilities"][0]
    assert np.abs(alone - list(expected.probabilities.values())).max() > 0.06  # so one look is not enough


def test_a_crowd_is_found(page):
    assert len(page.evaluate(CALL, ["crowd.png", "", 0, False])["images"][0]["faces"]) == 48


@pytest.mark.parametrize(("name", "gain"), [("astronaut.jpg", 1), ("faint.png", 5)])
def test_it_changes_a_face_as_the_package_does(name, gain, page, folder):
    photo = folder / name
    (face,) = pfvit.read(photo)
    theirs, ours = drawn(page, photo.name, "photo", 1, False).astype(int), face.paste_back(photo).astype(int)
    plain = drawn(page, photo.name, "photo", 0, False).astype(int)
    changed = np.abs(ours - plain).max(axis=2) > 12 / gain
    assert changed.sum() > 300, "the mouth moves"
    assert np.abs(theirs - ours)[changed].mean() < 0.35 * np.abs(plain - ours)[changed].mean()
    assert np.array_equal(theirs[300:], plain[300:]), "nothing changes outside the face"
    for view, size in (("face", face.crop.shape), ("map", face.crop.shape), ("reconstruction", (112, 112, 3))):
        assert np.allclose(drawn(page, photo.name, view, 1, False).shape, size, atol=6), view
    assert page.wrong == []


def test_it_exaggerates_as_the_package_does(page, folder):
    photo = folder / "astronaut.jpg"
    (face,) = pfvit.read(photo)
    theirs, ours = drawn(page, photo.name, "photo", -1, False).astype(int), face.paste_back(photo, -1).astype(int)
    plain = drawn(page, photo.name, "photo", 0, False).astype(int)
    changed = np.abs(ours - plain).max(axis=2) > 12
    assert changed.sum() > 300
    assert np.abs(theirs - ours)[changed].mean() < 0.35 * np.abs(plain - ours)[changed].mean()


@pytest.mark.parametrize("what", ["folds", "lips"])
def test_it_lights_the_skin_as_the_package_does(what, page, folder):
    Image.fromarray(pfvit.read(folder / "astronaut.jpg")[0].crop).save(folder / "crop.png")
    (face,) = pfvit.read(folder / "crop.png", whole=True)
    theirs, ours = drawn(page, "crop.png", "poker", 1, True).astype(int), face.poker_face().astype(int)
    hard = change_of(face.crop, *face._maps)
    soft = soften_folds(face.crop, hard)
    before, after = (hard, soft) if what == "folds" else (soft, shade_lips(face.crop, soft))
    without, lit = (apply_change(face.crop, change).astype(int) for change in (before, after))
    here = np.abs(lit - without).max(axis=2) > 5
    assert here.sum() > 100, "there is something to see"
    assert np.abs(theirs - ours)[here].mean() < 0.35 * np.abs(without - lit)[here].mean()


def test_it_changes_small_gray_faces_as_the_package_does(page, folder):
    with Image.open(folder / "astronaut.jpg") as photo:
        photo.convert("L").crop((165, 55, 285, 175)).resize((48, 48)).save(folder / "small.png")
    (face,) = pfvit.read(folder / "small.png", whole=True)
    theirs, ours = drawn(page, "small.png", "poker", 1, True).astype(int), face.poker_face().astype(int)
    less = change_of(face.crop, *face.generator.careful_maps([face.crop])[0])
    less = apply_change(face.crop, shade_lips(face.crop, soften_folds(face.crop, less))).astype(int)
    here = np.abs(ours - less).max(axis=2) > 3
    assert here.sum() > 50, "it is more than a neutral face would change by"
    assert np.abs(theirs - ours)[here].mean() < 0.4 * np.abs(less - ours)[here].mean()


@pytest.mark.parametrize("anger", [0.2, 0.55, 0.9])
def test_it_eases_brows_as_the_package_does(anger, page, folder):
    picture = pfvit.read(folder / "astronaut.jpg")[0].crop
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)))
    shares = {"neutral": 0.6, "anger": anger, "surprise": 0.07, "fear": 0.06}
    opaque = np.dstack([small, np.full((SIDE, SIDE), 255, np.uint8)])
    flow, light = page.evaluate(EASED, [opaque.ravel().tolist(), shares])
    flat = np.zeros((56, 56, 3), np.float32)
    eased = ease_brows(FaceChange(flat[..., :2], flat[..., :2], flat[..., 0], flat), shares)
    assert np.moveaxis(eased.base, 2, 0).ravel() * 2 == pytest.approx(flow, abs=1e-5)
    expected = soften_furrows(small, eased, 0.5)
    expected = np.concatenate([np.moveaxis(expected.light, 2, 0), expected.smooth[None]])
    assert np.abs(expected[:3]).max() > 0.02 and expected[3].max() > 0.4
    assert expected.ravel() == pytest.approx(light, abs=5e-3)


@pytest.mark.parametrize("happy", [0, 0.4, 1])
def test_it_keeps_still_what_a_smile_hardly_moves_as_the_package_does(page, happy):
    maps = np.ones((9, 56, 56), np.float32)
    kept = keep_still(movement_change(maps), {"happiness": happy}).base * 2
    maps[:2] = np.moveaxis(kept, 2, 0)
    assert maps.ravel() == pytest.approx(page.evaluate(STILL, happy), abs=1e-5)


def test_it_gives_light_the_colour_of_the_skin_as_the_package_does(page, folder):
    picture = pfvit.read(folder / "astronaut.jpg")[0].crop
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)))
    flat = np.zeros((56, 56, 3), np.float32)
    light = in_colour_of_skin(small, FaceChange(flat[..., :2], flat[..., :2], flat[..., 0], flat + 1)).light
    theirs = page.evaluate(COLOURED, np.dstack([small, np.full((SIDE, SIDE), 255, np.uint8)]).ravel().tolist())
    inside = np.s_[4:-4, 4:-4]  # at the border cubic filters differ
    assert np.array(theirs).reshape(3, 56, 56).transpose(1, 2, 0)[inside] == pytest.approx(light[inside], abs=0.03)
    assert np.ptp(light, axis=2).max() > 0.3


@pytest.mark.parametrize("wide", [-0.08, 0.06])
@pytest.mark.parametrize("left", [0.001, 0.0017, 0.003])
def test_it_looks_again_at_wide_mouths_as_the_package_does(page, wide, left):
    maps = [np.full((9, 56, 56), value, np.float32) for value in (wide, left)]
    size = size_of(maps[1], 0.9)
    trust = 0.5 * (1 - rising(size, CLOSED, NOT_CLOSED))
    assert page.evaluate(LOOKS, [wide, left]) == [is_wide(maps[0]), size > MUCH_LEFT, pytest.approx(trust, abs=1e-4)]

"""`pfvit report` from end to end, on faces and weights whose figures are known by hand."""

import csv
import json
import re
import shutil
from xml.etree import ElementTree

import fake_weights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png
from helpers import flat_png, voted

from pfvit.__main__ import main
from pfvit.emotions import EIGHT
from pfvit.report import changes, robustness, section

CENTRE = dict(zip(EIGHT, fake_weights.CENTRES.tolist(), strict=True))
SECTIONS = (*("recognition", "labels", "compare", "groups", "separation", "generation", "explanation", "robustness"),)
MOST_BYTES = 15_000_000


FEW = {name: changes.CHANGES[name] for name in ("darker", "mouth covered")}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(robustness, "CHANGES", FEW)
    monkeypatch.setattr(section, "DPI", 30)


@pytest.fixture
def weights(tmp_path):
    return fake_weights.write(tmp_path, temperature="0.5")


def near(name: str, rng: np.random.Generator) -> bytes:
    """A face of an emotion's brightness with something in it, so that no two are the same."""
    return png(np.clip(CENTRE[name] + rng.integers(-9, 10, (12, 12)), 0, 255).astype(np.uint8))


def many(path, rows: int = 48, **columns):
    """Faces of six emotions: all read rightly but the last, which shows fear and is called neutral by its votes."""
    rng = np.random.default_rng(0)
    told = []
    for place in range(rows - 1):
        name = EIGHT[place // 2 % 6]  # as many of each among the even and the odd rows
        told.append((near(name, rng), {name: 6 + place % 4, "fear": 2}, ""))
    told.append((near("fear", rng), {"neutral": 10}, ""))
    voted(path, told)
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)
    return path


def report(capsys, out, *words) -> tuple[int, dict, str]:
    status = main(["report", "--out", str(out), *map(str, words)])
    said = capsys.readouterr()
    there = out / "report.json"
    return status, json.loads(there.read_text()) if there.is_file() else {}, said.err


def cells(report: dict, part: str, table: str) -> list[dict]:
    found = report["sections"][part]["tables"][table]
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def notes(report: dict) -> str:
    return "\n".join(note for part in report["sections"].values() for note in part["notes"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A report with all that there can be in it, in its folder."""
    folder = tmp_path_factory.mktemp("whole")
    first, other = (fake_weights.write(folder, name, temperature="0.5") for name in ("fake", "other"))
    data = many(folder / "many.parquet", gender=["a", "b"] * 24, age=[None] * 48)
    words = ("--data", data, "--weights", first, other, "--judge", other, "--out", folder / "out")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(robustness, "CHANGES", FEW)
        assert main(["report", *map(str, words)]) == 0
    return folder / "out"


def test_files_and_page_hold_the_same(whole):
    told = json.loads((whole / "report.json").read_text())
    assert tuple(told["sections"]) == SECTIONS
    out = whole
    page = (out / "report.html").read_text()
    assert len(page) < MOST_BYTES and page.count("<figure>") == page.count("data:image/") > 15
    assert "://" not in re.sub(r'"data:[^"]*"', "", page) and "<script" not in page
    for svg in (out / "figures").glob("*.svg"):
        assert ElementTree.parse(svg).getroot().tag.endswith("svg") and svg.with_suffix(".png").is_file()
    for part, section_of in told["sections"].items():
        for name, table in section_of["tables"].items():
            with (out / "numbers" / f"{part}-{name}.csv").open() as file:
                header, *rows = list(csv.reader(file))
            assert header == table["columns"] and len(rows) == len(table["rows"])
    assert {path.stem for path in (out / "figures").glob("generation-*.png")} >= {
        *(f"generation-{name}" for name in ("neutral", "happiness", "called-neutral", "controls", "dial"))
    }
    card = (out / "model-card.md").read_text()
    assert f"| all | 48 | WAR (accuracy) | {47 / 48:.3f} |" in card and "must not be used" in card


def test_figures_by_hand(whole):
    told = json.loads((whole / "report.json").read_text())
    war = cells(told, "recognition", "summary")[0]
    assert (war["measure"], war["faces"], war["value"]) == ("WAR (accuracy)", 48, pytest.approx(47 / 48))
    groups = cells(told, "groups", "groups")
    assert [(row["column"], row["group"], row["faces"], row["small"]) for row in groups] == [
        ("gender", "a", 24, True),
        ("gender", "b", 24, True),
    ]
    assert all(row["its low"] <= row["mean recall"] <= row["its high"] for row in groups)
    assert groups[1]["accuracy"] == pytest.approx(23 / 24) and "The column age is empty" in notes(told)
    (pair, *_) = cells(told, "compare", "paired")
    assert (pair["only the first right"], pair["only this right"], pair["p (McNemar)"]) == (0, 0, 1)
    hardest = [(row["face"], row["label"], row["votes"]) for row in cells(told, "labels", "hardest")]
    assert hardest == [("many.parquet#47", "neutral", "neutral 10")]
    changed = cells(told, "robustness", "robustness")
    assert [row["change"] for row in changed] == ["none", *["darker"] * 5, *["mouth covered"] * 5]
    # A fifth of the light turns all but the darkest into other emotions.
    assert changed[0]["accuracy"] == pytest.approx(47 / 48) and changed[5]["accuracy"] < 0.5
    # The fake weights put the brightness into the residue and nothing into the emotion.
    probes = {(row["component"], row["probe"]): row["accuracy"] for row in cells(told, "separation", "probes")}
    assert probes["residue", "nearest neighbours"] > 0.9 and probes["emotion", "nearest neighbours"] < 0.4
    assert "emotion: all faces have the same values" in notes(told)
    assert "no attention in its graph" in notes(told)


def test_figures_are_those_of_evaluate(tmp_path, weights, capsys):
    data = many(tmp_path / "many.parquet")
    _, told, _ = report(capsys, tmp_path / "out", "--data", data, "--weights", weights)
    main(["evaluate", "--data", str(data), "--weights", str(weights), "--json"])
    evaluated = json.loads(capsys.readouterr().out)
    for part, protocol in ((evaluated, "all"), (evaluated["majority"], "majority")):
        rows = [row for row in cells(told, "recognition", "summary") if row["protocol"] == protocol]
        for row, key in zip(rows, ("war", "uar", "macro_f1", "ece"), strict=True):
            assert (row["value"], [row["low"], row["high"]]) == (part[key], part[f"{key}_ci"])
    poker = {row["measure"]: row for row in cells(told, "generation", "poker")}
    assert poker["mean change of an expressive face"]["value"] == evaluated["poker"]["expression_change_l1"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in poker.values())
    # The same faces, by emotion.
    called = [row for row in cells(told, "generation", "called-neutral") if row["when"] == "after"]
    moved = [row for row in called if row["emotion"] != "neutral"]
    right = sum(row["called neutral"] * row["faces"] for row in moved) / sum(row["faces"] for row in moved)
    assert right == pytest.approx(poker["the same faces after `pfvit poker`"]["value"])


def test_one_emotion_without_neutral_faces(tmp_path, weights, capsys):
    rng = np.random.default_rng(0)
    data = voted(tmp_path / "one.parquet", [(near("anger", rng), {"anger": 9}, "") for _ in range(12)])
    status, told, _ = report(capsys, tmp_path / "out", "--data", data, "--weights", weights)
    assert status == 0 and tuple(told["sections"]) == SECTIONS
    for what in ("All faces show one emotion", "No face is neutral", "No face shows neutral, happiness"):
        assert what in notes(told)


def test_neutral_faces_alone(tmp_path, weights, capsys):
    rng = np.random.default_rng(0)
    data = voted(tmp_path / "calm.parquet", [(near("neutral", rng), {"neutral": 9}, "") for _ in range(6)])
    words = ("--data", data, "--weights", weights, "--judge", weights)
    status, told, said = report(capsys, tmp_path / "out", *words)
    assert status == 0 and "Warning" not in said
    for what in ("what a poker face takes off cannot be computed", "there is nothing to explain"):
        assert what in notes(told)


@pytest.mark.parametrize("rows", [1, 10])
def test_a_few_rows(rows, tmp_path, weights, capsys):
    data = many(tmp_path / "few.parquet", rows)
    status, told, said = report(capsys, tmp_path / "out", "--data", data, "--weights", weights)
    assert status == 0, said
    assert f"{rows} faces" in told["rows"] and "their figures are uncertain" in notes(told)


def test_labels_without_votes_and_labels_that_the_weights_do_not_know(tmp_path, capsys):
    weights = fake_weights.write(tmp_path, labels=json.dumps([*EIGHT[:7], "boredom"]))
    rng = np.random.default_rng(0)
    names = ("neutral", "happiness", "contempt", "fear")  # 0, 1, 7 and 4 in AffectNet's order
    table = {
        "image": pa.array([near(names[place % 4], rng) for place in range(16)]),
        "label": pa.array([(0, 1, 7, 4)[place % 4] for place in range(16)]),
    }
    pq.write_table(pa.table(table), tmp_path / "plain.parquet")
    words = ("--data", tmp_path / "plain.parquet", "--weights", weights, "--order", "affectnet8")
    status, told, said = report(capsys, tmp_path / "out", *words)
    assert status == 0, said
    assert told["left_out"]["no_emotion"] == 4
    assert "Faces are left out whose labels the weights do not know: contempt (4)." in notes(told)
    assert "no votes" in notes(told) and "protocol majority cannot be computed" in notes(told)


def test_without_a_generator(tmp_path, capsys):
    weights = fake_weights.write(tmp_path, generator=False)
    status, told, _ = report(capsys, tmp_path / "out", "--data", many(tmp_path / "m.parquet", 12), "--weights", weights)
    assert status == 0
    for what in ("Poker faces cannot be shown", "Poker faces of changed faces cannot"):
        assert what in notes(told)
    assert told["sections"]["separation"]["tables"]["retrieval"]["rows"]  # components need no generator


def test_classes_of_one_s_own_without_neutral(tmp_path, capsys):
    names = ("awe", "boredom", "calm", "doubt", "envy", "flow", "grief", "hope")
    weights = fake_weights.write(tmp_path, labels=json.dumps(names))
    rows = [(near(EIGHT[place % 8], np.random.default_rng(place)), names[place % 8]) for place in range(16)]
    table = {"image": [row[0] for row in rows], "label": [row[1] for row in rows]}
    pq.write_table(pa.table(table), tmp_path / "own.parquet")
    words = ("--data", tmp_path / "own.parquet", "--weights", weights)
    status, told, said = report(capsys, tmp_path / "out", *words)
    assert status == 0, said
    assert [row["emotion"] for row in cells(told, "recognition", "classes")] == list(names)
    assert "fake.onnx has no class neutral, so it makes no poker faces" in notes(told)
    assert "No face shows an expression whose muscles FACS names" in notes(told)


def test_mistakes_are_explained(tmp_path, weights, capsys):
    data = many(tmp_path / "m.parquet", 6)
    status, _, said = report(capsys, tmp_path / "out", "--data", data, "--weights", weights, "--groups", "height")
    assert status == 2 and "--groups height: not all of the data has this column" in said
    status, _, said = report(capsys, tmp_path / "out", "--data", tmp_path / "none.parquet", "--weights", weights)
    assert status == 1 and "none.parquet is not there" in said
    unlabelled = voted(tmp_path / "u.parquet", [(flat_png(16), {"NF": 10}, "")])
    status, _, said = report(capsys, tmp_path / "out", "--data", unlabelled, "--weights", weights)
    assert status == 1 and "no labelled face" in said
    strange = {"image": [flat_png(16)] * 3, "label": ["grief", "calm", "grief"]}
    pq.write_table(pa.table(strange), tmp_path / "strange.parquet")
    status, _, said = report(capsys, tmp_path / "out", "--data", tmp_path / "strange.parquet", "--weights", weights)
    assert status == 1 and "could name: 3 of other classes (grief, calm)" in said
    pq.write_table(pq.read_table(data).slice(0, 0), tmp_path / "nothing.parquet")
    status, _, said = report(capsys, tmp_path / "out", "--data", tmp_path / "nothing.parquet", "--weights", weights)
    assert status == 1 and "no labelled face in" in said
    (tmp_path / "file").write_text("in the way")
    status, _, said = report(capsys, tmp_path / "file", "--data", data, "--weights", weights)
    assert status == 1 and "cannot be a folder: a file is in the way" in said


def test_groups_of_any_name_and_of_nothing(tmp_path, weights, capsys):
    names = ["$1k-$5k", "$x^$ & <b>", None] * 4
    data = many(tmp_path / "m.parquet", 12, race=names, age=range(12), sex=[f"{place}" for place in range(12)])
    words = ("--data", data, "--weights", weights, "--groups", "race", "--sample", 4)
    status, told, _ = report(capsys, tmp_path / "out", *words)
    assert status == 0 and [row["group"] for row in cells(told, "groups", "groups")] == names[:2]
    assert "race: 4 faces are in no group" in notes(told) and "fewer than 50 faces" in notes(told)
    assert "<b>" not in (tmp_path / "out" / "report.html").read_text()


def test_groups_of_a_list(tmp_path, weights, capsys):
    for row in range(12):
        (tmp_path / f"{row}.png").write_bytes(flat_png(16 + row))
    lines = [f"{row}.png;neutral;{'ab'[row // 8]}{'' if row else 'x'}" for row in range(12)]
    (tmp_path / "list.csv").write_text("\n".join(["file;label; Gender", *lines]))
    words = ("--data", tmp_path / "list.csv", "--weights", weights, "--sample", 4)
    for place, more in enumerate(((), ("--groups", "Gender"))):
        status, told, _ = report(capsys, tmp_path / f"{place}", *words, *more)
        found = [(row["group"], row["faces"]) for row in cells(told, "groups", "groups")]
        assert status == 0 and sorted(found) == [("a", 7), ("ax", 1), ("b", 4)]
    (tmp_path / "folders" / "happy").mkdir(parents=True)
    (tmp_path / "folders" / "sad").mkdir()
    for name in ("happy", "sad"):
        (tmp_path / "folders" / name / "a.png").write_bytes(flat_png(16))
    words = ("--data", tmp_path / "folders", "--weights", weights, "--groups", "age")
    status, _, said = report(capsys, tmp_path / "out", *words)
    assert status == 2 and "--groups age: not all of the data has this column" in said and "folders has not" in said


def test_a_damaged_row_is_named_and_the_rest_is_reported(tmp_path, weights, capsys):
    data = voted(tmp_path / "d.parquet", [(flat_png(16), {"neutral": 9}, ""), (b"none", {"neutral": 9}, "")] * 2)
    status, told, said = report(capsys, tmp_path / "out", "--data", data, "--weights", weights)
    assert status == 1 and told["left_out"]["unreadable"] == 2 and "d.parquet#1" in said


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: scripts/browser installs it")
def test_the_page_in_a_browser(whole):
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'pfvit[dev]'")
    faults, asked = [], []
    with playwright.sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1000, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((whole / "report.html").as_uri(), timeout=120_000)
        sizes = page.evaluate(
            "Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.alt.length])))"
        )
        overflows = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        printed = page.pdf(format="A4")
        browser.close()
    assert faults == [] and len(sizes) > 12 and all(width > 100 and words > 20 for width, words in sizes)
    assert not overflows and printed.startswith(b"%PDF")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []

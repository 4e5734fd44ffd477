"""`pfvit predict --output`: every picture once, whole or not there, and a run that goes on where it was cut."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_weights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png
from helpers import PHOTO, rows_of

from pfvit import Reader
from pfvit.__main__ import main
from pfvit.commands.result_table import MOVEMENT, FinishedTable, Records
from pfvit.emotions import EIGHT
from pfvit.errors import InputError


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return fake_weights.write(tmp_path / "weights")


@pytest.fixture
def photos(tmp_path) -> Path:
    """Eight crops, one for each emotion, and one that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, bright in zip(EIGHT, fake_weights.CENTRES, strict=True):
        (folder / f"{name}.png").write_bytes(png(np.full((20, 20, 3), bright, np.uint8)))
    (folder / "broken.jpg").write_text("a text")
    return folder


def predict(capsys, weights, *words) -> tuple[int, str]:
    status = main(["predict", *map(str, words), "--whole", "--weights", str(weights)])
    said = capsys.readouterr()
    assert said.out == ""
    return status, said.err


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_one_row_per_face_in_order_and_the_broken_one_says_why(form, photos, weights, tmp_path, capsys):
    out = tmp_path / "new" / f"out.{form}"
    status, said = predict(capsys, weights, photos, "--output", out)
    assert status == 1 and "broken.jpg" in said and "out" in said
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    rows = rows_of(out)
    assert [Path(row["source"]).stem for row in rows] == sorted([*EIGHT, "broken"])
    for row in rows:
        name = Path(row["source"]).stem
        if name == "broken":
            assert "not a picture" in row["error"] and not row.get("emotion")
            continue
        assert row["emotion"] == name and not row.get("error")
        share = row["probabilities"][name] if form == "jsonl" else row[name]
        assert float(share) > 0.9
        assert [int(v) for v in (row["box"] if form == "jsonl" else [row["left"], row["width"]])][-1] == 20


def test_a_picture_without_faces_has_a_row(weights, tmp_path, monkeypatch, capsys):
    class Blind:
        def detect(self, image):
            return []

    monkeypatch.setattr(Reader, "detector", Blind())
    (tmp_path / "a.png").write_bytes(png(np.zeros((20, 20, 3), np.uint8)))
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path / "a.png"), "--weights", str(weights), "--output", str(out)]) == 0
    (row,) = rows_of(out)
    assert row["source"].endswith("a.png") and not row["face"] and not row["emotion"] and not row["error"]


def test_a_run_that_was_cut_goes_on_and_reads_nothing_twice(photos, weights, tmp_path, capsys, monkeypatch):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    predict(capsys, weights, photos, "--output", whole)
    lines = whole.read_text().splitlines(keepends=True)
    assert not any("settings" in json.loads(line) for line in lines)
    part = tmp_path / "cut.jsonl.part"
    part.write_text("".join(lines[:4]) + lines[4][:30])  # four rows, and half of the fifth
    status, said = predict(capsys, weights, photos, "--output", cut)
    assert status == 1 and "--resume goes on" in said and not cut.exists()
    read = []
    from pfvit.inference import reader

    load = reader.load
    monkeypatch.setattr(reader, "load", lambda image, name: (read.append(Path(name).stem), load(image, name))[1])
    predict(capsys, weights, photos, "--output", cut, "--resume")
    assert cut.read_text() == whole.read_text() and not part.exists()
    assert read == [Path(json.loads(line)["source"]).stem for line in lines[4:]]


def test_pictures_of_an_earlier_run_that_are_not_named_any_more_are_told(photos, weights, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    predict(capsys, weights, photos, "--output", out)
    out.rename(tmp_path / "out.jsonl.part")  # its last picture is read anew
    _, said = predict(capsys, weights, photos / "neutral.png", "--output", out, "--resume")
    others = len({row["source"] for row in rows_of(out)} - {str(photos / "neutral.png")})
    assert f"out.jsonl is written, with {others} pictures of the earlier run that are not named now" in said


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_table_that_is_finished_is_left_as_it_is(form, photos, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / "neutral.png").rename(photos / "=neutral.png")  # a formula, for a spreadsheet
    out = tmp_path / f"out.{form}"
    names = [*sorted(path.name for path in photos.glob("*.png")), "anger.png"]
    assert predict(capsys, weights, *names, "--output", out)[0] == 0
    before = out.read_bytes(), out.stat().st_mtime_ns
    status, said = predict(capsys, weights, *names, "--output", out, "--resume")
    assert status == 0 and "nothing is left to do" in said
    assert predict(capsys, weights, *names[2:], "--output", out, "--resume")[0] == 0
    for more, why in (
        (["broken.jpg"], "without broken.jpg"),
        (["anger.png", "broken.jpg"], "without 2 pictures (anger.png"),  # as it was named twice, and not thrice
        (["--movement"], "without movement_brows"),
    ):
        status, said = predict(capsys, weights, *names, *more, "--output", out, "--resume")
        assert status == 1 and why in said, said
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    assert not (tmp_path / f"out.{form}.part").exists()


def test_a_finished_table_keeps_the_status_of_its_run(photos, weights, tmp_path, capsys):
    out = tmp_path / "out.csv"
    for more in ([], ["--resume"], ["--resume"]):
        assert predict(capsys, weights, photos, "--output", out, *more)[0] == 1
    assert "1 of its pictures could not be read" in predict(capsys, weights, photos, "--output", out, "--resume")[1]


def test_what_could_not_be_read_is_not_tried_again(photos, weights, tmp_path, capsys, monkeypatch):
    """Killed three times, a missing file, a table that is none and a broken row have one row each, and status 1."""
    (tmp_path / "none.parquet").write_bytes(b"PAR1")
    images = pa.array([png(np.full((20, 20, 3), 90, np.uint8)), b"text", png(np.full((20, 20, 3), 200, np.uint8))])
    pq.write_table(pa.table({"image": images}), tmp_path / "rows.parquet")
    paths = [tmp_path / "none.jpg", tmp_path / "none.parquet", tmp_path / "rows.parquet", photos]
    out = tmp_path / "o.jsonl"
    add, left = Records.write, []

    def killed(self, rows):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        add(self, rows)

    monkeypatch.setattr(Records, "write", killed)
    for count in (4, 3, 5):  # with the settings that the first one writes
        left[:] = [None] * count
        assert predict(capsys, weights, *paths, "--output", out, *(["--resume"] if count != 4 else []))[0] == 130
    monkeypatch.undo()
    assert predict(capsys, weights, *paths, "--output", out, "--resume")[0] == 1
    sources = [row["source"] for row in rows_of(out)]
    assert len(sources) == len(set(sources)) == 2 + 3 + 9
    assert sum("error" in row for row in rows_of(out)) == 4


def test_names_that_repeat_are_counted(weights, tmp_path, capsys):
    import pyarrow as pa

    images = [png(np.full((20, 20, 3), bright, np.uint8)) for bright in (16, 48, 80)]
    pq.write_table(pa.table({"image": images, "name": ["x", "x", "y"]}), tmp_path / "t.parquet")
    out = tmp_path / "out.jsonl"
    predict(capsys, weights, tmp_path / "t.parquet", "--output", out)
    rows = rows_of(out)
    (tmp_path / "again.jsonl.part").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    predict(capsys, weights, tmp_path / "t.parquet", "--output", tmp_path / "again.jsonl", "--resume")
    assert rows_of(tmp_path / "again.jsonl") == rows and [row["source"] for row in rows] == ["x", "x", "y"]


def test_a_kill_loses_little_and_nothing_looks_whole(weights, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(600):
        (folder / f"{i:03}.png").write_bytes(png(np.full((20, 20, 3), i % 256, np.uint8)))
    out, part = tmp_path / "out.csv", tmp_path / "out.csv.part"
    words = ["predict", str(folder), "--whole", "--weights", str(weights), "--output", str(out)]
    child = subprocess.Popen([sys.executable, "-m", "pfvit", *words], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert part.exists() and not out.exists()
    done = subprocess.run([sys.executable, "-m", "pfvit", *words, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [Path(row["source"]).stem for row in rows_of(out)] == [f"{i:03}" for i in range(600)]


def test_outputs_that_cannot_be(photos, weights, tmp_path, capsys):
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "junk.csv.part").write_text("what is this\n")
    for out, more, status, why in (
        ("out.txt", [], 2, "must end in .jsonl, .csv, .parquet"),
        ("there.csv", [], 1, "exists already"),
        ("there.csv", ["--resume"], 1, "exists already"),
        ("folder.csv", [], 1, "is a folder"),
        ("there.csv/x.csv", [], 1, "cannot be written"),
        ("junk.csv", ["--resume"], 1, "is not what an earlier run left"),
    ):
        got, said = predict(capsys, weights, photos, "--output", tmp_path / out, *more)
        assert got == status and why in said, (out, said)
    assert (tmp_path / "there.csv").read_text() == "mine"
    for words, why in (
        (["--resume"], "name it"),
        (["--top", "0"], "--top must be"),
        (["--min-score", "2"], "--min-score must be"),
    ):
        assert main(["predict", str(photos), *words, "--weights", str(weights)]) == 2
        assert why in capsys.readouterr().err


def test_two_processes_do_not_write_the_same_file(photos, weights, tmp_path, capsys):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "out.csv.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        status, said = predict(capsys, weights, photos, "--output", tmp_path / "out.csv", "--resume")
    assert status == 1 and "another process" in said


def test_a_full_disk_keeps_what_was_done(photos, weights, tmp_path, capsys, monkeypatch):
    from pfvit.commands.result_table import Records

    def full(self, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Records, "_csv", full)
    status, said = predict(capsys, weights, photos, "--output", tmp_path / "out.csv")
    assert status == 1 and "No space left on device" in said
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv.part", "photos", "weights"}


def test_patterns_and_standard_input(photos, weights, tmp_path):
    def run(*words, content=None):
        command = [
            sys.executable,
            "-m",
            "pfvit",
            "predict",
            *map(str, words),
            "--whole",
            "--json",
            "--weights",
            weights,
        ]
        return subprocess.run(command, input=content, capture_output=True)

    done = run(f"{tmp_path}/**/[ns]*.png")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and {face["emotion"] for face in found} == {"neutral", "surprise", "sadness"}
    done = run(f"{tmp_path}/*.tiff")
    assert done.returncode == 1 and b"no file is like" in done.stderr
    done = run("-", content=(photos / "fear.png").read_bytes())
    (face,) = map(json.loads, done.stdout.splitlines())
    assert (face["source"], face["emotion"]) == ("-", "fear")
    done = run("-", content=b"nothing")
    assert done.returncode == 1 and b"standard input is not a picture" in done.stderr


def test_photos_are_annotated(weights, tmp_path, monkeypatch, capsys):
    from PIL import Image

    from pfvit.detection.base import Face

    class Two:
        def detect(self, image):
            return [Face((10, 30, 40, 40), 0.9), Face((80, 30, 40, 40), 0.4)]

    monkeypatch.setattr(Reader, "detector", Two())
    (tmp_path / "a.png").write_bytes(png(np.full((100, 140, 3), 48, np.uint8)))
    words = [
        "predict",
        str(tmp_path / "a.png"),
        "--weights",
        str(weights),
        "--annotate",
        str(tmp_path / "out"),
        "--top",
        "1",
    ]
    for more, boxes in (([], 2), (["--min-score", "0.5"], 1)):
        assert main([*words, *more]) == 0
        assert "happiness" in capsys.readouterr().out
        with Image.open(tmp_path / "out" / "a.png") as shown:
            row = np.asarray(shown)[50] != 48  # across both faces: an edge on either side of each box
        assert row[[10, 49]].any() and row[80:125].any() == (boxes == 2)


def test_movement_has_columns_of_its_own(tmp_path, capsys):
    """The portrait smiles; what is no face does not move."""
    photo, small = tmp_path / "a.jpg", tmp_path / "b.png"
    photo.write_bytes(PHOTO.read_bytes())
    small.write_bytes(png(np.full((48, 48), 128, np.uint8)))
    table = tmp_path / "people.csv"
    assert main(["predict", str(photo), "--movement", "--output", str(table)]) == 0
    (row,) = csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines())
    moved = {name: float(row[name]) for name in MOVEMENT}
    assert moved["movement_mouth_width"] > 0.05 and moved["movement_mouth_corners"] > 0.02
    assert moved["movement_mouth_opening"] >= 0 and all(abs(value) < 1 for value in moved.values())
    capsys.readouterr()
    assert main(["predict", str(small), "--movement", "--json", "--whole"]) == 0
    assert all(abs(value) < 0.02 for value in json.loads(capsys.readouterr().out)["movement"].values())
    assert main(["predict", str(photo), "--json"]) == 0
    assert "movement" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", '{"source": "a", "box": 3}', '{"face": 1}'])
def test_what_is_no_finished_table_is_told(text, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(InputError, match="exists already, and is no table of faces"):
        FinishedTable(path, ())

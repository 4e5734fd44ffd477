"""What people hand to `predict` and `poker`, and what they get: odd names, pipes, own output, tables, kept metadata."""

import errno
import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import fake_weights
import numpy as np
import pytest
from conftest import inside, pfvit, png
from helpers import flat, rows_of
from PIL import Image, ImageCms
from rich.cells import cell_len
from rich.console import Console

from pfvit import Reader
from pfvit.commands.output_files import save
from pfvit.commands.predict import BAR, cells, table_of
from pfvit.data import images
from pfvit.detection.base import Face
from pfvit.rendering import with_alpha

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


class Middle:
    """Finds a face in the middle of pictures that are not black."""

    def detect(self, image):
        return [Face((10, 10, 20, 20), 0.9)] if image.any() else []


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return fake_weights.write(tmp_path / "weights")


@pytest.fixture
def middle(monkeypatch):
    monkeypatch.setattr(Reader, "detector", Middle())


# Names.

LATIN = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def latin(tmp_path):
    """A folder with a name of Latin-1 bytes, as old archives and cameras leave them."""
    folder = tmp_path / "d"
    folder.mkdir()
    try:
        (folder / LATIN).write_bytes(png(flat(48)))
    except OSError:
        pytest.skip("this file system takes no such names")
    (folder / "ok.png").write_bytes(png(flat(16)))
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_names_that_are_no_utf8_are_written_with_an_escape(form, latin, weights, tmp_path, capsys):
    out = tmp_path / f"n.{form}"
    words = ["predict", latin, "--whole", "--weights", weights, "--output", out]
    assert inside(capsys, *words).returncode == 0
    assert [Path(row["source"]).name for row in rows_of(out)] == [r"caf\xe9.png", "ok.png"]
    out.rename(tmp_path / "before")
    (tmp_path / f"n.{form}.part").write_text("")
    assert inside(capsys, *words, "--resume").returncode == 0 and len(rows_of(out)) == 2


def test_such_names_go_through_every_way_out(latin, weights, tmp_path, capsys):
    words = [latin, "--whole", "--weights", weights]
    done = inside(capsys, "predict", *words, "--json", "--annotate", tmp_path / "a")
    assert done.returncode == 0 and r"caf\\xe9.png" in done.stdout and done.stdout.encode()
    done = inside(capsys, "poker", *words, "--out", tmp_path / "out")
    assert done.returncode == 0 and len(list((tmp_path / "out").iterdir())) == 2
    assert inside(capsys, "predict", *words).stdout.count("png") == 2
    for processes in (1, 2):
        out = tmp_path / f"b{processes}"
        done = inside(capsys, "batch", *words, "--out", out, "--rows", 1, "--processes", processes)
        assert done.returncode == 0, done.stderr
        found = [row for part in sorted((out / "faces").glob("*.parquet")) for row in rows_of(part)]
        assert [Path(row["source"]).name for row in found] == [r"caf\xe9.png", "ok.png"]
    assert Reader(weights).read(latin / LATIN, whole=True)[0].source.endswith(r"caf\xe9.png")


def test_a_csv_opens_right_in_a_spreadsheet(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.png", "@x.png", "日本語.png"):
        Path(name).write_bytes(png(flat(16)))
    names = ["./-2.png", "日本語.png"]
    Path("-2.png").write_bytes(png(flat(16)))
    words = ["predict", "=1+1.png", "@x.png", *names, "--whole", "--weights", weights, "--output", "e.csv"]
    assert inside(capsys, *words).returncode == 0
    assert Path("e.csv").read_bytes().startswith(b"\xef\xbb\xbfsource,")
    assert [row["source"] for row in rows_of(Path("e.csv"))] == ["'=1+1.png", "'@x.png", "'-2.png", "日本語.png"]
    assert float(rows_of(Path("e.csv"))[0]["neutral"]) > 0.9, "numbers stay numbers"


# Pipes and addresses.


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_are_read(weights, tmp_path):
    content = png(flat(48))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    words = [sys.executable, "-m", "pfvit", "predict", "--whole", "--json", "--weights", str(weights)]
    done = subprocess.run([*words, str(pipe)], capture_output=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)["emotion"] == "happiness", done.stderr
    done = subprocess.run([*words, "/dev/stdin"], input=content, capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout)["emotion"] == "happiness", done.stderr


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "http://x/y", "ftp://x/a.png", "s3://bucket/a.jpg"])
def test_addresses_are_told_as_they_were_given(address, weights, capsys):
    done = inside(capsys, "predict", address, "--weights", weights)
    assert done.returncode == 1 and f"{address} is an address: download it first" in done.stderr


# What --json says of each picture.


def test_json_has_the_rows_that_output_has(weights, tmp_path, capsys, middle):
    (tmp_path / "html.jpg").write_text("<!doctype html>")
    (tmp_path / "black.png").write_bytes(png(flat(0)))
    (tmp_path / "face.png").write_bytes(png(flat(48, 40, 40)))
    words = ["predict", *(tmp_path / name for name in ("face.png", "html.jpg", "black.png", "gone.png"))]
    words += ["--weights", weights]
    done = inside(capsys, *words, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and rows[0]["emotion"] == "happiness" and rows[2] == {"source": str(words[3])}
    assert [row.keys() for row in (rows[1], rows[3])] == [{"source", "error"}] * 2
    assert "black.png: no face found; the picture is nearly black" in done.stderr
    assert inside(capsys, *words, "--output", tmp_path / "x.jsonl").returncode == 1
    assert rows_of(tmp_path / "x.jsonl") == rows


def test_to_go_on_under_other_settings_is_refused(weights, tmp_path, capsys):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(flat(16)))
    part = tmp_path / "x.csv.part"
    words = ["predict", *tmp_path.glob("*.png"), "--weights", weights, "--output", tmp_path / "x.csv"]
    assert inside(capsys, *words, "--whole").returncode == 0
    (tmp_path / "other").mkdir()
    settings = {"weights": "0123", "whole": True, "look": "normal", "min_score": 0.0}
    left = json.dumps({"settings": settings}) + "\n" + json.dumps({"source": str(words[1])}) + "\n"
    (tmp_path / "x.csv").unlink()
    for more, why in (
        ([], "--whole"),
        (["--whole", "--look", "quick"], "--look"),
        (["--whole", "--min-score", 0.5], "--min-score"),
        (["--whole", "--weights", fake_weights.write(tmp_path / "other", pair="other")], "--weights"),
    ):
        part.write_text(left)
        done = inside(capsys, *words, *more, "--resume")
        assert done.returncode == 1 and f"was begun with another {why}: give the same, or delete it" in done.stderr
    assert inside(capsys, *words, "--whole", "--resume").returncode == 0 and len(rows_of(tmp_path / "x.csv")) == 3


def test_faces_left_out_by_score_do_not_confuse_a_run_that_goes_on(weights, tmp_path, capsys, monkeypatch):
    class Two:
        def detect(self, image):
            return [Face((0, 0, 10, 10), 0.5), Face((20, 20, 10, 10), 0.9)]

    monkeypatch.setattr(Reader, "detector", Two())
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(flat(16, 40, 40)))
    words = ["predict", *sorted(tmp_path.glob("*.png")), "--weights", weights, "--min-score", 0.7, "--output"]
    inside(capsys, *words, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 4 and all(json.loads(line)["face"] == 1 for line in lines)
    (tmp_path / "cut.jsonl.part").write_text("".join(lines[:3]))
    inside(capsys, *words, tmp_path / "cut.jsonl", "--resume")
    assert (tmp_path / "cut.jsonl").read_text() == "".join(lines)


def test_pictures_whose_faces_all_score_too_little_are_named(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Reader, "detector", Middle())
    (tmp_path / "a.png").write_bytes(png(flat(16, 40, 40)))
    done = inside(capsys, "predict", tmp_path / "a.png", "--weights", weights, "--min-score", 0.95)
    assert done.returncode == 0 and not done.stdout
    assert "a.png: no face scores 0.95 or more (--min-score), the best 0.90" in done.stderr


# The table for people.


@pytest.fixture
def lines(weights):
    reader = Reader(weights, threads=1)
    (short,) = reader.read(np.full((20, 20, 3), 16, np.uint8), whole=True, source="a.jpg")
    (long,) = reader.read(np.full((522, 1340, 3), 48, np.uint8), whole=True, source=f"{'folder/' * 20}[photo].jpg")
    (wide,) = reader.read(np.full((20, 20, 3), 32, np.uint8), whole=True, source="写真" * 30 + ".jpg")
    return [cells(one) for one in (short, long, wide)]


def shown(lines, width: int | None) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width or 10_000).print(table_of(lines, width), soft_wrap=False)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 400, None])
def test_one_line_a_face_at_any_width(width, lines):
    heading, *rows = shown(lines, width)
    assert len(rows) == 3 and all(cell_len(row) <= (width or 10_000) for row in rows)
    for row, box in zip(rows, ("20x20+0+0", "1340x522+0+0", "20x20+0+0"), strict=True):
        assert f" {box} " in row, "a box is never cut"
    assert "happiness" in rows[1] and rows[2].split()[0].endswith(".jpg")
    assert ("█" * BAR in rows[0]) == ("then" in heading) == (width is None or width >= 400)
    assert rows[1].startswith(lines[1]["picture"] if width is None or width >= 400 else "…")
    if width is None:
        assert lines[1]["picture"] in rows[1] and "[photo].jpg" in rows[1]


def test_measures_that_are_asked_for_stand_in_the_table_or_its_caption(weights):
    (face,) = Reader(weights, threads=1).read(np.full((20, 20, 3), 16, np.uint8), whole=True, source="a.jpg")
    line = cells(face, movement=True, affect=True)
    assert line["valence"] == f"{face.affect.valence + 0.0:+.2f}", "signed"
    assert line["opening"] == "-", "there is no photo model beside these weights"
    assert cells(replace(face, probabilities={"neutral": 0.997, "sadness": 0.003}), affect=True)["valence"] == "+0.00"
    measures = ["valence", "arousal", "brows", "lids", "corners", "width", "opening"]
    assert shown([line], None)[0].split()[-7:] == measures
    for width in range(55, 150):
        heading, row, *caption = shown([line], width)
        lost = [name for name in ("box", *measures) if name not in heading.split()]
        assert "\N{HORIZONTAL ELLIPSIS}" not in row + heading, "nothing is cut"
        told = " ".join(" ".join(caption).split())
        assert (not lost and not told) or (told.endswith(": --json has all") and all(name in told for name in lost))


def test_bars_go_before_the_runners_up(lines):
    needed = max(len(row) for row in shown(lines[:1], None))
    (heading, row), (narrower, without) = shown(lines[:1], needed), shown(lines[:1], needed - 1)
    assert "█" in row and "then" in heading and "█" not in without and "then" in narrower
    assert "then" not in shown(lines[:1], 40)[0]


def test_a_pipe_gets_one_whole_line_a_face(weights, tmp_path):
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    (folder / "a.png").write_bytes(png(flat(48)))
    done = pfvit("predict", folder, "--whole", "--weights", weights)
    heading, row = done.stdout.splitlines()
    assert str(folder / "a.png") in row and "happiness" in row and "then" in heading


# Own output.


@pytest.mark.parametrize(("verb", "folder"), [("predict", "--annotate"), ("predict", "--picture"), ("poker", "--out")])
@pytest.mark.parametrize("out", ["out", "."])
def test_a_run_never_reads_what_an_earlier_one_wrote(verb, folder, out, weights, tmp_path, capsys, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    monkeypatch.chdir(photos)
    Path("a.png").write_bytes(png(flat(48)))
    Path("mine").mkdir()
    Path("mine", "b.png").write_bytes(png(flat(48)))
    words = [verb, ".", folder, out, "--whole", "--weights", weights]
    words += ["--in-photo"] if verb == "poker" else ["--json"]
    first = inside(capsys, *words)
    written = sorted(Path(out).rglob("*.png"))
    for _ in range(2):
        again = inside(capsys, *words)
        assert (again.returncode, again.stdout) == (first.returncode, first.stdout)
        assert sorted(Path(out).rglob("*.png")) == written
        assert "this run writes there" in again.stderr
    # Named, they are read: that is how one looks at what came out.
    done = inside(capsys, "predict", out, "--whole", "--json", "--weights", weights)
    assert len(done.stdout.splitlines()) == len(written)


def test_tables_that_were_written_into_the_folder_are_no_inputs(weights, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(png(flat(48)))
    for name in ("one.parquet", "two.csv", "three.parquet"):
        done = inside(capsys, "predict", photos, "--whole", "--weights", weights, "--output", photos / name)
        assert done.returncode == 0 and len(rows_of(photos / name)) == 1
    assert "2 files without pictures left out (1 CSV, 1 PARQUET)" in done.stderr or "(1 PARQUET, 1 CSV)" in done.stderr
    done = inside(capsys, "predict", photos / "one.parquet", "--weights", weights)
    assert done.returncode == 1 and "has no image column" in done.stderr, "named, it is an input"


def test_the_file_that_is_written_is_named_and_why(weights, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(png(NOISE))
    for words in (["poker", "--in-photo", "--out"], ["predict", "--json", "--annotate"]):
        done = inside(capsys, *words, tmp_path, tmp_path / "a.png", "--whole", "--weights", weights)
        path = tmp_path / "a.png"
        assert f"{path} is an input, which is not overwritten; it is written as a~2.png" in done.stderr
        assert path.read_bytes() == png(NOISE) and (tmp_path / "a~2.png").is_file()


def test_a_folder_on_a_read_only_disk_is_told(weights, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(NOISE))

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Image.Image, "save", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    for words in (["poker", "--out"], ["predict", "--json", "--annotate"]):
        done = inside(capsys, *words, tmp_path, tmp_path / "a.png", "--whole", "--weights", weights)
        said = [line for line in done.stderr.splitlines() if "cannot be written: Read-only file system" in line]
        assert done.returncode == 1 and len(said) == 1 and "Traceback" not in done.stderr


# Pictures keep what they had.


def test_a_photo_keeps_its_profile_and_exif_but_not_the_turn(weights, tmp_path, capsys, middle):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a walk", 6
    photo = tmp_path / "a.png"
    Image.fromarray(NOISE).save(photo, icc_profile=profile, exif=exif)
    words = [photo, "--weights", weights]
    assert inside(capsys, "poker", *words, "--in-photo", "--strength", 0, "--out", tmp_path / "p").returncode == 0
    assert inside(capsys, "predict", *words, "--annotate", tmp_path / "p2").returncode == 0
    assert inside(capsys, "poker", *words, "--out", tmp_path / "p3").returncode == 0
    for path in (tmp_path / "p" / "a.png", tmp_path / "p2" / "a.png", tmp_path / "p3" / "a_0.png"):
        with Image.open(path) as written:
            assert written.info["icc_profile"] == profile
            if path.name == "a.png":
                assert written.getexif()[0x010E] == "a walk" and 0x0112 not in written.getexif()
                assert written.size == (NOISE.shape[0], NOISE.shape[1]), "upright"
    assert (images.decode((tmp_path / "p" / "a.png").read_bytes()) == images.decode(photo.read_bytes())).all()


def test_damaged_exif_is_left_out(tmp_path):
    save(NOISE, tmp_path / "a.png", images.Metadata(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
    with Image.open(tmp_path / "a.png") as written:
        assert not written.getexif() and (np.asarray(written) == NOISE).all()


def test_a_photo_keeps_its_opacity(weights, tmp_path, capsys, middle):
    alpha = np.full((40, 40), 255, np.uint8)
    alpha[:5], alpha[5:9], alpha[9:12] = 0, 128, 30
    colours = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    words = ["poker", tmp_path / "a.png", "--in-photo", "--strength", 0, "--out", tmp_path / "p", "--weights", weights]
    assert inside(capsys, *words).returncode == 0
    with Image.open(tmp_path / "p" / "a.png") as written:
        pixels = np.asarray(written)
    assert pixels.shape == (40, 40, 4) and (pixels[:, :, 3] == alpha).all()
    off = np.abs(pixels[:, :, :3].astype(int) - colours)
    assert not off[alpha == 255].any() and off[alpha == 128].max() <= 2 and off[alpha == 30].max() <= 9


def test_colours_under_their_opacity_show_the_same_over_white():
    pixels = np.random.default_rng(2).integers(200, 256, (20, 20, 3), dtype=np.uint8)
    alpha = np.full((20, 20), 240, np.uint8)
    picture = Image.fromarray(with_alpha(pixels, alpha))
    assert np.abs(images.as_photo(picture).pixels.astype(int) - pixels).max() <= 1

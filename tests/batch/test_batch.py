"""`pfvit batch`: every row exactly once and in order, whatever fails, is killed or comes twice."""

import io
import json
import marshal
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import fake_weights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import png

from pfvit import InputError, Reader
from pfvit.__main__ import main
from pfvit.batch import row_group_process
from pfvit.batch.partition import Pictures, partition
from pfvit.batch.row_groups import RowGroups
from pfvit.commands.batch import Actor
from pfvit.config import Batch
from pfvit.data.filesystem import place
from pfvit.detection.base import Face
from pfvit.emotions import EIGHT


def flat(brightness: float) -> bytes:
    return png(np.full((20, 20, 3), brightness, np.uint8))


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return fake_weights.write(tmp_path / "weights")


@pytest.fixture
def table(tmp_path):
    """Sixty rows in row groups of 14, one in ten of them broken."""
    images = [b"broken" if row % 10 == 7 else flat(fake_weights.CENTRES[row % 8]) for row in range(60)]
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"image": images, "name": [f"n{row}" for row in range(60)]}), path, row_group_size=14)
    return path


def batch(weights, *words, whole: bool = True) -> int:
    more = ["--whole"] if whole else []
    return main(["batch", *map(str, words), *more, "--weights", str(weights)])


def rows(folder: Path) -> list[dict]:
    files = sorted(folder.glob("part-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_every_row_is_there_once_in_order_or_set_aside_with_its_error(table, weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert batch(weights, table, "--out", out, "--rows", 16, "--processes", 1) == 1
    said = capsys.readouterr().err
    assert "54 pictures are read" in said and "6 could not be read" in said
    good = [row for row in range(60) if row % 10 != 7]
    faces = rows(out / "faces")
    assert [row["row"] for row in faces] == good and {row["file"] for row in faces} == {str(table)}
    for row in faces:
        assert (row["source"], row["emotion"], row["face"]) == (f"n{row['row']}", EIGHT[row["row"] % 8], 0)
        assert sum(row[name] for name in EIGHT) == pytest.approx(1, abs=1e-5)
    failed = rows(out / "failed")
    assert [row["row"] for row in failed] == [7, 17, 27, 37, 47, 57]
    assert all("not a picture" in row["error"] for row in failed)
    assert len(list((out / "faces").glob("part-*"))) == 4
    assert pq.read_table(out / "faces").num_rows == 54  # readable as one data set, nothing else in the folder


def test_processes_give_what_one_gives(table, weights, tmp_path):
    for name, count in (("one", 1), ("two", 2)):
        batch(weights, table, "--out", tmp_path / name, "--rows", 10, "--processes", count)
    for kind in ("faces", "failed"):
        assert rows(tmp_path / "one" / kind) == rows(tmp_path / "two" / kind)


def test_small_runs_are_split_over_all_processes_and_go_on_in_the_same_parts(weights, tmp_path, capsys):
    path, out = tmp_path / "in.parquet", tmp_path / "out"
    pq.write_table(pa.table({"image": [flat(row % 256) for row in range(300)]}), path)
    for times, processes, rows_each in ((1, 2, 38), (1, 64, 25), (400, 2, 2000)):
        assert partition([str(path)] * times, None, processes=processes).rows == rows_each
    assert batch(weights, path, "--out", out, "--processes", 2) == 0
    whole = rows(out / "faces")
    assert [row["row"] for row in whole] == list(range(300)) and len(list((out / "faces").iterdir())) == 8
    (out / "faces" / "part-00003.parquet").unlink()
    assert batch(weights, path, "--out", out, "--processes", 1, "--resume") == 0, "with other processes too"
    assert "1 part now" in capsys.readouterr().err and rows(out / "faces") == whole


def test_folders_tables_and_what_is_not_there_keep_their_order(table, weights, tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub" / ".hidden").mkdir(parents=True)
    for name in ("b.png", "a.png", "sub/c.png", ".d.png", "sub/.hidden/e.png"):
        (folder / name).write_bytes(flat(16))
    (folder / "broken.png").write_bytes(b"text")
    (folder / "cut.parquet").write_bytes(table.read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    inputs = [folder, tmp_path / "nowhere.jpg", tmp_path / "empty", table]
    assert batch(weights, *inputs, "--out", out, "--rows", 40, "--processes", 1) == 1
    files = [Path(row["file"]).name for row in rows(out / "faces")]
    assert files == ["a.png", "b.png", "c.png", *["in.parquet"] * 54]
    failed = {Path(row["file"]).name: row["error"] for row in rows(out / "failed")}
    for name, why in (
        ("broken.png", "not a picture"),
        ("cut.parquet", "cannot be read as Parquet"),
        ("nowhere.jpg", "not there"),
        ("empty", "without pictures"),
    ):
        assert why in failed[name]


def test_what_is_read_and_what_is_not_are_counted_apart(weights, tmp_path, capsys):
    (tmp_path / "html.jpg").write_text("<!doctype html>")
    assert batch(weights, tmp_path / "html.jpg", "--out", tmp_path / "o") == 1
    said = capsys.readouterr().err
    assert "0 pictures are read" in said and "1 could not be read" in said


def test_a_path_that_is_not_there_leaves_no_plan_behind(table, weights, tmp_path, capsys):
    assert batch(weights, tmp_path / "nothere", "--out", tmp_path / "o") == 1
    assert "nothere is not there" in capsys.readouterr().err and not (tmp_path / "o").exists()
    assert batch(weights, table, "--out", tmp_path / "o", "--processes", 1) == 1, "the corrected command is taken"
    assert len(rows(tmp_path / "o" / "faces")) == 54


def test_own_output_and_files_without_pictures_are_left_out_and_named(weights, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(flat(16))
    (folder / "notes.txt").write_text("mine")
    (folder / "IMG.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    for more in ([], ["--resume"]):
        status = batch(weights, folder, "--out", folder / "out", "--processes", 1, *more)
        said = capsys.readouterr().err
        assert status == 1 and "1 file without pictures left out (TXT)" in said and "1 picture is read" in said
        assert [Path(row["file"]).name for row in rows(folder / "out" / "faces")] == ["a.png"]
        assert [Path(row["file"]).name for row in rows(folder / "out" / "failed")] == ["IMG.heic"]
    assert f"{folder / 'out'} is left out: this run writes there" in said


def test_patterns_and_pipes_are_taken(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("sub/a.png", "sub/b.png", "c.png"):
        Path(name).write_bytes(flat(16))
    assert batch(weights, "sub/*.png", "./c.png", "--out", "o", "--processes", 1) == 0
    assert [row["file"] for row in rows(Path("o", "faces"))] == ["sub/a.png", "sub/b.png", "./c.png"]
    assert batch(weights, "-", "--out", "p") == 1 and "is read by `pfvit predict -`" in capsys.readouterr().err


def test_a_damaged_row_group_loses_no_row(weights, tmp_path):
    path = tmp_path / "in.parquet"
    noise = np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3), dtype=np.uint8)
    pq.write_table(pa.table({"image": [png(picture) for picture in noise]}), path, row_group_size=10)
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    batch(weights, path, "--out", tmp_path / "out", "--rows", 25, "--processes", 1)
    assert [row["row"] for row in rows(tmp_path / "out" / "faces")] == [*range(20), *range(30, 40)]
    failed = rows(tmp_path / "out" / "failed")
    assert [row["row"] for row in failed] == list(range(20, 30))
    assert all("cannot be read as Parquet" in row["error"] for row in failed)


def test_what_ends_the_process_that_reads_ends_no_batch(table, weights, tmp_path, monkeypatch):
    good = tmp_path / "z.parquet"
    pq.write_table(pa.table({"image": [flat(200)]}), good)
    ask = RowGroups._ask

    def fatal(self, request):
        fatal_one = request.get("group") == 1 and request["file"] == str(table)
        if fatal_one:
            self.process.process.send_signal(signal.SIGSTOP)  # or it might have answered before it is killed
        ask(self, request)
        if fatal_one:
            self.process.process.kill()

    monkeypatch.setattr(RowGroups, "_ask", fatal)
    out = tmp_path / "out"
    assert batch(weights, table, good, "--out", out, "--processes", 1) == 1
    failed = {row["row"]: row["error"] for row in rows(out / "failed")}
    lost = set(range(14, 28))
    assert set(failed) == lost | {7, 37, 47, 57} and all("its reader ended: Killed" in failed[row] for row in lost)
    assert str(good) in {row["file"] for row in rows(out / "faces")}


@pytest.mark.parametrize("raised", [IndexError("index 7"), NotImplementedError("int65"), MemoryError(), KeyError("x")])
def test_whatever_arrow_raises_is_an_answer(table, monkeypatch, raised):
    class Breaking(pq.ParquetFile):
        def iter_batches(self, *words, **options):
            raise raised

    monkeypatch.setattr(pq, "ParquetFile", Breaking)
    monkeypatch.setattr(row_group_process, "bound", lambda memory: None)  # it would hold for all tests
    requests = [{"file": str(table)}, {"file": str(table), "group": 0}, {}]
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(map(json.dumps, requests)).encode())))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    row_group_process.main()
    answers = []
    content = out.getvalue()
    while content:
        size = int.from_bytes(content[:8], "little")
        answers.append(marshal.loads(content[8 : 8 + size]))
        content = content[8 + size :]
    assert answers[0] == ("file", ["image", "name"], [14, 14, 14, 14, 4], table.stat().st_size)
    assert answers[1] == ("error", str(raised) or "MemoryError") and answers[2] == ("end",)


@pytest.mark.skipif(sys.platform != "linux", reason="bounds its memory by the system")
def test_a_file_that_says_less_than_it_holds_takes_no_gigabytes(weights, tmp_path):
    """2 kB: one value of 20 MB for 64 rows, and a footer that says 32 bytes, so that all are decoded together."""
    path = tmp_path / "in.parquet"
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([bytes(20_000_000)]))
    pq.write_table(pa.table({"image": cells}), path, compression="zstd", store_schema=False)
    size = 2 * pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size  # zigzag
    varint = bytes(size >> shift & 127 | 128 for shift in (0, 7, 14)) + bytes([size >> 21])
    content = path.read_bytes().replace(varint, b"\xc0\x80\x80\x00")
    path.write_bytes(content)
    assert len(content) < 10_000 and pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size == 32
    words = ["-m", "pfvit", "batch", path, "--whole", "--weights", weights, "--out", tmp_path / "out", "--processes", 1]
    code = (
        "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); "
        "print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *map(str, words)], capture_output=True, text=True, check=True
    )
    status, memory = map(int, done.stdout.split())
    assert status == 1 and memory < 1e9, done.stderr
    failed = rows(tmp_path / "out" / "failed")
    assert len(failed) == 64 and all("cannot be read as Parquet from row" in row["error"] for row in failed)


def test_large_values_and_rows_without_end_are_set_aside(weights, tmp_path):
    pq.write_table(
        pa.table({"image": [flat(90), *[bytes(45_000_000)] * 4]}), tmp_path / "a.parquet", compression="zstd"
    )
    pq.write_table(pa.table({"image": pa.nulls(50_000, pa.binary())}), tmp_path / "b.parquet")
    out = tmp_path / "out"
    assert batch(weights, tmp_path / "a.parquet", tmp_path / "b.parquet", "--out", out, "--processes", 1) == 1
    failed = rows(out / "failed")
    assert len(rows(out / "faces")) == 1 and len(failed) == 5
    assert sum("has a cell of 45 MB; at most 40 MB" in row["error"] for row in failed) == 4
    assert sum("claims 50,000 rows, more than it has bytes" in row["error"] for row in failed) == 1


def test_one_picture_that_breaks_the_reader_harms_no_other(weights, tmp_path, monkeypatch):
    class Moody:
        def detect(self, image):
            if image[0, 0, 0] == 48:
                raise ZeroDivisionError("no such face")
            return [] if image[0, 0, 0] == 80 else [Face((2, 2, 8, 8), 0.9), Face((10, 2, 8, 8), 0.8)]

    monkeypatch.setattr(Reader, "detector", Moody())
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"image": [flat(bright) for bright in (16, 48, 80, 112)]}), path)
    assert batch(weights, path, "--out", tmp_path / "out", "--processes", 1, whole=False) == 1
    assert [(row["row"], row["face"]) for row in rows(tmp_path / "out" / "faces")] == [
        (0, 0),
        (0, 1),
        (2, None),
        (3, 0),
        (3, 1),
    ]
    (failed,) = rows(tmp_path / "out" / "failed")
    assert failed["row"] == 1 and failed["error"] == f"{path}#1 cannot be read: ZeroDivisionError: no such face"


def test_after_a_kill_it_goes_on_and_the_rest_is_not_read_again(weights, tmp_path):
    path, out = tmp_path / "in.parquet", tmp_path / "out"
    pq.write_table(pa.table({"image": [flat(row % 256) for row in range(3000)]}), path, row_group_size=100)
    words = [sys.executable, "-m", "pfvit", "batch", path, "--whole", "--weights", weights, "--out", out]
    words = [str(word) for word in (*words, "--rows", 50, "--processes", 2)]
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(list(out.glob("faces/part-*"))) < 3 and child.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    time.sleep(1)  # its processes see that it is gone
    before = {file: file.stat().st_mtime_ns for file in out.glob("faces/part-*")}
    assert 3 <= len(before) < 60
    refused = subprocess.run(words, capture_output=True, text=True)
    assert refused.returncode == 1 and "--resume goes on" in refused.stderr
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["row"] for row in rows(out / "faces")] == list(range(3000))
    assert all(file.stat().st_mtime_ns == then for file, then in before.items())
    assert not list(out.glob("faces/.part*"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_ends_at_once_and_goes_on_later(number, weights, tmp_path):
    path, out = tmp_path / "in.parquet", tmp_path / "out"  # long enough not to be done when the signal comes
    pq.write_table(pa.table({"image": [flat(row % 256) for row in range(12_000)]}), path, row_group_size=100)
    words = [sys.executable, "-m", "pfvit", "batch", path, "--whole", "--weights", weights, "--out", out]
    words = [str(word) for word in (*words, "--rows", 400, "--processes", 2)]
    child = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and so it would be in the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while not list(out.glob("faces/part-*")) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.killpg(child.pid, number) if number == signal.SIGINT else os.kill(child.pid, number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + number and said.splitlines()[-1] == "stopped" and "Traceback" not in said
    assert subprocess.run([*words, "--resume"], capture_output=True).returncode == 0
    assert [row["row"] for row in rows(out / "faces")] == list(range(12_000))


def test_it_does_not_go_on_with_something_else(table, weights, tmp_path, capsys):
    out = tmp_path / "out"
    batch(weights, table, "--out", out, "--rows", 16, "--processes", 1)
    other = tmp_path / "other"
    other.mkdir()
    for files, words, why in (
        (weights, [table, "--rows", 17], "rows"),
        (weights, [table, table, "--rows", 16], "inputs"),
        (fake_weights.write(other, pair="4567"), [table, "--rows", 16], "weights"),
    ):
        assert batch(files, *words, "--out", out, "--resume", "--processes", 1) == 1
        assert f"begun with other {why}" in capsys.readouterr().err
    (out / "plan.json").write_text("{")
    assert batch(weights, table, "--out", out, "--resume") == 1
    assert "not what an earlier run left" in capsys.readouterr().err


def test_outputs_and_settings_that_cannot_be(table, weights, tmp_path, capsys, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "held").mkdir()
    with (tmp_path / "held" / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for words, status, why in (
            (["--out", tmp_path / "file"], 1, "is a file"),
            (["--out", tmp_path / "file" / "in"], 1, "cannot be written"),
            (["--out", tmp_path / "held"], 1, "another process"),
            (["--out", "nosuch://place"], 1, "nosuch"),
            (["--out", tmp_path / "out", "--rows", 0], 2, "--rows must be"),
            (["--out", tmp_path / "out", "--processes", 0], 2, "--processes must be"),
            (["--out", tmp_path / "out", "--address", "auto"], 2, "--ray"),
        ):
            assert batch(weights, table, *words) == status, words
            assert why in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "ray", None)
    assert batch(weights, table, "--out", tmp_path / "out", "--ray") == 1
    assert 'pip install "pfvit[cluster]"' in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_full_disk_leaves_no_half_part_and_the_rest_comes_later(weights, tmp_path):
    path, out = tmp_path / "in.parquet", tmp_path / "out"
    pq.write_table(pa.table({"image": [flat(row % 256) for row in range(400)]}), path)
    words = ["batch", path, "--whole", "--weights", weights, "--out", out, "--rows", 200, "--processes", 1]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY)); "
        f"from pfvit.__main__ import main; sys.exit(main({list(map(str, words))!r}))"
    )
    # Not measured: what coverage writes would meet the limit as well.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain)
    assert done.returncode == 1 and "part-00000.parquet cannot be written" in done.stderr
    assert "Traceback" not in done.stderr and not list(out.glob("faces/part-*"))
    assert main([*map(str, words), "--resume"]) == 0
    assert [row["row"] for row in rows(out / "faces")] == list(range(400))


def test_other_file_systems(table, weights, tmp_path, capsys):
    """fsspec's own local one stands for them: pyarrow does not know `local://`."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(flat(16))
    url = f"local://{tmp_path}"
    inputs = f"{url}/in.parquet", f"{url}/photos"
    assert batch(weights, *inputs, "--out", f"{url}/out", "--rows", 16, "--processes", 1) == 1
    found = rows(tmp_path / "out" / "faces")
    assert len(found) == 55 and found[-1]["source"] == f"{url}/photos/a.png"
    assert found[0]["file"] == f"{url}/in.parquet" and not list((tmp_path / "out").glob("*/.*"))
    assert batch(weights, f"{url}/none.png", "--out", tmp_path / "none") == 1
    assert f"{url}/none.png is not there, or cannot be reached" in capsys.readouterr().err
    assert place("file:///a/b/").path == "/a/b"
    with pytest.raises(InputError, match="nosuch"):
        place("nosuch://x")


def test_parts_may_come_in_any_order(table):
    parts, *_ = partition([str(table)], 7)
    assert [part.rows for part in parts] == [7] * 8 + [4]
    pictures = Pictures()
    for number in (0, 1, 5, 8, 2, 2, 7):
        part = parts[number]
        items = list(pictures.of(part))
        assert [item.key.row for item in items] == list(range(part.start, part.stop))
        for item in items:
            row = item.key.row
            assert item.picture == (b"broken" if row % 10 == 7 else flat(fake_weights.CENTRES[row % 8]))


def test_what_ray_calls(table, weights, tmp_path):
    """The actor without Ray; the plan goes through it as text."""
    out = tmp_path / "out"
    (out / "faces").mkdir(parents=True)
    (out / "failed").mkdir()
    actor = Actor(Batch((str(table),), str(out), whole=True, weights=weights))
    parts, *_ = partition([str(table)], 25)
    assert actor({"part": json.dumps(parts[1])}) == {"number": 1, "rows": 25, "faces": 22, "failed": 3}
    assert [row["row"] for row in rows(out / "failed")] == [27, 37, 47]


@pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not installed: pip install "pfvit[cluster]"')
def test_on_a_local_ray(table, weights, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    batch(weights, table, "--out", here, "--rows", 16, "--processes", 1)
    words = ["batch", table, "--whole", "--weights", weights, "--out", there, "--rows", 16, "--processes", 1, "--ray"]
    done = subprocess.run([sys.executable, "-m", "pfvit", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 1 and "6 could not be read" in done.stderr, done.stderr
    for kind in ("faces", "failed"):
        assert rows(here / kind) == rows(there / kind)

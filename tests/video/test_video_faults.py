"""`pfvit video`: damage, refusals, webcams that vanish, and nothing half-done left behind."""

import csv
import io
import signal
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import pytest
from films import RATE, film, frame_of, moving, pictures_of, refused, rows_of, video
from PIL import Image

from pfvit.__main__ import main
from pfvit.errors import InputError
from pfvit.inference.reader import Reader
from pfvit.video.io import VideoReader

# What people hand in by mistake.


def song(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(bytes(8000))
    return path


def test_a_song_has_no_video(weights, tmp_path, capsys):
    said = refused(capsys, song(tmp_path / "s.wav"), tmp_path / "out", weights)
    assert "s.wav has no video in it, only audio" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"not a video at all", b"\0" * 4000])
def test_a_file_that_is_no_video(content, weights, tmp_path, capsys):
    (tmp_path / "v.mp4").write_bytes(content)
    assert "v.mp4 cannot be read as a video" in refused(capsys, tmp_path / "v.mp4", tmp_path / "out", weights)


def test_a_video_without_frames(weights, tmp_path, capsys):
    source = film(tmp_path / "v.mkv", [], sound=True)
    assert "no frame that can be decoded" in refused(capsys, source, tmp_path / "out", weights)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_not_there(weights, tmp_path, capsys):
    assert "none.mp4 is not there" in refused(capsys, tmp_path / "none.mp4", tmp_path / "out", weights)
    assert "is a folder" in refused(capsys, tmp_path, tmp_path / "out", weights)
    for name in ("p.jpg", "p.png", "p.webp", "p.avif"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
        said = refused(capsys, tmp_path / name, tmp_path / "out", weights)
        assert f"{name} is a picture, not a video: `pfvit predict` reads it" in said
    assert "download it first" in refused(capsys, "rtsp://127.0.0.1:9/x", tmp_path / "out", weights)
    assert "there is no webcam" in refused(capsys, "webcam:93", tmp_path / "out", weights)


def test_a_webcam_that_vanishes_keeps_what_was_seen(astronaut, weights, tmp_path, monkeypatch, capsys):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 30)

    class Vanishing:
        def __init__(self, name):
            self.container = av.open(str(source))

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, *streams):
            for number, packet in enumerate(self.container.demux(*streams)):
                if number == 12:
                    raise OSError(19, "No such device")
                yield packet

    monkeypatch.setattr("pfvit.video.io._open_webcam", Vanishing)
    assert main(["video", "webcam", "--out", str(tmp_path / "out"), "--weights", str(weights)]) == 0
    assert "No such device" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / "webcam.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert 6 <= len(rows) <= 12 and (tmp_path / "out" / "webcam-annotated.mp4").is_file()


def test_a_webcam_without_a_new_frame_is_asked_again(astronaut, weights, tmp_path, monkeypatch):
    """PyAV's `demux` is a generator, which ends with the error that it raises: on macOS after nearly every frame."""
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 10)

    class Hesitating:
        def __init__(self, name):
            self.container = av.open(str(source))
            self.packets = self.container.demux(self.container.streams.video[0])
            self.calls = 0

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, *streams):
            for packet in self.packets:
                yield packet
                self.calls += 1
                raise av.error.BlockingIOError(11, "Resource temporarily unavailable")

    opened: list[Hesitating] = []
    monkeypatch.setattr("pfvit.video.io._open_webcam", lambda name: opened.append(Hesitating(name)) or opened[0])
    frames = list(VideoReader("webcam").frames())
    assert len(frames) == 10 and opened[0].calls > 9


def test_a_webcam_that_never_gives_a_frame_is_given_up(astronaut, tmp_path, monkeypatch):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 2)

    class Silent:
        def __init__(self, name):
            self.container = av.open(str(source))

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, *streams):
            yield from ()
            raise av.error.BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("pfvit.video.io._open_webcam", Silent)
    monkeypatch.setattr("pfvit.video.io.PAUSE", 0)
    reader = VideoReader("webcam")
    assert list(reader.frames()) == [] and reader.broken == "it gives no more frames"


def test_the_number_of_a_camera_is_told_how_to_name_it(weights, tmp_path, capsys):
    assert "0 is not there; a webcam goes by webcam:0" in refused(capsys, "0", tmp_path / "out", weights)


def test_what_is_there_already_is_kept(astronaut, weights, tmp_path, capsys):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "v-annotated.mp4").write_text("mine")
    assert "v-annotated.mp4 exists already" in refused(capsys, source, tmp_path / "out", weights)
    assert (tmp_path / "out" / "v-annotated.mp4").read_text() == "mine"
    assert len(list((tmp_path / "out").iterdir())) == 1
    (tmp_path / "file").write_text("")
    assert "file" in refused(capsys, source, tmp_path / "file", weights)


def motion_jpegs(astronaut, sizes) -> list[bytes]:
    found = []
    for size in sizes:
        file = io.BytesIO()
        astronaut.resize(size).save(file, "JPEG")
        found.append(file.getvalue())
    return found


def test_a_damaged_middle_is_left_out_and_told(astronaut, weights, tmp_path, capsys):
    pictures = motion_jpegs(astronaut, [(240, 240)] * 9)
    source = tmp_path / "v.mkv"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("mjpeg", rate=RATE)
        stream.width = stream.height = 240
        stream.pix_fmt = "yuvj420p"
        for number, picture in enumerate(pictures):
            damaged = number in (4, 5)
            packet = av.Packet(b"\xff\xd8" + b"\x17" * 900 if damaged else picture)
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            file.mux(packet)
    assert video(source, tmp_path / "out", weights) == 1
    assert "2 damaged packets were left out" in capsys.readouterr().err
    assert len({row["frame"] for row in rows_of(tmp_path / "out")}) == 7


def test_what_is_marked_as_damaged_is_read_and_told(astronaut, weights, tmp_path, capsys):
    source = film(tmp_path / "v.ts", moving(astronaut, 20))
    content = bytearray(source.read_bytes())
    middle = len(content) // 188 // 2 * 188
    content[middle : middle + 188 * 3] = []  # three of the packets that a broadcast consists of, which are numbered
    source.write_bytes(content)
    assert video(source, tmp_path / "out", weights) == 1
    said = capsys.readouterr().err
    assert "v.ts: 1 damaged frame was read all the same; look whether" in said and "20 frames, 1 person" in said


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("ending", ["avi", "mkv", "mov"])
def test_a_file_that_is_cut_short_is_told_by_its_bytes(ending, astronaut, tmp_path):
    path = film(tmp_path / f"v.{ending}", moving(astronaut, 20), sound=True)
    whole = VideoReader(str(path))
    assert len(list(whole.frames())) == 20 and whole.broken is None and whole.marked == 0
    if ending == "mov":  # as it is made for the network, with the index before the frames
        with (
            av.open(str(path)) as made,
            av.open(str(tmp_path / "f.mov"), "w", options={"movflags": "faststart"}) as new,
        ):
            stream = new.add_stream_from_template(made.streams.video[0])
            for packet in made.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        with pytest.raises(InputError, match=r"v\.mov cannot be read as a video: .*; the file should have"):
            VideoReader(str(cut(path, 0.6)))
        path = tmp_path / "f.mov"
    size = path.stat().st_size
    reader = VideoReader(str(cut(path, 0.6)))
    assert 5 < len(list(reader.frames())) < 20
    expected = f"the file should have {size:,} bytes and has {int(size * 0.6):,}: copy or download it again"
    assert reader.broken == expected


def test_an_empty_file_is_called_so(tmp_path):
    (tmp_path / "v.mp4").touch()
    with pytest.raises(InputError, match=r"v\.mp4 cannot be read as a video: .*; the file is empty$"):
        VideoReader(str(tmp_path / "v.mp4"))


def test_a_recording_that_was_never_closed_does_not_say_its_size(astronaut, tmp_path):
    path = film(tmp_path / "v.mkv", moving(astronaut, 20))
    content = path.read_bytes()
    at = content.index(b"\x18\x53\x80\x67") + 4
    assert content[at] == 1  # a number of eight bytes
    path.write_bytes(content[:at] + b"\x01" + b"\xff" * 7 + content[at + 8 : len(content) * 2 // 3])
    reader = VideoReader(str(path))
    assert 5 < len(list(reader.frames())) < 20 and reader.broken is None


def test_a_torn_off_tail(astronaut, weights, tmp_path, capsys):
    source = cut(film(tmp_path / "v.mkv", moving(astronaut, 40)), 2 / 3)
    assert video(source, tmp_path / "out", weights, "--every", 4) == 1
    assert "v.mkv: it breaks off (the file should have " in capsys.readouterr().err
    frames = {int(row["frame"]) for row in rows_of(tmp_path / "out")}
    assert 10 < len(frames) < 40 and len(pictures_of(tmp_path / "out" / "v-annotated.mp4")) == len(frames)


def test_frames_that_change_their_size(astronaut, weights, tmp_path):
    source = tmp_path / "v.mjpeg"
    source.write_bytes(b"".join(motion_jpegs(astronaut, [(240, 240)] * 4 + [(120, 120)] * 4)))
    assert video(source, tmp_path / "out", weights) == 0
    assert {picture.shape for picture in pictures_of(tmp_path / "out" / "v-annotated.mp4")} == {(240, 240, 3)}
    widths = [int(row["width"]) for row in rows_of(tmp_path / "out")]
    assert len(widths) == 8 and max(widths) < 1.3 * min(widths)


@pytest.mark.parametrize(
    ("word", "value"), [("--every", 0), ("--strength", "nan"), ("--smoothing", -1), ("--seconds", 0), ("--strength", 3)]
)
def test_settings_that_mean_nothing(word, value, weights, tmp_path, capsys):
    assert video("v.mp4", tmp_path / "out", weights, word, value) == 2
    assert word in capsys.readouterr().err


def test_a_strength_without_poker_is_told(weights, tmp_path, capsys):
    assert video("v.mp4", tmp_path / "out", weights, "--strength", 0.5) == 2
    assert "--strength 0.5 says how much --poker removes: give --poker too" in capsys.readouterr().err


def test_only_so_many_seconds(astronaut, weights, tmp_path, capsys):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 12)
    assert video(source, tmp_path / "out", weights, "--seconds", 0.3) == 0
    assert len(rows_of(tmp_path / "out")) == 6
    assert video(source, tmp_path / "one", weights, "--seconds", 0.01) == 0
    assert "1 frame, 1 person, read at" in capsys.readouterr().err


def interrupted(error):
    calls = []

    def read(self, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise error
        return real(self, *arguments)

    real = Reader.read_found
    return read


def test_stopped_by_hand_keeps_what_was_read(astronaut, weights, tmp_path, monkeypatch):
    source = film(tmp_path / "v.mp4", moving(astronaut, 30))
    monkeypatch.setattr(Reader, "read_found", interrupted(KeyboardInterrupt()))
    assert video(source, tmp_path / "out", weights) == 130
    assert len(rows_of(tmp_path / "out")) == len(pictures_of(tmp_path / "out" / "v-annotated.mp4")) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
def test_told_to_end_it_writes_what_was_read_and_leaves_nothing_half_done(astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mp4", moving(astronaut, 30))
    words = ["video", str(source), "--out", str(tmp_path / "out"), "--weights", str(weights)]
    code = (
        "import os, signal, sys; from pfvit.__main__ import run; from pfvit.inference.reader import Reader\n"
        "read, calls = Reader.read_found, []\n"
        "def counted(*a):\n"
        " calls.append(1)\n"
        " len(calls) == 3 and os.kill(os.getpid(), signal.SIGTERM)\n"
        " return read(*a)\n"
        f"Reader.read_found = counted; sys.argv[1:] = {words!r}; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM and "what was read until then is written" in done.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["v-annotated.mp4", "v-timeline.png", "v.csv"]
    assert len(rows_of(tmp_path / "out")) == len(pictures_of(tmp_path / "out" / "v-annotated.mp4")) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_it_leaves_nothing_that_looks_whole_and_is_begun_anew(astronaut, weights, tmp_path, capsys):
    source, out = film(tmp_path / "v.mp4", moving(astronaut, 12)), tmp_path / "out"
    words = ["video", str(source), "--out", str(out), "--weights", str(weights)]
    code = (
        "import os, signal, sys; from pfvit.__main__ import run; from pfvit.commands.video import VideoRun\n"
        f"VideoRun._finish = lambda run: os.kill(os.getpid(), signal.SIGKILL); sys.argv[1:] = {words!r}; run()"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert {path.name for path in out.iterdir()} - {".v-annotated.part.mp4"} == {"v.csv.part"}
    for half in (".v-annotated.part.mp4", ".v-poker.part.mkv"):  # the second of a run with other words
        (out / half).write_bytes(b"half a film")
    assert video(source, out, weights) == 0
    assert "has what a run left that was killed: it is begun anew" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["v-annotated.mp4", "v-timeline.png", "v.csv"]
    assert len(rows_of(out)) == len(pictures_of(out / "v-annotated.mp4")) == 12
    assert video(source, tmp_path / "unbroken", weights) == 0
    assert (out / "v.csv").read_bytes() == (tmp_path / "unbroken" / "v.csv").read_bytes()


def test_two_runs_do_not_write_the_same_film(astronaut, weights, tmp_path, capsys):
    fcntl = pytest.importorskip("fcntl")
    source, half = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 3), tmp_path / "out" / ".v-annotated.part.mp4"
    half.parent.mkdir()
    half.write_bytes(b"another's")
    with (tmp_path / "out" / "v.csv.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process" in refused(capsys, source, tmp_path / "out", weights)
    assert half.read_bytes() == b"another's"


def test_stopped_before_the_first_frame_leaves_nothing(astronaut, weights, tmp_path, monkeypatch, capsys):
    source = film(tmp_path / "v.mp4", moving(astronaut, 5))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "read_found", stop)
    assert video(source, tmp_path / "out", weights) == 130
    assert "no frame" not in capsys.readouterr().err and list((tmp_path / "out").iterdir()) == []


def test_a_fault_leaves_nothing_half_done(astronaut, weights, tmp_path, monkeypatch):
    source = film(tmp_path / "v.mp4", moving(astronaut, 30))
    monkeypatch.setattr(Reader, "read_found", interrupted(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        video(source, tmp_path / "out", weights)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_the_extra(weights, tmp_path, monkeypatch, capsys):
    for name in ("pfvit.commands.video", "pfvit.video.io", "pfvit.video.writer"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    assert 'pip install "pfvit[video]"' in refused(capsys, "v.mp4", tmp_path / "out", weights)

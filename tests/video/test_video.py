"""`pfvit video`: faces followed, sound kept, odd timing and damage borne, nothing half-done left behind."""

import csv
import io
import math
import signal
import struct
import subprocess
import sys
import threading
import wave
import weakref
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import fake_weights
import numpy as np
import pytest
from conftest import SHARED
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from pfvit.__main__ import main
from pfvit.detection.base import Face
from pfvit.emotions import EIGHT
from pfvit.errors import InputError, OutputError
from pfvit.inference.affect import affect_of
from pfvit.inference.reader import Reader
from pfvit.inference.tracked_frames import with_shares
from pfvit.video import io as video_io
from pfvit.video.baseline import Baseline
from pfvit.video.io import VideoFrame, VideoReader
from pfvit.video.timeline import BINS, Timeline
from pfvit.video.tracking import MEMORY, Tracker, between
from pfvit.video.writer import VideoWriter

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"
WIDE, HIGH, RATE = 320, 240, 20


@pytest.fixture(scope="module")
def astronaut():
    """A face that the detector finds, 150 px."""
    with Image.open(PHOTO) as photo:
        return photo.convert("RGB").resize((240, 240))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return fake_weights.write(tmp_path_factory.mktemp("weights"))


def frame_of(face: Image.Image | None, left: int) -> np.ndarray:
    page = Image.new("RGB", (WIDE, HIGH), (90, 100, 110))
    if face is not None:
        page.paste(face, (left, 0))
    return np.asarray(page)


def film(path: Path, frames, times=None, sound: bool = False, begin: float = 0.0) -> Path:
    """Write frames, shown at `times` in seconds, with a tone if asked to."""
    clock = Fraction(1, 1000)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=RATE, options={"crf": "12", "g": "5"})
        video.width, video.height, video.pix_fmt = WIDE, HIGH, "yuv420p"
        video.codec_context.time_base = clock
        audio = file.add_stream("aac", rate=16_000) if sound else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            time = begin + (times[number] if times else number / RATE)
            frame.pts, frame.time_base = round(time / clock), clock
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            for number in range(16):
                tone = np.sin(np.arange(1024) / 5).astype(np.float32)[None]
                block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 16_000, number * 1024, Fraction(1, 16_000)
                file.mux(audio.encode(block))
            file.mux(audio.encode(None))
    return path


def moving(face, count: int) -> list[np.ndarray]:
    return [frame_of(face, 2 * number) for number in range(count)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    (table,) = folder.glob("*.csv")
    with table.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def video(path, out, weights, *words) -> int:
    return main(["video", str(path), "--out", str(out), "--weights", str(weights), *map(str, words)])


def test_a_face_is_followed_in_every_frame(astronaut, weights, tmp_path):
    source = film(tmp_path / "walk.mp4", moving(astronaut, 14), sound=True)
    assert video(source, tmp_path / "out", weights) == 0
    rows = rows_of(tmp_path / "out")
    assert [int(row["frame"]) for row in rows] == list(range(14))
    assert {row["person"] for row in rows} == {"1"}
    assert [float(row["time"]) for row in rows] == pytest.approx([n / RATE for n in range(14)], abs=1e-3)
    lefts = [int(row["left"]) for row in rows]
    assert lefts[-1] - lefts[0] == pytest.approx(26, abs=8)
    assert all(abs(b - a) <= 6 for a, b in pairwise(lefts)), "it glides from look to look"
    shares = [float(rows[5][name]) for name in ("neutral", "happiness", "contempt")]
    assert all(0 <= share <= 1 for share in shares)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["walk-annotated.mp4", "walk-timeline.png", "walk.csv"]
    with av.open(str(tmp_path / "out" / "walk-annotated.mp4")) as file, av.open(str(source)) as given:
        kept = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
        assert kept == [bytes(packet) for packet in given.demux(audio=0) if packet.size] != []
    drawn = pictures_of(tmp_path / "out" / "walk-annotated.mp4")
    assert len(drawn) == 14
    assert not np.allclose(drawn[3], frame_of(astronaut, 6), atol=40), "a box is drawn"


def test_with_a_baseline_the_film_is_read_twice_and_written_once(astronaut, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("pfvit.video.baseline.LEAST_NEUTRAL", 0)  # these weights do not find this face calm
    source = film(tmp_path / "walk.mp4", moving(astronaut, 14), sound=True)
    assert video(source, tmp_path / "plain", weights, "--smoothing", 0) == 0
    assert video(source, tmp_path / "out", weights, "--baseline", "--affect", "--smoothing", 0) == 0
    plain, rows = rows_of(tmp_path / "plain"), rows_of(tmp_path / "out")
    assert [row["frame"] for row in rows] == [row["frame"] for row in plain]
    shares = [np.array([float(row[name]) for name in EIGHT]) for row in plain]
    baseline = Baseline(EIGHT)
    for share in shares:
        baseline.add(1, share)
    for row, share in zip(rows, shares, strict=True):
        written = [float(row[name]) for name in EIGHT]
        assert written == pytest.approx(baseline.correct(1, share), abs=0.02)  # tables are rounded
        assert float(row["valence"]) == pytest.approx(
            affect_of(dict(zip(EIGHT, written, strict=True))).valence, abs=1e-3
        )
    assert baseline.of(1).any()
    assert video("webcam", tmp_path / "live", weights, "--baseline") == 2


def test_uneven_times_are_kept(astronaut, weights, tmp_path):
    times = [0, 0.05, 0.3, 0.31, 0.9, 1.0, 1.6]
    source = film(tmp_path / "v.mkv", [frame_of(astronaut, 30)] * 7, times)
    assert video(source, tmp_path / "out", weights, "--every", 3) == 0
    assert [float(row["time"]) for row in rows_of(tmp_path / "out")] == pytest.approx(times, abs=2e-3)
    with av.open(str(tmp_path / "out" / "v-annotated.mp4")) as file:
        assert [float(frame.time) for frame in file.decode(video=0)] == pytest.approx(times, abs=2e-3)


def test_a_pause_before_the_end_is_in_the_length(astronaut, weights, tmp_path):
    """Players stop where the file says that it ends."""
    source = film(tmp_path / "v.mkv", [frame_of(astronaut, 30)] * 4, [0, 0.1, 0.2, 4.0])
    assert video(source, tmp_path / "out", weights) == 0
    with av.open(str(tmp_path / "out" / "v-annotated.mp4")) as file:
        assert 4 < file.duration / av.time_base < 5


ONE = 1 << 16
SHOWN = {
    "mirrored": (-ONE, 0, 0, ONE),
    "upside down by a mirror": (ONE, 0, 0, -ONE),
    "turned": (-ONE, 0, 0, -ONE),
}


@pytest.mark.parametrize("how", SHOWN)
def test_a_film_is_shown_as_its_matrix_says(how, astronaut, weights, tmp_path):
    """Phones turn a film by a matrix in its header, and front cameras mirror it."""
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 20)] * 4)
    assert video(source, tmp_path / "as stored", weights, "--no-annotate") == 0
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 44  # version, flags and 40 bytes before it
    a, b, c, d = SHOWN[how]
    content[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(content)
    assert video(source, tmp_path / "shown", weights, "--no-annotate") == 0
    (stored, *_), (shown, *_) = rows_of(tmp_path / "as stored"), rows_of(tmp_path / "shown")
    left, top = (int(stored[name]) for name in ("left", "top"))
    right, bottom = left + int(stored["width"]), top + int(stored["height"])
    expected = (WIDE - right if a < 0 else left, HIGH - bottom if d < 0 else top)
    assert np.abs(np.subtract((int(shown["left"]), int(shown["top"])), expected)).max() <= 8, (shown, expected)


def test_a_recording_that_begins_late_begins_at_zero(astronaut, weights, tmp_path):
    source = film(tmp_path / "v.ts", [frame_of(astronaut, 30)] * 6, begin=3600)
    assert video(source, tmp_path / "out", weights) == 0
    assert float(rows_of(tmp_path / "out")[0]["time"]) == pytest.approx(0, abs=0.1)


SLOW = {
    "two a second": [number / 2 for number in range(9)],
    "a pause": [0, 0.05, 0.1, 0.15, 0.2, 4.2, 4.25, 4.3, 4.35],
    "a time lapse": [10.0 * number for number in range(9)],
}


@pytest.mark.parametrize("every", [1, 3, 4, 100])
@pytest.mark.parametrize("times", SLOW.values(), ids=SLOW)
def test_few_frames_a_second_and_pauses_are_one_person_in_every_frame(times, every, astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 20)] * len(times), times)
    assert video(source, tmp_path / "out", weights, "--every", every, "--poker") == 0
    rows = rows_of(tmp_path / "out")
    assert [float(row["time"]) for row in rows] == pytest.approx(times, abs=2e-3)
    assert {row["person"] for row in rows} == {"1"}
    for name in ("v-annotated.mp4", "v-poker.mp4"):
        assert len(pictures_of(tmp_path / "out" / name)) == len(times)


def test_frames_between_two_detections_stay_few_in_memory(astronaut, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("pfvit.inference.tracked_frames.WAITING", 3 * WIDE * HIGH * 3)
    detected = []
    detect = Reader(weights).detector.detect

    class Counting:
        def detect(self, image):
            detected.append(image)
            return detect(image)

    monkeypatch.setattr(Reader, "detector", Counting())
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 20)] * 10)
    assert video(source, tmp_path / "out", weights, "--every", 1000) == 0
    assert len(detected) == 1 + 3 and len(rows_of(tmp_path / "out")) == 10


def test_oblong_pixels_become_square(astronaut, weights, tmp_path):
    source = tmp_path / "v.mp4"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDE // 2, HIGH, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        narrow = np.asarray(Image.fromarray(frame_of(astronaut, 20)).resize((WIDE // 2, HIGH)))
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(narrow, format="rgb24")))
        file.mux(stream.encode(None))
    assert video(source, tmp_path / "out", weights) == 0
    assert pictures_of(tmp_path / "out" / "v-annotated.mp4")[0].shape == (HIGH, WIDE, 3)
    row = rows_of(tmp_path / "out")[0]
    assert 0.6 < int(row["width"]) / int(row["height"]) < 1.1


@pytest.mark.parametrize(("blanks", "persons"), [(10, {"1"}), (round(RATE * MEMORY) + 10, {"1", "2"})])
def test_stretches_without_a_face(blanks, persons, astronaut, weights, tmp_path):
    frames = [frame_of(astronaut, 20)] * 6 + [frame_of(None, 0)] * blanks + [frame_of(astronaut, 20)] * 6
    source = film(tmp_path / "v.mp4", frames)
    assert video(source, tmp_path / "out", weights, "--no-annotate", "--every", 1) == 0
    rows = rows_of(tmp_path / "out")
    assert {row["person"] for row in rows} == persons
    assert [int(row["frame"]) for row in rows] == [*range(6), *range(6 + blanks, 12 + blanks)]


def test_a_face_gone_at_the_next_look_is_there_up_to_the_middle(astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 20)] + [frame_of(None, 0)] * 8)
    assert video(source, tmp_path / "out", weights, "--no-annotate", "--every", 8) == 0
    assert [int(row["frame"]) for row in rows_of(tmp_path / "out")] == [0, 1, 2, 3]


def test_no_face_at_all(weights, tmp_path):
    source = film(tmp_path / "v.mp4", [frame_of(None, 0)] * 5)
    assert video(source, tmp_path / "out", weights) == 0
    assert rows_of(tmp_path / "out") == []
    assert len(pictures_of(tmp_path / "out" / "v-annotated.mp4")) == 5


@pytest.mark.parametrize(("strength", "changed"), [(1, True), (0, False)])
def test_poker_changes_the_face_and_nothing_else(strength, changed, astronaut, weights, tmp_path):
    frames = [frame_of(astronaut, 40)] * 5
    source = film(tmp_path / "v.mp4", frames)
    assert video(source, tmp_path / "out", weights, "--no-annotate", "--poker", "--strength", strength) == 0
    before, after = (np.stack(pictures_of(path)) for path in (source, tmp_path / "out" / "v-poker.mp4"))
    off = np.abs(before.astype(int) - after)
    assert (off.mean(axis=3).max() > 40) == changed
    assert off[:, :, :30].max() < 30, "left of the face only the codec's loss"


@pytest.mark.parametrize("table", ["jsonl", "parquet"])
def test_other_tables(table, astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 3)
    assert video(source, tmp_path / "out", weights, "--no-annotate", "--table", table) == 0
    assert (tmp_path / "out" / f"v.{table}").stat().st_size > 100


# What people hand in by mistake.


def song(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(bytes(8000))
    return path


def refused(capsys, *arguments) -> str:
    assert video(*arguments) == 1
    return capsys.readouterr().err


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


def test_reliability_is_that_of_the_emotion_that_is_named(weights):
    (read,) = Reader(weights, threads=1).read(np.full((40, 40, 3), 16, np.uint8), whole=True)
    sad = replace(read, emotion="sadness", reliability=0.6)
    assert sad.unsure
    smoothed = {"neutral": 0.05, "sadness": 0.9, "anger": 0.05}
    same = with_shares(sad, smoothed)
    assert (same.emotion, same.reliability, same.unsure) == ("sadness", 0.6, True)
    at_rest = with_shares(sad, {"neutral": 0.9, "sadness": 0.05, "anger": 0.05})  # as with a baseline
    assert (at_rest.emotion, at_rest.reliability, at_rest.unsure) == ("neutral", None, False)
    flat = with_shares(replace(sad, reliability=0.99), {"neutral": 0.36, "sadness": 0.33, "anger": 0.31})
    assert flat.unsure


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


def test_a_torn_off_tail(astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mkv", moving(astronaut, 40))
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * 2 // 3])
    assert video(source, tmp_path / "out", weights, "--every", 4) in (0, 1)
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


def test_only_so_many_seconds(astronaut, weights, tmp_path):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 12)
    assert video(source, tmp_path / "out", weights, "--seconds", 0.3) == 0
    assert len(rows_of(tmp_path / "out")) == 6


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


@pytest.mark.skipif(not (SHARED / "photos").is_dir(), reason="no ../shared/photos")
def test_a_real_film_with_sound(tmp_path):
    source = SHARED / "photos" / "WolfgangLanger_Pexels.mp4"
    assert main(["video", str(source), "--out", str(tmp_path), "--seconds", "2"]) == 0
    assert {row["person"] for row in rows_of(tmp_path)} == {"1"}
    with av.open(str(tmp_path / "WolfgangLanger_Pexels-annotated.mp4")) as file:
        assert file.streams.audio


# Who is who.


def face(x: float, y: float, side: float = 40) -> Face:
    return Face((x, y, side, side), 0.9, None)


def test_two_who_pass_each_other_keep_their_numbers():
    tracker = Tracker(0)
    for step in range(30):
        numbers = tracker.assign([face(10 * step, 0), face(300 - 10 * step, 60)], step / 10)
        assert numbers == [1, 2], step
    assert tracker.assign([face(300 - 290, 60), face(290, 0)], 3.0) == [2, 1], "the order does not matter"


def test_a_face_elsewhere_is_someone_else():
    tracker = Tracker(0)
    assert tracker.assign([face(0, 0)], 0) == [1]
    assert tracker.assign([face(300, 0)], 0.1) == [2]
    assert tracker.assign([face(0, 0, 160)], 0.2) == [3], "four times as large"
    assert tracker.assign([], 0.3) == [] and tracker.count == 3
    assert tracker.assign([face(0, 0, 0)], 0.4) == [4], "a box without an inside is no accident"


@given(some.lists(some.tuples(some.integers(0, 900), some.integers(0, 900)), max_size=8, unique=True))
def test_no_number_is_given_twice(places):
    tracker = Tracker(0)
    for step in range(3):
        numbers = tracker.assign([face(x + step, y) for x, y in places], step / 10)
        assert len(set(numbers)) == len(places)


def test_smoothing_is_an_exponential_mean_over_seconds():
    tracker = Tracker(0.5)
    tracker.assign([face(0, 0)], 0)
    assert tracker.smooth(1, np.array([1.0, 0.0]), 0).tolist() == [1, 0]
    assert tracker.smooth(1, np.array([0.0, 1.0]), 0.5) == pytest.approx([math.exp(-1), 1 - math.exp(-1)])
    assert tracker.smooth(1, np.array([0.0, 1.0]), 9.0).tolist() == [0, 1], "what was long ago is forgotten"


def test_reliability_is_smoothed_while_the_emotion_stays():
    tracker = Tracker(0.5)
    tracker.assign([face(0, 0)], 0)
    assert tracker.smooth_reliability(1, "fear", None, 0) is None
    assert tracker.smooth_reliability(1, "fear", 0.8, 0.1) == 0.8
    assert tracker.smooth_reliability(1, "fear", None, 0.2) == 0.8, (
        "a frame of another emotion says nothing of this one"
    )
    assert tracker.smooth_reliability(1, "fear", 0.4, 0.7) == pytest.approx(0.4 + 0.4 * math.exp(-1))
    assert tracker.smooth_reliability(1, "anger", None, 0.8) is None
    assert tracker.smooth_reliability(1, "anger", 0.6, 9.0) == 0.6
    frame_by_frame = Tracker(0)
    assert [frame_by_frame.smooth_reliability(1, "fear", r, t) for t, r in enumerate((0.8, None, 0.4))] == [
        0.8,
        None,
        0.4,
    ]


def test_between_two_looks():
    first, second = face(0, 0, 40), Face((10.0, 20.0, 50.0, 60.0), 0.5, None)
    assert between(first, second, 0).box == first.box and between(first, second, 1).box == second.box
    assert between(first, second, 0.5) == Face((5.0, 10.0, 45.0, 50.0), 0.5, None)


def test_a_timeline_stays_small_however_long_the_film():
    timeline = Timeline(["neutral", "happiness"])
    crop = np.zeros((8, 8, 3), np.uint8)
    for second in range(0, 36_000, 7):
        timeline.add(1, second, np.array([0.25, 0.75]), crop)
    bins = timeline.persons[1]
    assert len(bins) <= BINS and timeline.last < BINS
    assert sum(sums[-1] for sums in bins.values()) == len(range(0, 36_000, 7))
    picture = np.asarray(timeline.draw("long"))
    yellow = (picture == (240, 200, 60)).all(axis=2).sum()
    gray = (picture == (205, 209, 214)).all(axis=2).sum()
    assert yellow == pytest.approx(3 * gray, rel=0.05)


def test_a_film_is_read_frame_by_frame(astronaut, tmp_path):
    frames = VideoReader(str(film(tmp_path / "v.mp4", moving(astronaut, 4)))).frames()
    first = next(frames)
    assert isinstance(first, VideoFrame) and first.number == 0 and first.image.shape == (HIGH, WIDE, 3)


def test_frames_that_would_take_gigabytes_are_refused(astronaut, weights, tmp_path, monkeypatch, capsys):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 3)
    monkeypatch.setattr(video_io, "MOST_PIXELS", 1000)
    assert "at most 0 million, and 16384 a side, are read" in refused(capsys, source, tmp_path / "out", weights)
    assert not list((tmp_path / "out").glob("*"))


def test_frames_that_cannot_be_written_are_told(tmp_path):
    wide = np.zeros((48, 20_000, 3), np.uint8)  # wider than H.264 can be
    writer = VideoWriter(tmp_path / "v.mp4", Fraction(25), (20_000, 48), None)
    with pytest.raises(OutputError, match=r"v\.mp4 cannot be written"):  # by whichever call comes after it failed
        writer.show(wide, 0.0)
        writer.finish()
    writer.discard()
    assert not list(tmp_path.glob("*"))


def test_frames_that_grow_beyond_it_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(video_io, "MOST_PIXELS", 5000)
    content = b""
    for width, height in ((64, 48), (WIDE, HIGH), (64, 48)):
        with av.open(str(tmp_path / "some.ts"), "w") as file:
            stream = file.add_stream("mpeg2video", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for _ in range(4):
                black = np.zeros((height, width, 3), np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
            file.mux(stream.encode(None))
        content += (tmp_path / "some.ts").read_bytes()
    (tmp_path / "all.ts").write_bytes(content)
    reader = VideoReader(str(tmp_path / "all.ts"))
    frames = [frame for frame in reader.frames() if isinstance(frame, VideoFrame)]
    reader.close()
    assert 4 <= len(frames) <= 8 and reader.damaged >= 4 and {frame.image.shape for frame in frames} == {(48, 64, 3)}


def test_films_that_nothing_decodes_are_told(astronaut, weights, tmp_path, capsys):
    source = film(tmp_path / "v.mp4", [frame_of(astronaut, 30)] * 3)
    source.write_bytes(source.read_bytes().replace(b"avc1", b"zzzz"))
    said = refused(capsys, source, tmp_path / "out", weights)
    assert "v.mp4 is damaged, or coded in a way that nothing here decodes" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile other.ts\n"),
        ("notes.txt", "notes\n" * 3000),
        (
            "list.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        ),
    ],
)
def test_a_film_is_no_text_and_names_no_other_files(name, content, astronaut, tmp_path):
    film(tmp_path / "other.ts", [frame_of(astronaut, 30)] * 3)
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="a list of other files has to be joined with FFmpeg first"):
        VideoReader(str(tmp_path / name))


@pytest.mark.parametrize("name", ["http:/127.0.0.1:9/film.mp4", "concat:film.mp4", "data:x,film.mp4", "file:film.mp4"])
def test_a_film_that_is_called_like_an_address_is_the_file_of_that_name(name, astronaut, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(film(Path("a.mp4"), [frame_of(astronaut, 30)] * 3).read_bytes())
    assert len(list(VideoReader(name).frames())) == 3


def test_few_large_frames_wait(tmp_path):
    assert video_io._square(640, 480, Fraction(4, 3)) == (853, 480)
    assert video_io._square(640, 480, Fraction(10_000, 1)) == (640, 480), "nobody films so"
    assert video_io._square(640, 48, Fraction(50, 1)) == (640, 48)
    assert video_io.frames_at_once(640 * 480, 6) == 6 and video_io.frames_at_once(7680 * 4320, 6) == 1
    assert video_io.frames_at_once(0, 6) == 6 and video_io.frames_at_once(10**9, 6) == 1


def test_of_large_frames_two_are_held_at_a_time(astronaut, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(video_io, "MOST_WAITING", WIDE * HIGH * 3)
    monkeypatch.setattr("pfvit.inference.tracked_frames.WAITING", WIDE * HIGH * 3)
    alive, most = set(), []
    upright = video_io._upright

    def counted(*arguments):
        image = upright(*arguments)
        alive.add(len(most))
        weakref.finalize(image, alive.discard, len(most))
        most.append(len(alive))
        return image

    monkeypatch.setattr(video_io, "_upright", counted)
    source = film(tmp_path / "v.mp4", moving(astronaut, 9), sound=True)
    assert video(source, tmp_path / "out", weights, "--poker") == 0
    assert len(most) == 9 and max(most) <= 2, "one that is read and one that is written"
    for name in ("v-poker.mp4", "v-annotated.mp4"):
        assert len(pictures_of(tmp_path / "out" / name)) == 9


def test_what_goes_wrong_in_drawing_is_raised_by_a_later_call(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", Fraction(25), (64, 48), None)
    threads = []

    def draw():
        threads.append(threading.current_thread())
        raise ZeroDivisionError

    writer.show(np.zeros((48, 64, 3), np.uint8), 0.0)
    writer.show(draw, 0.04)
    with pytest.raises(ZeroDivisionError):
        writer.finish()
    writer.discard()
    assert threads and threads[0] is not threading.current_thread() and not list(tmp_path.glob("*"))

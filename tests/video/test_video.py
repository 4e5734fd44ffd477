"""`pfvit video`: faces followed, sound kept, odd timing borne, what is written."""

import struct
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from conftest import SHARED
from films import HIGH, RATE, WIDE, film, frame_of, moving, pictures_of, rows_of, video
from PIL import Image

from pfvit.__main__ import main
from pfvit.emotions import EIGHT
from pfvit.inference.affect import affect_of
from pfvit.inference.reader import Reader
from pfvit.inference.tracked_frames import with_shares
from pfvit.video.baseline import Baseline
from pfvit.video.tracking import MEMORY


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


@pytest.mark.skipif(not (SHARED / "photos").is_dir(), reason="no ../shared/photos")
def test_a_real_film_with_sound(tmp_path):
    source = SHARED / "photos" / "WolfgangLanger_Pexels.mp4"
    assert main(["video", str(source), "--out", str(tmp_path), "--seconds", "2"]) == 0
    assert {row["person"] for row in rows_of(tmp_path)} == {"1"}
    with av.open(str(tmp_path / "WolfgangLanger_Pexels-annotated.mp4")) as file:
        assert file.streams.audio

"""Films in and out: `VideoReader` and `VideoWriter`, sizes, formats, memory."""

import gc
import threading
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import HIGH, RATE, WIDE, film, frame_of, moving, pictures_of, refused, video

from pfvit.errors import InputError, OutputError
from pfvit.video import io as video_io
from pfvit.video.io import VideoFrame, VideoReader
from pfvit.video.writer import WRITE_QUEUE, VideoWriter


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


@pytest.mark.parametrize(("said", "written"), [(1, 1), (6, 6), (9, 9), (2, 2)])  # BT.709, BT.601, BT.2020, nothing
def test_a_film_looks_as_the_one_that_it_is_made_of(said, written, tmp_path):
    """Players convert by what a film says of its colours; pure green is 30 levels off by another one's numbers."""
    green = np.zeros((48, 64, 3), np.uint8) + np.array([0, 200, 0], np.uint8)
    with av.open(str(tmp_path / "v.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = stream.codec_context.color_primaries = said
        stored = av.VideoFrame.from_ndarray(green, format="rgb24")
        file.mux(stream.encode(stored.reformat(format="yuv420p", dst_colorspace=5 if said == 2 else said)))
        file.mux(stream.encode(None))
    source = VideoReader(str(tmp_path / "v.mp4"))
    (frame,) = source.frames()
    writer = VideoWriter(tmp_path / "w.mp4", Fraction(25), (64, 48), None, source.video)
    writer.show(frame.image, 0.0)
    writer.finish()
    assert np.abs(frame.image - green.astype(int)).max() <= 4
    again = VideoReader(str(tmp_path / "w.mp4")).video.codec_context
    assert again.colorspace == again.color_primaries == written
    (before,), (after,) = (list(av.open(str(tmp_path / name)).decode(video=0)) for name in ("v.mp4", "w.mp4"))
    for stored, made in zip(before.planes, after.planes, strict=True):
        assert abs(bytes(stored)[5] - bytes(made)[5]) <= 3


def test_sound_waits_for_no_frame(astronaut, tmp_path):
    source = VideoReader(str(film(tmp_path / "v.mp4", moving(astronaut, 4), sound=True)))
    packets = [one for one in source.frames(sound=True) if isinstance(one, av.Packet)]
    writer = VideoWriter(tmp_path / "w.mp4", Fraction(25), (64, 48), source.audio)
    go_on = threading.Event()
    writer.show(lambda: np.full((48, 64, 3), 255 * go_on.wait(5), np.uint8), 0.0)
    for packet in packets:
        writer.sound(packet)
    assert len(packets) > WRITE_QUEUE and not writer.frames[0].done()
    go_on.set()
    writer.finish()
    with av.open(str(tmp_path / "w.mp4")) as file:
        assert sum(packet.size > 0 for packet in file.demux(audio=0)) == len(packets)
    assert pictures_of(tmp_path / "w.mp4")[0].mean() > 250


def test_decoded_frames_are_freed_without_waiting_for_the_garbage_collector(astronaut, tmp_path):
    source = VideoReader(str(film(tmp_path / "v.mp4", moving(astronaut, 30))))
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in source.frames()) == 30
        assert sum(type(one) is av.VideoFrame for one in gc.get_objects()) < 10  # isinstance asks objects, torch's too
    finally:
        gc.enable()

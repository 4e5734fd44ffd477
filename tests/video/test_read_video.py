"""`pfvit.read_video`: the frames of a video with the people in them, from Python."""

import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from films import HIGH, RATE, WIDE, film, frame_of, moving, pictures_of, rows_of

import pfvit
from pfvit.__main__ import main
from pfvit.errors import InputError, UsageError
from pfvit.video.io import VideoReader

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"


@pytest.fixture(scope="module")
def walk(astronaut, tmp_path_factory) -> Path:
    """14 frames with a face, and one without."""
    return film(tmp_path_factory.mktemp("film") / "walk.mp4", [*moving(astronaut, 14), frame_of(None, 0)])


def test_it_says_what_the_table_of_pfvit_video_says(walk, tmp_path):
    results = list(pfvit.read_video(walk))
    assert [result.frame for result in results] == list(range(15)) and results[-1].faces == []
    assert [result.time for result in results] == pytest.approx([n / RATE for n in range(15)], abs=1e-3)
    for result, picture in zip(results, pictures_of(walk), strict=True):
        assert np.array_equal(result.image, picture)
    assert main(["video", str(walk), "--out", str(tmp_path), "--no-annotate"]) == 0
    told = [(int(row["frame"]), int(row["person"]), row["emotion"], row["unsure"]) for row in rows_of(tmp_path)]
    faces = [(result.frame, face) for result in results for face in result.faces]
    assert told == [(frame, face.face, face.emotion, str(face.unsure)) for frame, face in faces]
    for row, (_, face) in zip(rows_of(tmp_path), faces, strict=True):
        assert float(row["happiness"]) == pytest.approx(face.probabilities["happiness"], abs=1e-6)
    assert faces[0][1].paste_back(results[0].image).shape == (HIGH, WIDE, 3)


def test_settings(walk):
    assert len(list(pfvit.read_video(str(walk), seconds=0.2, every=1, smoothing=0))) == 4
    assert not any(result.faces for result in pfvit.read_video(walk, min_score=1.0, reader=pfvit.Reader(look="quick")))
    for wrong, told in (
        ({"every": 0}, "--every must be 1 or more"),
        ({"every": "4"}, "every must be a whole number, not '4'"),
        ({"min_score": 2}, "--min-score must be from 0 to 1"),
        ({"seconds": 0}, "--seconds must be more than 0"),
        ({"reader": 5}, "reader must be a pfvit.Reader, not 5"),
    ):
        with pytest.raises(UsageError, match=told):
            pfvit.read_video(walk, **wrong)
    with pytest.raises(UsageError, match="give the path of a video, or webcam, not bytes"):
        pfvit.read_video(b"walk.mp4")
    with pytest.raises(InputError, match=r"nothing\.mp4 is not there"):  # at once, not at the first frame
        pfvit.read_video("nothing.mp4")


def test_it_may_be_left_early(walk):
    before = threading.active_count()
    frames = pfvit.read_video(walk)
    assert [result.frame for result in islice(frames, 2)] == [0, 1]
    frames.close()
    assert threading.active_count() == before, "no thread decodes on"


def test_a_video_that_breaks_off_says_so_after_its_frames(walk, monkeypatch):
    def half(self, sound=False):
        yield from islice(whole(self, sound), 6)
        self.broken = "it ends here"

    whole = VideoReader.frames
    monkeypatch.setattr(VideoReader, "frames", half)
    frames = []
    with pytest.raises(InputError, match=r"walk\.mp4: it breaks off after 6 frames \(it ends here\)"):
        for one in pfvit.read_video(walk):
            frames.append(one)
    assert len(frames) == 6


def test_without_the_extra(monkeypatch, walk):
    for name in [name for name in sys.modules if name.startswith(("pfvit.video", "pfvit.inference.tracked"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setitem(sys.modules, "av.packet", None)
    with pytest.raises(ModuleNotFoundError, match=r'pfvit\.read_video needs av.*: pip install "pfvit\[video\]"'):
        pfvit.read_video(walk)

"""The frames of a video with the faces in them, each with the number of its person.

Faces are detected in every few frames; in between they are placed on the straight way from one detection to the next,
so that a box never lags behind its face.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from pfvit.detection.base import Face
from pfvit.inference.reader import Reader, crop_faces
from pfvit.inference.reading import Reading
from pfvit.utils.prefetch import prefetch
from pfvit.video.io import MOST_WAITING, VideoFrame, VideoReader
from pfvit.video.tracking import Tracker, between

#: Frames decoded in a thread while the model works.
DECODED_AHEAD = 4
#: Bytes of frames that wait for the next detection at most: with a large --every it comes earlier than asked for, and
#: of frames that are larger in each of them.
WAITING = MOST_WAITING


Correction = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class TrackedFrame(NamedTuple):
    """A frame, the faces in it, and the number of each face's person."""

    frame: VideoFrame
    faces: list[Face]
    persons: list[int]


class _Detection(NamedTuple):
    """The faces that were detected at a second, and the number of each one's person."""

    time: float
    faces: list[Face]
    persons: list[int]


class TrackedFrames:
    """One video, to be gone through once."""

    def __init__(
        self,
        source: VideoReader,
        reader: Reader,
        smoothing: float,
        every: int,
        min_score: float,
        seconds: float | None = None,
    ):
        """Faces are detected in each frame whose number `every` divides, and those that score less than `min_score`
        (0 to 1) left out; `smoothing` is in seconds, and it ends after so many `seconds` if they are given."""
        self.source, self.reader, self.tracker = source, reader, Tracker(smoothing)
        self.every, self.min_score, self.seconds = every, min_score, seconds

    def runs(
        self, begin: Callable[[VideoFrame], None] | None = None, sound: Callable[[Packet], None] | None = None
    ) -> Generator[list[TrackedFrame], None, None]:
        """Yield the frames with the faces in them, in runs that end with a detection.

        `begin` is called with the first frame; `sound`, if given, with the sound between frames, after `begin`.
        """
        before: _Detection | None = None  # faces are detected in the first frame, so none comes before a detection
        waiting: list[VideoFrame] = []
        size = 0
        for frame in self._frames(begin, sound):
            waiting.append(frame)
            size += frame.image.nbytes
            if frame.number % self.every == 0 or size + frame.image.nbytes > WAITING:
                now = self._detect(frame)
                run = self._filled(before or now, now, waiting)
                before, waiting, size = now, [], 0
                del frame  # large ones should not be kept while those that follow are gathered
                yield run
                del run
        if waiting and before:
            yield self._filled(before, self._detect(waiting[-1]), waiting)

    def read(self, run: list[TrackedFrame]) -> list[list[Reading]]:
        """Recognise the faces of some frames together."""
        found = [crop_faces(one.frame.image, one.faces) for one in run]
        return self.reader.read_found(found, [self.source.source] * len(run))

    def smoothed(self, reading: Reading, person: int, time: float, correct: Correction | None = None) -> Reading:
        """Return a reading as the person's: with their number as `face`, and smoothed over the time before.

        `correct` takes the probabilities of this frame and returns what is smoothed in their place.
        """
        shares = np.array(list(reading.probabilities.values()))
        shares = self.tracker.smooth(person, shares if correct is None else correct(shares), time)
        named = dict(zip(reading.probabilities, shares.tolist(), strict=True))
        told = with_shares(replace(reading, face=person), named)
        reliability = self.tracker.smooth_reliability(person, told.emotion, told.reliability, time)
        return replace(told, reliability=reliability)

    def _frames(
        self, begin: Callable[[VideoFrame], None] | None, sound: Callable[[Packet], None] | None
    ) -> Iterator[VideoFrame]:
        items = self.source.frames(sound=sound is not None)
        early: list[Packet] = []  # sound before the first frame: what is written needs that frame's size first
        begun = False
        ahead = self.source.at_once(DECODED_AHEAD)
        for item in items if self.source.live or ahead == 1 else prefetch(items, ahead):
            if isinstance(item, VideoFrame):
                if self.seconds is not None and item.time >= self.seconds:
                    return
                if not begun and begin is not None:
                    begin(item)
                begun = True
                yield item
            else:
                early.append(item)
            del item  # a frame may be large, and the next one is read now
            if begun and sound is not None:
                for packet in early:
                    sound(packet)
                early.clear()

    def _detect(self, frame: VideoFrame) -> _Detection:
        faces = [face for face in self.reader.detect(frame.image) if face.score >= self.min_score]
        return _Detection(frame.time, faces, self.tracker.assign(faces, frame.time))

    def _filled(self, before: _Detection, now: _Detection, frames: list[VideoFrame]) -> list[TrackedFrame]:
        """Place faces in the frames up to a detection in the last one; a face that only this or the one before has is
        placed in the nearer half."""
        tracked = []
        first = dict(zip(before.persons, before.faces, strict=True))
        second = dict(zip(now.persons, now.faces, strict=True))
        for frame in frames[:-1]:
            share = (frame.time - before.time) / (now.time - before.time)
            nearer = first if share < 0.5 else second
            placed = {
                person: between(first[person], second[person], share) if person in first and person in second else face
                for person, face in [*first.items(), *second.items()]
                if person in nearer
            }
            tracked.append(TrackedFrame(frame, list(placed.values()), list(placed)))
        return [*tracked, TrackedFrame(frames[-1], now.faces, now.persons)]


def with_shares(reading: Reading, shares: dict[str, float]) -> Reading:
    """Return a reading with other probabilities, and the emotion that is most probable by them.

    Its reliability is that of the answer to this frame alone: of another emotion it says nothing, and is left out.
    """
    emotion = max(shares, key=lambda name: shares[name])
    reliability = reading.reliability if emotion == reading.emotion else None
    return replace(reading, emotion=emotion, probabilities=shares, reliability=reliability)

"""Which face belongs to whom over a video: faces matched from one detection to the next, probabilities smoothed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lap
import numpy as np
from numpy.typing import NDArray

from pfvit.detection.base import Face

#: Largest distance of one face in two detections: how far it moved, in shares of its side, plus how often its size
#: doubled or halved.
REACH = 0.8
#: A face that comes back within so many seconds where it was is the same person.
MEMORY = 1.5


@dataclass
class Track:
    """Someone seen in a video."""

    number: int
    face: Face
    """Where they were seen last."""
    time: float
    """When that was, in seconds."""


class Tracker:
    """Numbers the persons in a video from 1, and smooths their probabilities over time."""

    def __init__(self, smoothing: float):
        """`smoothing` is the time constant of an exponential mean in seconds; 0 does not smooth."""
        self.smoothing = smoothing
        self.count = 0
        """Persons seen so far."""
        self._tracks: dict[int, Track] = {}
        self._smoothed: dict[int, tuple[NDArray[np.float64], float]] = {}  # probabilities, and of which second
        self._reliability: dict[int, tuple[str, float | None, float]] = {}  # of which emotion, and of which second
        self._last = -math.inf  # second of the last detection

    def assign(self, faces: Sequence[Face], time: float) -> list[int]:
        """Return the person's number for each face that a detection at `time` seconds found.

        It is the number of the nearest face in the last detection, or in the last MEMORY seconds if that is longer, and
        a new one where there is none within REACH. Faces and persons are matched so that the sum of their distances is
        smallest.
        """
        tracks = [track for track in self._tracks.values() if track.time >= min(self._last, time - MEMORY)]
        # Those seen up to the last detection stay known: the frames since then are read after this call.
        self._tracks = {track.number: track for track in tracks}
        self._smoothed = {number: kept for number, kept in self._smoothed.items() if number in self._tracks}
        self._reliability = {number: kept for number, kept in self._reliability.items() if number in self._tracks}
        found: list[Track | None] = [None] * len(faces)
        if tracks and faces:
            cost = np.array([[_distance(face, track.face) for track in tracks] for face in faces])
            _, chosen, _ = lap.lapjv(cost, extend_cost=True, cost_limit=REACH)
            found = [tracks[place] if place >= 0 else None for place in chosen]
        numbers = []
        for face, track in zip(faces, found, strict=True):
            if track is None:
                self.count += 1
                track = self._tracks[self.count] = Track(self.count, face, time)
            track.face, track.time = face, time
            numbers.append(track.number)
        self._last = time
        return numbers

    def smooth(self, number: int, probabilities: NDArray[np.floating], time: float) -> NDArray[np.float64]:
        """Return a person's probabilities, float64 [labels], smoothed up to `time` seconds.

        After a gap of more than MEMORY seconds smoothing begins anew.
        """
        shares = np.asarray(probabilities, dtype=np.float64)
        before, then = self._smoothed.get(number, (shares, -math.inf))
        if self.smoothing > 0 and time - then <= MEMORY:
            shares = before + (1 - math.exp(-(time - then) / self.smoothing)) * (shares - before)
        self._smoothed[number] = shares, time
        return shares

    def smooth_reliability(self, number: int, emotion: str, reliability: float | None, time: float) -> float | None:
        """Return how probably a person's smoothed emotion is right, from 0 to 1; None if nothing is known of it.

        `reliability` is that of the frame, or None if the frame alone shows another emotion. It is smoothed as the
        probabilities are, for as long as the emotion stays the same.
        """
        before, smoothed, then = self._reliability.get(number, (emotion, None, -math.inf))
        if self.smoothing == 0 or emotion != before or time - then > MEMORY:
            smoothed = None
        if reliability is not None:
            if smoothed is not None:
                kept = math.exp(-(time - then) / self.smoothing)
                reliability = kept * smoothed + (1 - kept) * reliability
            smoothed = reliability
        self._reliability[number] = emotion, smoothed, time
        return smoothed


def between(first: Face, second: Face, share: float) -> Face:
    """Return the face on the straight way from one detection to the next, after `share` (0 to 1) of the way."""
    mean = (1 - share) * np.array(first.box) + share * np.array(second.box)
    points = None
    if first.points is not None and second.points is not None:
        points = (1 - share) * first.points + share * second.points
    x, y, width, height = mean.tolist()
    return Face((x, y, width, height), min(first.score, second.score), points)


def _distance(one: Face, other: Face) -> float:
    (x, y, wide, high), (u, v, wider, higher) = one.box, other.box
    side, other_side = math.sqrt(max(wide * high, 1)), math.sqrt(max(wider * higher, 1))
    moved = math.hypot(x + wide / 2 - u - wider / 2, y + high / 2 - v - higher / 2)
    return moved / math.sqrt(side * other_side) + abs(math.log2(side / other_side))

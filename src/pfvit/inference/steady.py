"""Poker faces that are steady from frame to frame: the photo model's maps, smoothed over time for each person.

A single frame's maps jitter a little, and half of the model's doubt is told by the mirror image. In a video both are
had for the price of one: frames are looked at as they are and mirrored in turn, and the maps are averaged over time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pfvit.inference.generator import faded, mirrored, together
from pfvit.inference.reading import Reading

Maps = NDArray[np.float32]

#: Time constant of the average, and how long a face that comes takes to lose its expression, in seconds.
SMOOTHING, FADE_IN = 0.12, 0.25
#: A person who was not seen for so long starts anew.
FORGOTTEN = 1.5


@dataclass
class _Person:
    """The averaged maps of one person, from frames as they are and from mirrored ones."""

    plain: Maps
    turned: Maps
    since: float
    time: float
    next_is_turned: bool = False


class SteadyMovement:
    """Gives readings of a video's faces their maps. Frames are to be added in the order of time."""

    def __init__(self) -> None:
        self.people: dict[int, _Person] = {}
        self.begun = False

    def add(self, frames: Sequence[tuple[float, Sequence[Reading], Sequence[int]]]) -> None:
        """Set the maps of all faces in some frames: (seconds, faces, the number of each face's person).

        Maps are predicted for all of them together. Whoever comes fades in, and whoever is not in the last of these
        frames any more fades out.
        """
        views: list[tuple[Reading, bool]] = []
        known = {number: person.next_is_turned for number, person in self.people.items()}
        for _, readings, persons in frames:
            for reading, number in zip(readings, persons, strict=True):
                if reading.generator.moves(reading.crop):
                    if number not in known:
                        views.append((reading, True))  # both at first, so that there is something to compare
                        known[number] = False
                    views.append((reading, known[number]))
                    known[number] = not known[number]
        if not views:
            return
        crops = [reading.crop[:, ::-1] if turned else reading.crop for reading, turned in views]
        found: dict[tuple[int, bool], Maps] = {}
        for (reading, turned), maps in zip(views, views[0][0].generator.maps(crops), strict=True):
            found[id(reading), turned] = mirrored(maps) if turned else maps
        left = _frames_left(frames)
        for place, (time, readings, persons) in enumerate(frames):
            for reading, number in zip(readings, persons, strict=True):
                plain, turned = found.get((id(reading), False)), found.get((id(reading), True))
                if plain is not None or turned is not None:
                    self._set(reading, number, time, plain, turned, left.get(number, {}).get(place, 1.0))
        self.begun = True
        last = frames[-1][0]
        self.people = {number: one for number, one in self.people.items() if last - one.time <= FORGOTTEN}

    def _set(
        self, reading: Reading, number: int, time: float, plain: Maps | None, turned: Maps | None, share: float
    ) -> None:
        person = self.people.get(number)
        if person is None or time - person.time > FORGOTTEN:
            first = plain if plain is not None else turned
            if first is None:
                return
            since = time if self.begun else -math.inf  # whoever is there from the beginning need not come
            person = self.people[number] = _Person(
                first if plain is None else plain, first if turned is None else turned, since, time
            )
        else:
            # Each kind comes every other frame, so it has twice as much to catch up.
            new = np.float32(1 - math.exp(-2 * max(time - person.time, 0.0) / SMOOTHING))
            if plain is not None:
                person.plain = (person.plain + new * (plain - person.plain)).astype(np.float32, copy=False)
            if turned is not None:
                person.turned = (person.turned + new * (turned - person.turned)).astype(np.float32, copy=False)
        person.time, person.next_is_turned = time, plain is not None
        share *= min(1.0, (time - person.since) / FADE_IN)
        maps, agreement = together(person.plain, person.turned)
        reading.maps[:] = [(faded(maps, share), agreement)]


def _frames_left(frames: Sequence[tuple[float, Sequence[Reading], Sequence[int]]]) -> dict[int, dict[int, float]]:
    """Return the share of the change in each frame of those who are not in the last one: it falls to 0 behind them."""
    left: dict[int, dict[int, float]] = {}
    last = set(frames[-1][2])
    for number in {number for _, _, persons in frames for number in persons} - last:
        there = [place for place, (_, _, persons) in enumerate(frames) if number in persons]
        left[number] = {place: 1 - (k + 1) / (len(there) + 1) for k, place in enumerate(there)}
    return left

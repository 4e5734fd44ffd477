"""Poker faces that are steady from frame to frame: the photo model's maps, smoothed over time for each person.

A single frame's maps jitter a little, and half of the model's doubt is told by the mirror image. In a video both are
had for the price of one half: every second frame or so is looked at, as it is and mirrored in turn, and the maps are
averaged over time.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.inference.generator import mirrored, together, trust_of
from pfvit.inference.reading import Reading

Maps = NDArray[np.float32]

#: Time constant of the average, and how long a face that comes takes to lose its expression, in seconds.
SMOOTHING, FADE_IN = 0.12, 0.25
#: Seconds after which a person is looked at again; in between maps lie on the way from one look to the next.
LOOK_EVERY = 0.06
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


class _Seen(NamedTuple):
    """A face in a frame."""

    place: int
    time: float
    reading: Reading


class _State(NamedTuple):
    """Someone's maps at a time, and how far plain and mirrored ones agree."""

    time: float
    maps: Maps
    agreement: float


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
        seen: dict[int, list[_Seen]] = defaultdict(list)
        for place, (time, readings, persons) in enumerate(frames):
            for reading, number in zip(readings, persons, strict=True):
                if reading.generator.moves:
                    seen[number].append(_Seen(place, time, reading))
        if not seen:
            return
        looks = {number: self._looks(number, there) for number, there in seen.items()}
        views = [(one.reading, turned) for chosen in looks.values() for one, kinds in chosen for turned in kinds]
        crops = [reading.crop[:, ::-1] if turned else reading.crop for reading, turned in views]
        found: dict[tuple[int, bool], Maps] = {}
        for (reading, turned), maps in zip(views, views[0][0].generator.maps(crops), strict=True):
            found[id(reading), turned] = mirrored(maps) if turned else maps
        left = _frames_left(frames)
        for number, there in seen.items():
            states = self._states(number, looks[number], found)
            since = self.people[number].since
            for one in there:
                maps, agreement = _between(states, one.time)
                share = left.get(number, {}).get(one.place, 1.0) * min(1.0, (one.time - since) / FADE_IN)
                one.reading.maps[:] = [(maps, share * trust_of(agreement))]
        self.begun = True
        last = frames[-1][0]
        self.people = {number: one for number, one in self.people.items() if last - one.time <= FORGOTTEN}

    def _looks(self, number: int, there: Sequence[_Seen]) -> list[tuple[_Seen, tuple[bool, ...]]]:
        """Return in which frames a person is looked at, as they are (False) or mirrored (True)."""
        person = self._known(number, there[0].time)
        time, turned = (-math.inf, False) if person is None else (person.time, person.next_is_turned)
        looks: list[tuple[_Seen, tuple[bool, ...]]] = []
        for one in there:
            if person is None and not looks:
                looks.append((one, (True, False)))  # both, so that there is something to compare
                time, turned = one.time, True
            elif one.time - time >= LOOK_EVERY or one is there[-1]:
                looks.append((one, (turned,)))
                time, turned = one.time, not turned
        return looks

    def _states(
        self, number: int, looks: Sequence[tuple[_Seen, tuple[bool, ...]]], found: dict[tuple[int, bool], Maps]
    ) -> list[_State]:
        """Return a person's maps and agreement at each look, after those that were known before."""
        person = self._known(number, looks[0][0].time)
        states = [] if person is None else [_State(person.time, *together(person.plain, person.turned))]
        for one, kinds in looks:
            plain, turned = found.get((id(one.reading), False)), found.get((id(one.reading), True))
            if person is None:
                since = one.time if self.begun else -math.inf  # whoever is there from the beginning need not come
                person = self.people[number] = _Person(
                    found[id(one.reading), False], found[id(one.reading), True], since, one.time
                )
            else:
                # Each kind comes every other look, so it has twice as much to catch up.
                new = np.float32(1 - math.exp(-2 * max(one.time - person.time, 0.0) / SMOOTHING))
                if plain is not None:
                    person.plain = (person.plain + new * (plain - person.plain)).astype(np.float32, copy=False)
                if turned is not None:
                    person.turned = (person.turned + new * (turned - person.turned)).astype(np.float32, copy=False)
            person.time, person.next_is_turned = one.time, kinds[-1] is False
            states.append(_State(one.time, *together(person.plain, person.turned)))
        return states

    def _known(self, number: int, time: float) -> _Person | None:
        person = self.people.get(number)
        return None if person is None or time - person.time > FORGOTTEN else person


def _between(states: Sequence[_State], time: float) -> tuple[Maps, float]:
    """Return the maps and the agreement at a time, on the straight way from one state to the next."""
    after = next((k for k, state in enumerate(states) if state.time >= time), len(states) - 1)
    one, other = states[max(after - 1, 0)], states[after]
    if other.time <= time or one.time >= time:
        nearest = other if other.time <= time else one
        return nearest.maps, nearest.agreement
    share = (time - one.time) / (other.time - one.time)
    maps = (one.maps + np.float32(share) * (other.maps - one.maps)).astype(np.float32, copy=False)
    return maps, one.agreement + share * (other.agreement - one.agreement)


def _frames_left(frames: Sequence[tuple[float, Sequence[Reading], Sequence[int]]]) -> dict[int, dict[int, float]]:
    """Return the share of the change in each frame of those who are not in the last one: it falls to 0 behind them."""
    left: dict[int, dict[int, float]] = {}
    last = set(frames[-1][2])
    for number in {number for _, _, persons in frames for number in persons} - last:
        there = [place for place, (_, _, persons) in enumerate(frames) if number in persons]
        left[number] = {place: 1 - (k + 1) / (len(there) + 1) for k, place in enumerate(there)}
    return left

"""Who is who over the frames of a video: faces matched from look to look, and probabilities smoothed per person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import lap
import numpy as np
from numpy.typing import NDArray

from pfvit.detection.base import Face

#: A face counts as the same one if it moved, and grew or shrank, by less: shares of its side, doublings of its size.
REACH = 0.8
#: A face that comes back within so many seconds where it was is the same person.
MEMORY = 1.5


@dataclass
class Person:
    """Someone seen in a video."""

    number: int
    face: Face
    time: float
    shares: NDArray[np.float64] | None = None
    shares_time: float = 0.0


class People:
    """Everyone seen lately."""

    def __init__(self, smoothing: float):
        """Smooth probabilities over `smoothing` seconds (the time constant of an exponential mean; 0: not at all)."""
        self.smoothing = smoothing
        self.known: dict[int, Person] = {}
        self.count = 0

    def who(self, faces: Sequence[Face], time: float) -> list[int]:
        """Return a number for each face, from 1: the one it had when it was last seen close by, or a new one."""
        self.known = {n: person for n, person in self.known.items() if time - person.time <= MEMORY}
        persons = list(self.known.values())
        found: list[Person | None] = [None] * len(faces)
        if persons and faces:
            cost = np.array([[_distance(face, person.face) for person in persons] for face in faces])
            _, chosen, _ = lap.lapjv(cost, extend_cost=True, cost_limit=REACH)
            found = [persons[place] if place >= 0 else None for place in chosen]
        numbers = []
        for face, person in zip(faces, found, strict=True):
            if person is None:
                self.count += 1
                person = self.known[self.count] = Person(self.count, face, time)
            person.face, person.time = face, time
            numbers.append(person.number)
        return numbers

    def smooth(self, number: int, shares: NDArray[np.floating], time: float) -> NDArray[np.float64]:
        """Return a person's probabilities, smoothed up to this second."""
        person = self.known[number]
        gap = time - person.shares_time
        if person.shares is None or self.smoothing == 0 or gap > MEMORY:
            person.shares = np.asarray(shares, dtype=np.float64)
        else:
            person.shares = person.shares + (1 - math.exp(-gap / self.smoothing)) * (shares - person.shares)
        person.shares_time = time
        return person.shares


def between(first: Face, second: Face, share: float) -> Face:
    """Return a face on the way from one look to the next, `share` of the way."""
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

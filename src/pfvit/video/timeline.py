"""A picture of a video: one strip per person, with the probabilities of the emotions over time."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pfvit.data.images import Pixels
from pfvit.rendering import GAP, INK, PAPER, SOFT, TEXT, font_of

#: More bins than this are merged two by two, so that a film of any length fits in memory.
BINS = 1200
FIRST_BIN = 1 / 30  # seconds
WIDTH, STRIP, FACE, AXIS = 1200, 96, 96, 34
#: A person is drawn as there through gaps shorter than this many seconds: between frames there are no faces.
HELD = 0.5
#: Strips in the picture at most: those who were seen longest.
SHOWN = 12
#: Of the eight emotions in our order: neutral gray, then colours that are distinct to the colour-blind too.
COLOURS = (
    (205, 209, 214),
    (240, 200, 60),
    (120, 190, 235),
    (50, 90, 170),
    (205, 60, 50),
    (110, 140, 60),
    (130, 80, 160),
    (200, 120, 60),
)


class Timeline:
    """Collects probabilities over time, in bounded memory."""

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(labels)
        self.bin = FIRST_BIN
        self.last = 0
        self.persons: dict[int, dict[int, NDArray[np.float64]]] = defaultdict(dict)  # bin -> sums, count at the end
        self.faces: dict[int, tuple[int, Pixels]] = {}

    def add(self, person: int, time: float, shares: NDArray[np.floating], crop: Pixels) -> None:
        """Add a person's probabilities, float [labels], at `time` seconds; `crop` may become the person's picture."""
        while time / self.bin >= BINS:
            self._merge()
        place = max(0, int(time / self.bin))
        self.last = max(self.last, place)
        sums = self.persons[person].setdefault(place, np.zeros(len(self.labels) + 1))
        sums += np.append(shares, 1.0)
        side = min(crop.shape[:2])
        if person not in self.faces or side > self.faces[person][0]:  # the largest view shows best who it is
            small = Image.fromarray(crop).resize((FACE, FACE), Image.Resampling.BILINEAR, reducing_gap=2.0)
            self.faces[person] = side, np.asarray(small)

    def draw(self, title: str) -> Image.Image:
        """Return the picture: a strip for each of the SHOWN persons seen longest, in the order of their numbers."""
        longest = sorted(self.persons, key=lambda person: -len(self.persons[person]))[:SHOWN]
        shown = sorted(longest)
        left = 2 * GAP + FACE + 90
        height = AXIS + len(shown) * (STRIP + GAP) + AXIS + AXIS
        sheet = Image.new("RGB", (left + WIDTH + 2 * GAP, height), PAPER)
        pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
        left_out = len(self.persons) - len(shown)
        note = f"; {left_out} more, seen for a shorter time, are not shown" if left_out else ""
        pen.text((GAP, AXIS // 2), title + note, INK, font, anchor="lm")
        top, bins = AXIS, self.last + 1
        for person in shown:
            sheet.paste(Image.fromarray(self.faces[person][1]), (GAP, top))
            pen.text((GAP + FACE + 8, top + STRIP // 2), f"person {person}", INK, font, anchor="lm")
            sheet.paste(Image.fromarray(self._strip(person, bins)), (left, top))
            top += STRIP + GAP
        self._axis(pen, left, top - GAP, bins * self.bin)
        x = left
        for name, colour in zip(self.labels, COLOURS, strict=False):
            y = top - GAP + AXIS + AXIS // 2
            pen.rectangle((x, y - 7, x + 14, y + 7), colour, SOFT)
            pen.text((x + 20, y), name, INK, font, anchor="lm")
            x += 40 + round(pen.textlength(name, font))
        return sheet

    def _strip(self, person: int, bins: int) -> Pixels:
        strip = np.full((STRIP, bins, 3), 248, dtype=np.uint8)
        held = max(1, round(HELD / self.bin))
        places = sorted(self.persons[person])
        for place, following in zip(places, [*places[1:], bins], strict=True):
            sums = self.persons[person][place]
            shares = sums[:-1] / sums[-1]
            edges = np.rint(np.append(0, shares.cumsum()) / shares.sum() * STRIP).astype(int)
            for colour, low, high in zip(COLOURS, edges[:-1], edges[1:], strict=False):
                strip[STRIP - high : STRIP - low, place : min(following, place + held)] = colour
        columns = np.minimum(np.arange(WIDTH) * bins // WIDTH, bins - 1)
        return np.ascontiguousarray(strip[:, columns])

    def _axis(self, pen: ImageDraw.ImageDraw, left: int, top: int, seconds: float) -> None:
        font = font_of(TEXT)
        steps = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
        step = next((step for step in steps if seconds / step <= 12), math.ceil(seconds / 12 / 3600) * 3600)
        for count in range(int(seconds / step) + 1):
            at = count * step
            x = left + at / seconds * WIDTH
            pen.line((x, top, x, top + 6), INK)
            text = f"{at:g} s" if seconds < 120 else f"{int(at) // 60}:{int(at) % 60:02}"
            pen.text((x, top + 18), text, INK, font, anchor="mm")

    def _merge(self) -> None:
        self.bin *= 2
        self.last //= 2
        for person, bins in self.persons.items():
            merged: dict[int, NDArray[np.float64]] = {}
            for place, sums in bins.items():
                merged[place // 2] = merged.get(place // 2, 0) + sums
            self.persons[person] = merged

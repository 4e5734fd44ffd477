"""Accuracy, and how neutral poker faces are, of the same faces changed more and more."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pfvit.data.images import Pixels
from pfvit.emotions import NEUTRAL
from pfvit.inference.network import Network
from pfvit.inference.reader import Reader
from pfvit.inference.reading import prepare
from pfvit.report import card, statistics, style
from pfvit.report.changes import CHANGES, SIDES
from pfvit.report.collect import Faces
from pfvit.report.section import Section

#: Expressive faces whose poker faces are made at every strength: these take longer than answers.
POKER_FACES = 40
COLUMNS = 3  # panels to a line: more would be too small to read in print
BEFORE, AFTER = "changed faces called neutral", "their poker faces called neutral"


def robustness(faces: Faces, reader: Reader, advance: Callable[[], None]) -> Section:
    """Return figures at each strength of each change; `advance` is called after each change."""
    judge = faces.judge or faces.recogniser
    known = [faces.recogniser.labels.index(name) for name in faces.names]
    neutral = faces.names.index(NEUTRAL) if NEUTRAL in faces.names else -1
    expressive = [face for face in faces.sample if faces.truth[face] != neutral][:POKER_FACES]
    section = Section(
        "robustness",
        "Robustness",
        f"{len(faces.sample)} faces drawn at random, changed at five strengths. Poker faces are those of "
        f"{len(expressive)} expressive ones of them; the figure is how many {judge.path.name} calls neutral, before "
        "and after. Where it calls more of the changed faces themselves neutral, their poker faces prove nothing.",
    )
    if faces.drawing:
        section.note(f"Poker faces of changed faces cannot be made: {faces.drawing}")
        expressive = []
    elif not expressive:
        section.note("No face of the sample shows an expression: poker faces of changed faces cannot be measured.")
    if all(np.ptp(faces.pixels[face], axis=2).max() == 0 for face in faces.sample):
        section.note("The faces are gray: with less colour they stay as they are.")
    side = max(len(faces.pixels[face]) for face in faces.sample)
    if same := [str(small) for small in SIDES if small >= side]:
        section.note(f"No face is larger than {side} pixels: with a side of {', '.join(same)} they stay as they are.")
    truth = faces.truth[faces.sample]

    def figures(view: Callable[[Pixels], Pixels]) -> list[Any]:
        answer = faces.recogniser.probabilities([view(faces.pixels[face]) for face in faces.sample])[:, known].argmax(1)
        right = int((answer == truth).sum())
        counts = _neutral([view(faces.pixels[face]) for face in expressive], reader, judge)
        shares = [(count / len(expressive), *statistics.wilson(count, len(expressive))) for count in counts]
        poker = [value for triple in shares for value in triple] or [None] * 6
        return [right / len(truth), *statistics.wilson(right, len(truth)), *poker]

    plain = figures(lambda pixels: pixels)
    rows: list[list[Any]] = [["none", 0, None, "", *plain]]
    for name, change in CHANGES.items():
        for place, strength in enumerate(change.strengths):
            drawn = np.random.default_rng(place)
            found = figures(lambda pixels: change.apply(pixels, strength, drawn))  # noqa: B023
            rows.append([name, place + 1, strength, change.unit, *found])
        advance()
    header = ["change", "strength", "is", "of", "accuracy", "low", "high"]
    header += [f"{what}{end}" for what in (BEFORE, AFTER) for end in ("", " low", " high")]
    section.tell("robustness", "Figures at each strength; Wilson intervals.", header, rows, hidden=True)
    caption = f"Accuracy at each strength (what the strength is, in brackets); as they are: {plain[0]:.3f}."
    section.tell("strengths", caption, *card.by_strength(header, rows))
    _draw(section, rows)
    return section


def _neutral(images: list[Pixels], reader: Reader, judge: Network) -> list[int]:
    """Return how many of the pictures are called neutral, and how many of their poker faces; nothing of no pictures."""
    if not images:
        return []
    readings = [found[0] for found in reader.read_batch(images, whole=True)]
    prepare(readings, 1.0)
    shown = images, [reading.poker_face() for reading in readings]
    return [sum(judge.labels[one] == NEUTRAL for one in judge.probabilities(some).argmax(1)) for some in shown]


def _draw(section: Section, rows: list[list[Any]]) -> None:
    plain, lines = rows[0], -(-len(CHANGES) // COLUMNS)
    figure, panels = style.axes(COLUMNS, lines, width=style.PAGE, height=0.6 + 1.32 * lines)
    for axis, name in zip(panels, CHANGES, strict=False):
        some = [row for row in rows if row[0] == name]
        x = range(len(some) + 1)
        for place, (start, what) in enumerate(((4, "accuracy"), (7, BEFORE), (10, AFTER))):
            if plain[start] is None:
                continue
            values = np.array([row[start : start + 3] for row in [plain, *some]], dtype=float)
            look: dict[str, Any] = {
                "color": style.COLOURS[place],
                "linestyle": style.DASHES[place],
                "marker": style.MARKERS[place],
            }
            axis.plot(x, values[:, 0], markersize=3, label=what, clip_on=False, **look)
            axis.fill_between(x, values[:, 1], values[:, 2], color=style.COLOURS[place], alpha=0.15, linewidth=0)
        axis.set(title=name, ylim=(0, 1), xticks=x)
        axis.set_xticklabels(["none", *(f"{row[2]:g}" for row in some)], fontsize=8)
        axis.set_xlabel(some[0][3], fontsize=8)
        style.percent(axis, y=True)
    for axis in panels[len(CHANGES) :]:
        axis.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    caption = (
        "Accuracy, and faces called neutral, at five strengths of each change; none: the face as it is. Bands are 95% "
        "Wilson intervals."
    )
    section.draw("robustness", caption, figure)

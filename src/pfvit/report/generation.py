"""Poker faces: sheets of faces that nobody picked, the dial as film strips, and the figures of drawn faces."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError
from pfvit.evaluation import measure, metrics
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading
from pfvit.rendering import heat_over
from pfvit.report import statistics, style
from pfvit.report.collect import Faces
from pfvit.report.controls import controls
from pfvit.report.pairs import Pair
from pfvit.report.recognition import intervals
from pfvit.report.section import Section
from pfvit.report.sheets import grid

VIEWS: dict[str, Callable[[Reading], Pixels]] = {
    "face": lambda reading: reading.crop,
    "reconstruction": lambda reading: reading.reconstruction,
    "poker face": lambda reading: reading.poker_face(),
    "movement": lambda reading: np.asarray(heat_over(reading.crop, reading.expression_map)),
}
ACROSS = 2  # faces to a line, each with its views
STRENGTHS = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0)
STRIPS = 2  # faces of each emotion
#: What `measure.poker` calls its figures; the probes have their own section.
FIGURES = {
    "own_neutral_before": "expressive faces that the recogniser itself calls neutral, before",
    "own_neutral_after": "the same faces after `pfvit poker`",
    "judge_neutral_before": "expressive faces that the judge calls neutral, before",
    "judge_neutral_carried": "the same faces after `pfvit poker`",
    "judge_neutral_drawn": "as the generator draws them",
    "judge_neutral_reconstructed": "control: only reconstructed, with their expression",
    "judge_neutral_gain": "gain, judge",
    "judge_war": "accuracy of the judge",
    "reconstruction_l1": "reconstruction: mean absolute difference of pixels in [0, 1]",
    "reconstruction_ssim": "reconstruction: structural similarity",
    "neutral_change_l1": "mean change of a neutral face, which should be small",
    "expression_change_l1": "mean change of an expressive face",
}


def generation(faces: Faces, reader: Reader, pairs: Sequence[Pair] = ()) -> Section:
    """Return sheets and figures of poker faces."""
    section = Section(
        "generation",
        "Poker faces",
        "The first faces of each emotion, none picked. Reconstruction: the face as the model draws it with its "
        "expression. Poker face: the crop without its expression. Movement: where the crop changes to become it.",
    )
    for name, found in faces.first.items():
        columns = min(ACROSS, len(found))
        rows: list[tuple[str, list[Pixels]]] = []
        try:
            for start in range(0, len(found), columns):
                line = [view for face in found[start : start + columns] for view in _views(faces.read(reader, face))]
                rows.append(("" if start else name, line))
        except InputError as problem:
            section.note(f"Poker faces cannot be shown: {problem}")
            return section
        many = f"first {len(found)} faces" if len(found) > 1 else "first face"
        section.show(name, f"{name}: the {many}, unpicked.", grid(list(VIEWS) * columns, rows))
    _strips(section, faces, reader)
    _figures(section, faces)
    controls(section, faces, reader, pairs)
    return section


def _views(reading: Reading) -> list[Pixels]:
    return [view(reading) for view in VIEWS.values()]


def _strips(section: Section, faces: Faces, reader: Reader) -> None:
    rows = []
    for name, found in faces.first.items():
        for place, face in enumerate(found[:STRIPS]):
            turned = map(partial(Reading.poker_face, faces.read(reader, face)), STRENGTHS)
            rows.append(("" if place else name, list(turned)))
    sheet = grid([f"{strength:+.2g}" if strength else "0 (face)" for strength in STRENGTHS], rows)
    caption = (
        f"The dial, from exaggerated (-1) to the poker face (1): the first {STRIPS} faces of each emotion, unpicked."
    )
    section.show("dial", caption, sheet)


def _figures(section: Section, faces: Faces) -> None:
    if faces.drawing:
        section.note(f"Drawn faces cannot be measured: {faces.drawing}")
        return
    if len(faces.truth) < 2:
        section.note("There is one face: figures of drawn faces need more.")
        return
    labels = faces.recogniser.labels
    truth = np.array(faces.tally.truth)
    expressive = truth != labels.index(NEUTRAL)
    if expressive.all():
        section.note("No face is neutral: how little a calm face changes cannot be computed.")
    if not expressive.any():
        section.note("No face shows an expression: what a poker face takes off cannot be computed.")
    if faces.judge is None:
        section.note(
            "No --judge was given: only the recogniser itself says how neutral the poker faces are. It was trained "
            "with the generator, so that its word counts for little."
        )
    figures = measure.poker(faces.tally, faces.generator, faces.judge)
    rows: list[list[Any]] = []
    for key, name in FIGURES.items():
        value = figures.get(key)
        if value is not None:
            rows.append([name, value, *(figures.get(f"{key}_ci") or _ends(key, value, faces.tally, expressive))])
    caption = (
        f"Poker faces of {figures['expressive']} expressive faces, and of the neutral ones. Intervals of shares are "
        "Wilson's, those of means bootstrap intervals."
    )
    section.tell("poker", caption, ("measure", "value", "low", "high"), rows)
    _by_emotion(section, faces)


def _ends(key: str, value: float, tally: measure.Tally, expressive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the 95% interval of a figure of `measure.poker`."""
    means = {
        "reconstruction_l1": ("reconstruction", np.ones_like(expressive)),
        "reconstruction_ssim": ("similarity", np.ones_like(expressive)),
        "neutral_change_l1": ("change", ~expressive),
        "expression_change_l1": ("change", expressive),
    }
    if key in means:
        name, kept = means[key]
        return metrics.bootstrap_mean(tally[name][kept])
    count = len(expressive) if key == "judge_war" else int(expressive.sum())
    return statistics.wilson(round(value * count), count)


def _by_emotion(section: Section, faces: Faces) -> None:
    """Add how many faces of each emotion are called neutral before and after."""
    labels, truth = faces.recogniser.labels, np.array(faces.tally.truth)
    neutral = labels.index(NEUTRAL)
    before, after = faces.tally["probabilities"].argmax(1) == neutral, faces.tally["own_after"] == neutral
    said = "the recogniser itself"
    if faces.judge is not None:
        before, after = (faces.tally[f"judge_{key}"] == NEUTRAL for key in ("before", "carried"))
        said = faces.judge.path.name
    rows: list[list[Any]] = []
    for name in (labels[index] for index in sorted(set(truth.tolist()))):
        inside = truth == labels.index(name)
        for when, told in (("before", before), ("after", after)):
            count, called = int(inside.sum()), int(told[inside].sum())
            rows.append([name, count, when, called / count, *statistics.wilson(called, count)])
    figure, panels = style.axes(2, height=0.8 + 0.28 * len(rows) / 2)
    for axis, when in zip(panels, ("before", "after"), strict=True):
        some = [row for row in rows if row[2] == when]
        values = np.array([row[3:] for row in some], dtype=float)
        intervals(axis, [str(row[0]) for row in some], values[:, 0], values[:, 1:])
        axis.set_title(f"called neutral, {when}")
    caption = f"Faces that {said} calls neutral, before and after `pfvit poker`, with 95% Wilson intervals."
    section.tell("called-neutral", caption, ("emotion", "faces", "when", "called neutral", "low", "high"), rows)
    section.draw("called-neutral", caption, figure)

"""Poker faces beside controls: each measure is reported only if it orders the controls rightly."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from pfvit.data.images import Pixels
from pfvit.data.views import compress
from pfvit.emotions import NEUTRAL
from pfvit.evaluation import metrics
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading, prepare
from pfvit.report import poker_measures, style
from pfvit.report.collect import Faces
from pfvit.report.pairs import Pair
from pfvit.report.poker_measures import (
    ANOTHER,
    AS_IS,
    BLUR_SIDE,
    BLURRED,
    BLURS,
    DRAWN,
    ENCODED,
    FADED,
    HALF,
    NEUTRAL_ENCODED,
    POKER,
    QUALITY,
    Case,
    Judge,
    Means,
)  # fmt: skip
from pfvit.report.section import Section

MOST = 100  # expressive faces of the data, drawn at random
FEW = 10  # faces, below which intervals say little
MADE = (HALF, POKER, DRAWN)
TITLES = {"controls": "Poker faces beside controls", "pairs": "Poker faces beside real neutral photos"}
INTRO = (
    "p(neutral): by {judge}. Same person: cosine of the residues of the picture and of {reference}. Fine detail: "
    "energy of fine lines as a share of that in {reference} (the inverse, if there is more), in the worst of {regions}."
)


def controls(section: Section, faces: Faces, reader: Reader, pairs: Sequence[Pair]) -> None:
    """Add tables and figures of poker faces beside their controls: of the data's faces, and of pairs of photos."""
    if faces.drawing:
        return  # the section says so already
    judge = Judge(faces.judge or faces.recogniser, faces.generator.encoder, faces.tally["residue"].mean(0))
    calm = [face for face in faces.sample if faces.names[faces.truth[face]] == NEUTRAL]
    moved = [face for face in faces.sample if faces.names[faces.truth[face]] != NEUTRAL][:MOST]
    if calm and moved:
        cases = _of_data([faces.pixels[face] for face in moved], [faces.pixels[face] for face in calm], reader)
        _report(section, "controls", cases, judge, poker_measures.without_pairs, None)
    else:
        section.note(
            "Controls of poker faces need expressive and neutral faces in the sample: nothing can be measured."
        )
    if pairs:
        _report(section, "pairs", _of_pairs(pairs), judge, poker_measures.with_pairs, reader)
    else:
        section.note(
            "No --pairs of photos of the same people were given: how near poker faces come to people's real neutral "
            "faces cannot be measured."
        )


def _of_data(moved: Sequence[Pixels], calm: Sequence[Pixels], reader: Reader) -> list[Case]:
    readings = [found[0] for found in reader.read_batch(moved, whole=True)]
    prepare(readings, 1.0)
    cases = []
    means: dict[tuple[int, ...], Pixels] = {}
    for place, (face, reading) in enumerate(zip(moved, readings, strict=True)):
        if face.shape not in means:
            means[face.shape] = mean_face([resized(other, face.shape) for other in calm])
        kinds = {
            **_altered(face, means[face.shape]),
            ANOTHER: resized(calm[place % len(calm)], face.shape),
            ENCODED: compress(face, QUALITY),
            **made(reading),
        }
        cases.append(Case(kinds, face))
    return cases


def _of_pairs(pairs: Sequence[Pair]) -> list[Case]:
    cases = []
    for place, pair in enumerate(pairs):
        # With one pair alone there is nobody else.
        others = [other.neutral for other in (*pairs[place + 1 :], *pairs[:place])]
        kinds = _altered(pair.face, mean_face(others) if others else None)
        kinds |= {ANOTHER: others[0]} if others else {}
        kinds |= {NEUTRAL_ENCODED: compress(pair.neutral, QUALITY), HALF: pair.half, POKER: pair.poker}
        cases.append(Case(kinds, pair.neutral))
    return cases


def _altered(face: Pixels, calm: Pixels | None) -> dict[str, Pixels]:
    """Return the face as it is, blurred, and half a mean neutral face."""
    image = Image.fromarray(face)
    kinds = {AS_IS: face}
    for name, radius in zip(BLURRED, BLURS, strict=True):
        kinds[name] = np.asarray(image.filter(ImageFilter.GaussianBlur(radius * len(face) / BLUR_SIDE)))
    if calm is not None:
        kinds[FADED] = mean_face([face, calm])
    return kinds


def made(reading: Reading) -> dict[str, Pixels]:
    """Return what the model makes of a face, at the face's size."""
    drawn = Image.fromarray(reading.reconstruction).resize(reading.crop.shape[1::-1], Image.Resampling.BICUBIC)
    return {HALF: reading.poker_face(0.5), POKER: reading.poker_face(), DRAWN: np.asarray(drawn)}


def resized(face: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return a face at the size of another, uint8 of `shape`."""
    if face.shape == shape:
        return face
    return np.asarray(Image.fromarray(face).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def mean_face(faces: Sequence[Pixels]) -> Pixels:
    """Return the mean of faces of one size."""
    return np.rint(sum(face.astype(np.float32) for face in faces) / len(faces)).astype(np.uint8)


def _report(
    section: Section,
    name: str,
    cases: Sequence[Case],
    judge: Judge,
    faults: Callable[[str, Means], list[str]],
    reader: Reader | None,
) -> None:
    """Add the table and the figure of some cases; measures of mouths only if a `reader` is given."""
    kinds = list(cases[0].pictures)
    rows: list[list[Any]] = [[kind] for kind in kinds]
    each: list[list[Any]] = []
    ways: list[list[Any]] = []
    measured = poker_measures.measure(cases, judge, reader)
    for what, values in measured.items():
        mean: Means = dict(zip(kinds, values.mean(0).tolist(), strict=True)) if len(values) else {}
        wrong = faults(what, mean) if mean else ["the face was not found in every picture of any of them"]
        if wrong:
            section.note(f"{TITLES[name]}: {what} is not reported of what the model makes: {'; '.join(wrong)}.")
        for place, kind in enumerate(kinds):
            shown = bool(mean) and not (wrong and kind in MADE)
            rows[place].append(mean[kind] if shown else None)
            if shown:
                ends = metrics.bootstrap_mean(values[:, place])
                each.append([what, kind, len(values), mean[kind], *ends])
        if reader and not wrong:
            ways.append([what, *(poker_measures.way(mean, kind) for kind in (HALF, POKER))])
    if len(cases) < FEW:
        section.note(
            f"{TITLES[name]}: with few expressive faces, here {len(cases)}, bootstrap intervals are too narrow."
        )
    said = INTRO.format(
        judge=judge.recogniser.path.name,
        reference="the person's own neutral photo" if reader else "the face as it is",
        regions=", ".join(poker_measures.regions(reader)),
    )
    said += " Mouth width: how far it is from the own neutral photo's, in distances of the eyes." if reader else ""
    caption = f"{TITLES[name]}: {len(cases)} expressive faces. {said}"
    section.tell(name, caption, ("picture", *measured), rows)
    header = ("measure", "picture", "faces", "mean", "low", "high")
    section.tell(f"{name}-intervals", "The same with 95% bootstrap intervals.", header, each, hidden=True)
    if ways:
        ways.append(["the least of them", *(min(row[place] for row in ways) for place in (1, 2))])
        caption = "Share of the way from the expressive face, 0, to the person's own neutral photo, 1."
        section.tell(f"{name}-way", caption, ("measure", HALF, POKER), ways)
    if each:
        _draw(section, name, kinds, each)


def _draw(section: Section, name: str, kinds: Sequence[str], each: Sequence[Sequence[Any]]) -> None:
    shown = list(dict.fromkeys(row[0] for row in each))
    width = min(2.2 + 1.9 * len(shown), style.PAGE)
    figure, panels = style.axes(len(shown), width=width, height=0.7 + 0.26 * len(kinds))
    for axis, what in zip(panels, shown, strict=True):
        for _, kind, _, value, low, high in (row for row in each if row[0] == what):
            place, made = kinds.index(kind), kind in MADE
            colour, marker = (style.COLOURS[4], "D") if made else (style.COLOURS[0], "o")
            axis.plot([low, high], [place, place], color=colour, linewidth=2)
            axis.plot(value, place, marker, color=style.INK, markersize=4)
        axis.set_title(what)
        axis.locator_params(axis="x", nbins=4)
        axis.set_yticks(range(len(kinds)), kinds if axis is panels[0] else [])
        axis.set_ylim(len(kinds) - 0.5, -0.5)
        axis.grid(axis="x", color=style.SOFT, linewidth=0.5)
    caption = f"{TITLES[name]}: means with 95% bootstrap intervals. Diamonds: what the model makes."
    section.draw(name, caption, figure)

"""How far the labels themselves can be trusted: agreement of annotators, noise ceiling, faces likely mislabelled."""

from typing import Any

import numpy as np

from pfvit.emotions import EIGHT
from pfvit.report import statistics, style
from pfvit.report.collect import Faces
from pfvit.report.section import Section
from pfvit.report.sheets import captioned

HARDEST = 32
#: Shares of votes for the label, in tenths.
BINS = np.arange(0.15, 1.0, 0.1)


def labels(faces: Faces) -> Section:
    """Return what votes say of the labels, and which faces the recogniser and the label disagree on most."""
    section = Section(
        "labels",
        "Ambiguity of the labels",
        "An expression often has no one name. Where annotators voted, their votes say how far they agree.",
    )
    if faces.votes is None:
        section.note("The data have no votes: accuracy against agreement and the noise ceiling cannot be computed.")
    else:
        _agreement(section, faces)
        _ceiling(section, faces)
    _hardest(section, faces)
    return section


def _agreement(section: Section, faces: Faces) -> None:
    assert faces.votes is not None
    label = np.array([EIGHT.index(name) for name in faces.names])[faces.truth]
    share = np.take_along_axis(faces.votes, label[:, None], 1)[:, 0] / faces.votes.sum(1)
    right = faces.probabilities.argmax(1) == faces.truth
    place = np.digitize(share, BINS)
    rows: list[list[Any]] = []
    for one in np.unique(place):
        inside = place == one
        count = int(inside.sum())
        low, high = statistics.wilson(int(right[inside].sum()), count)
        rows.append([float(share[inside].mean()), count, float(right[inside].mean()), low, high])
    figure, (axis,) = style.axes()
    x, counts, y, low, high = np.array(rows, dtype=float).T
    axis.vlines(x, low, high, color=style.COLOURS[0])
    axis.plot(x, y, "o-", color=style.COLOURS[0])
    for at, value, count in zip(x, np.maximum(high, y), counts, strict=True):
        axis.annotate(f"{count:.0f}", (at, value), (0, 5), textcoords="offset points", ha="center", fontsize=8)
    axis.set(xlabel="share of votes for the label", ylabel="right answers", ylim=(0, 1.1), xlim=(0, 1.03))
    axis.grid(color=style.SOFT, linewidth=0.5)
    style.percent(axis, x=True, y=True)
    header = ("share of votes for the label", "faces", "right", "low", "high")
    section.tell("agreement", "Accuracy where annotators agree so far; Wilson intervals.", header, rows)
    caption = "Accuracy against the annotators' agreement. Numbers are faces; lines are 95% Wilson intervals."
    section.draw("agreement", caption, figure)


def _ceiling(section: Section, faces: Faces) -> None:
    assert faces.votes is not None
    if (faces.votes.sum(1) < 1.5).all():
        section.note("The data say shares of votes, not how many there were: the noise ceiling cannot be computed.")
        return
    accuracy = faces.probabilities.argmax(1) == faces.truth
    names = ("one more annotator", "a second panel's majority", "a reader of the true shares", "this recogniser")
    rows: list[list[Any]] = []
    for protocol, kept in faces.protocols.items():
        ceiling = statistics.noise_ceiling(faces.votes[kept])
        values = (*ceiling, float(accuracy[kept].mean()))
        rows += [[protocol, int(kept.sum()), name, value] for name, value in zip(names, values, strict=True)]
    figure, panels = style.axes(len(faces.protocols), height=2.2)
    for axis, (protocol, _) in zip(panels, faces.protocols.items(), strict=True):
        values = [float(str(row[3])) for row in rows if row[0] == protocol]
        axis.barh(names, values, color=[*[style.SOFT] * 3, style.COLOURS[0]])
        for place, value in enumerate(values):
            ink = "white" if place == len(names) - 1 else style.INK
            axis.text(value - 0.02, place, f"{value:.1%}", ha="right", va="center", color=ink, fontsize=8)
        axis.set(title=protocol, xlim=(0, 1))
        axis.invert_yaxis()
        style.percent(axis, x=True)
    section.tell("ceiling", "How often the labels are met.", ("protocol", "faces", "by", "agreement"), rows)
    caption = (
        "Noise ceiling: how often others than this recogniser would meet the labels. Votes are drawn anew from each "
        "face's shares, which makes the ceiling a little high. A second panel has as many annotators as the first."
    )
    section.draw("ceiling", caption, figure)


def _hardest(section: Section, faces: Faces) -> None:
    own = faces.probabilities[np.arange(len(faces.truth)), faces.truth]
    answer = faces.probabilities.argmax(1)
    suspects = statistics.likely_mislabelled(faces.probabilities, faces.truth)
    hardest = np.argsort(own, kind="stable")[:HARDEST]
    hardest = hardest[answer[hardest] != faces.truth[hardest]]
    for name, title, chosen in (
        ("hardest", "Hardest faces: their label has the lowest probability.", hardest),
        ("mislabelled", "Likely mislabelled faces (confident learning), the likeliest first.", suspects),
    ):
        if not len(chosen):
            section.note(f"{title.split(':')[0].split(' (')[0]}: there are none.")
            continue
        rows: list[list[Any]] = []
        for face in chosen:
            says = [
                faces.names[faces.truth[face]],
                own[face],
                faces.names[answer[face]],
                faces.probabilities[face].max(),
            ]
            rows.append([faces.places[face], *says, _votes(faces, face)])
        header = ("face", "label", "p(label)", "answer", "p(answer)", "votes")
        section.tell(name, f"{title} {len(chosen)} faces.", header, rows)
        cells = [
            (faces.thumb(face), f"{faces.names[faces.truth[face]]}\n-> {faces.names[answer[face]]}")
            for face in chosen[:HARDEST]
        ]
        section.show(name, f"{title} The label, and below it the answer.", captioned(cells))


def _votes(faces: Faces, face: int) -> str:
    if faces.votes is None:
        return ""
    pairs = sorted(zip(faces.votes[face], EIGHT, strict=True), reverse=True)
    return ", ".join(f"{name} {count:.0f}" for count, name in pairs if count)

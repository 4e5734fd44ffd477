"""Several recognisers on the same faces, with paired tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pfvit.evaluation import metrics
from pfvit.inference.network import Network
from pfvit.report import statistics, style
from pfvit.report.collect import Faces
from pfvit.report.section import Section


def compare(faces: Faces) -> Section:
    """Return each further recogniser beside the first one, over the emotions that both and the data distinguish."""
    first, *further = names_of([faces.recogniser, *(other for other, _ in faces.others)])
    section = Section(
        "compare",
        "Comparison of weights",
        f"Every further recogniser against the first, {first}, on the same faces. McNemar's exact test looks at the "
        "faces that only one of the two has right. Intervals of the differences are 95% bootstrap intervals over "
        "faces. p is of each comparison alone, not corrected for their number.",
    )
    if not faces.others:
        section.note("One recogniser was given: name further ones with --weights to compare them.")
        return section
    alone: list[list[Any]] = []
    rows: list[list[Any]] = []
    for label, (other, shares) in zip(further, faces.others, strict=True):
        names = [name for name in faces.names if name in other.labels]
        if not names:
            section.note(f"{label} knows no emotion of these faces: it cannot be compared.")
            continue
        if left := [name for name in faces.names if name not in names]:
            section.note(f"{label} does not know {', '.join(left)}: faces that show it are left out with it.")
        own = np.array([faces.names.index(name) for name in names], dtype=int)
        theirs = np.array([other.labels.index(name) for name in names], dtype=int)
        for protocol, kept in faces.protocols.items():
            counted = kept & np.isin(faces.truth, own)
            if not counted.any():
                section.note(f"{label} knows no emotion of these faces, {protocol}: it cannot be compared.")
                continue
            truth = np.searchsorted(own, faces.truth[counted])
            one, two = (faces.probabilities[counted][:, own].argmax(1), shares[counted][:, theirs].argmax(1))
            told = statistics.paired(truth, one, two, len(names))
            rows.append(
                [
                    label, protocol, len(truth), told.first_alone, told.second_alone, told.p,
                    told.war, *told.war_ends, told.uar, *told.uar_ends,
                ]
            )  # fmt: skip
            for name, answer in ((first, one), (label, two)):
                matrix = metrics.confusion_matrix(truth, answer, len(names))
                figures = (metrics.war(matrix), metrics.uar(matrix), metrics.macro_f1(matrix))
                row = [name, protocol, len(truth), *figures]
                alone += [] if row in alone else [row]
    if rows:
        section.tell("each", "Each recogniser.", ("weights", "protocol", "faces", "WAR", "UAR", "macro F1"), alone)
        header = ["weights", "protocol", "faces", "only the first right", "only this right", "p (McNemar)"]
        header += [f"{what}{end}" for what in ("WAR difference", "UAR difference") for end in ("", " low", " high")]
        section.tell("paired", "This recogniser's figures less the first's.", header, rows)
        _draw(section, rows)
    return section


def names_of(networks: Sequence[Network]) -> list[str]:
    """Return what the files of some recognisers are called: numbered if there are several, with folders if alike."""
    if len(networks) == 1:
        return [networks[0].path.name]
    files = [network.path.name for network in networks]
    shown = [
        f"{network.path.parent.name}/{name}" if files.count(name) > 1 else name
        for network, name in zip(networks, files, strict=True)
    ]
    return [f"{place + 1}: {name}" for place, name in enumerate(shown)]


def _draw(section: Section, rows: list[list[Any]]) -> None:
    figure, panels = style.axes(2, height=0.9 + 0.3 * len(rows))
    for axis, (what, start) in zip(panels, (("WAR", 6), ("UAR", 9)), strict=True):
        for place, row in enumerate(rows):
            value, low, high = row[start : start + 3]
            axis.plot([low, high], [place, place], color=style.COLOURS[0], linewidth=2)
            axis.plot(value, place, "o", color=style.INK, markersize=4)
        axis.axvline(0, color=style.SOFT, zorder=0)
        axis.set_yticks(range(len(rows)), [f"{row[0]}, {row[1]}" for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(f"difference of {what}")
        axis.locator_params(axis="x", nbins=4)
        style.percent(axis, x=True)
    panels[1].set_yticklabels([])
    caption = "Differences from the first weights, with 95% bootstrap intervals: right of the line is better."
    section.draw("paired", caption, figure)

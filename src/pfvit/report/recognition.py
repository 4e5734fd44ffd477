"""Recognition: accuracy with intervals, each emotion, confusion, calibration, and what leaving answers out gains."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pfvit.evaluation import metrics
from pfvit.evaluation.robustness import selective
from pfvit.report import statistics, style
from pfvit.report.collect import NAMED, Faces
from pfvit.report.section import Section

SUMMARY = {"war": "WAR (accuracy)", "uar": "UAR (mean recall)", "macro_f1": "macro F1", "ece": "calibration error"}
FEW = 30  # faces of a class, below which its figures are called uncertain


def recognition(faces: Faces) -> Section:
    """Return the figures of the first recogniser."""
    section = Section(
        "recognition",
        "Recognition",
        f"{len(faces.truth)} faces. Intervals are 95% bootstrap intervals over faces. Protocol all: the emotion with "
        "the most votes (or the label) is the truth. Protocol majority, of most papers on FER+: single votes are "
        "dropped, and faces without an emotion that has more than half of the rest.",
    )
    if faces.votes is None:
        section.note("The data have one label for each face, no votes: the protocol majority cannot be computed.")
    elif "majority" not in faces.protocols:
        section.note("Annotators agree on none of the faces: the protocol majority cannot be computed.")
    counts = np.bincount(faces.truth, minlength=len(faces.names))
    if absent := [name for name, count in zip(faces.names, counts, strict=True) if not count]:
        section.note(
            f"No face shows {', '.join(absent)}: UAR and macro F1 are means over the other emotions, and there is no "
            "recall of what never occurs."
        )
    if faces.unknown:
        said = ", ".join(f"{name} ({count})" for name, count in faces.unknown.most_common(NAMED))
        said += f" and {len(faces.unknown) - NAMED} more" if len(faces.unknown) > NAMED else ""
        section.note(f"Faces are left out whose labels the weights do not know: {said}.")
    if (counts > 0).sum() == 1:
        section.note("All faces show one emotion: UAR is its recall, and nothing is said of telling emotions apart.")
    if few := [name for name, count in zip(faces.names, counts, strict=True) if 0 < count < FEW]:
        section.note(
            f"Fewer than {FEW} faces show {', '.join(few)}: their figures are uncertain. A bootstrap interval without "
            "width, where all or none of the answers are right, does not show this."
        )
    _summary(section, faces)
    _classes(section, faces)
    _confusion(section, faces)
    _reliability(section, faces)
    _coverage(section, faces)
    return section


def _matrix(faces: Faces, kept: NDArray[np.bool_]) -> NDArray[np.integer]:
    answer = faces.probabilities[kept].argmax(1)
    return metrics.confusion_matrix(faces.truth[kept], answer, len(faces.names))


def _summary(section: Section, faces: Faces) -> None:
    rows: list[list[Any]] = []
    for protocol, kept in faces.protocols.items():
        matrix, ends = _matrix(faces, kept), metrics.bootstrap(faces.truth[kept], faces.probabilities[kept])
        values = {
            "war": metrics.war(matrix),
            "uar": metrics.uar(matrix),
            "macro_f1": metrics.macro_f1(matrix),
            "ece": metrics.calibration_error(faces.probabilities[kept], faces.truth[kept]),
        }
        rows += [[protocol, int(kept.sum()), name, values[key], *ends[key]] for key, name in SUMMARY.items()]
    section.tell("summary", "All emotions together.", ("protocol", "faces", "measure", "value", "low", "high"), rows)


def _classes(section: Section, faces: Faces) -> None:
    protocols = faces.protocols
    figure, panels = style.axes(2, len(protocols), height=0.6 + 2.4 * len(protocols))
    rows: list[list[Any]] = []
    for row, (protocol, kept) in enumerate(protocols.items()):
        matrix = _matrix(faces, kept)
        each = statistics.per_class(matrix)
        for k, name in enumerate(faces.names):
            rows.append(
                [
                    protocol, name, int(matrix[k].sum()), each.recall[k], *each.recall_ends[k],
                    each.precision[k], *each.precision_ends[k], each.f1[k], *each.f1_ends[k],
                ]
            )  # fmt: skip
        shown = (("recall", each.recall, each.recall_ends), ("precision", each.precision, each.precision_ends))
        for axis, (what, values, ends) in zip(panels[2 * row : 2 * row + 2], shown, strict=True):
            intervals(axis, faces.names, values, ends)
            axis.set_title(f"{what}, {protocol} (n = {kept.sum()})")
    header = ["protocol", "emotion", "faces"]
    header += [f"{what}{end}" for what in ("recall", "precision", "F1") for end in ("", " low", " high")]
    section.tell("classes", "Each emotion.", header, rows)
    section.draw("classes", "Recall and precision of each emotion, with 95% bootstrap intervals.", figure)


def intervals(axis: Axes, names: list[str], values: NDArray, ends: NDArray) -> None:
    """Draw shares with their intervals [names, 2], a line for each name; NaN leaves a line empty."""
    for place, (value, (low, high)) in enumerate(zip(values, ends, strict=True)):
        if not np.isnan(value):
            axis.plot([low, high], [place, place], color=style.COLOURS[0], linewidth=2)
            axis.plot(value, place, "o", color=style.INK, markersize=4, clip_on=False)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.grid(axis="x", color=style.SOFT, linewidth=0.5)
    style.percent(axis, x=True)


def _confusion(section: Section, faces: Faces) -> None:
    protocols = faces.protocols
    figure, panels = style.axes(len(protocols), width=3.4 * len(protocols) + 0.4, height=3.8)
    rows = []
    for axis, (protocol, kept) in zip(panels, protocols.items(), strict=True):
        matrix = _matrix(faces, kept)
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axis.imshow(share, cmap=style.SHADES, vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                ink = "white" if share[row, column] > 0.5 else style.INK
                axis.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=7)
        ticks = range(len(faces.names))
        axis.set_xticks(ticks, faces.names, rotation=60, ha="right", rotation_mode="anchor")
        axis.set_yticks(ticks, faces.names)
        axis.set(title=protocol, xlabel="answer", ylabel="truth")
        rows += [[protocol, name, *line] for name, line in zip(faces.names, matrix.tolist(), strict=True)]
    section.tell("confusion", "How often each emotion was taken for each.", ("protocol", "truth", *faces.names), rows)
    caption = "Confusion matrix: numbers are faces, shades the share of the row."
    section.draw("confusion", caption, figure)


def _reliability(section: Section, faces: Faces) -> None:
    told = faces.recogniser.about.get("pfvit.temperature")
    shown = [("with temperature", faces.probabilities)]
    if told is None or float(told) == 1:
        section.note("The weights have no temperature other than 1: there is no calibration before and after.")
    else:
        before = statistics.untempered(faces.probabilities, float(told))
        shown = [("before temperature", before), (f"after temperature {float(told):.3g}", faces.probabilities)]
    figure, panels = style.axes(len(shown), height=3.4, width=3.3 * len(shown))
    rows: list[list[Any]] = []
    for axis, (name, probabilities) in zip(panels, shown, strict=True):
        count, confidence, accuracy = metrics.confidence_bins(probabilities, faces.truth)
        full = count > 0
        ends = np.array([statistics.wilson(round(a * c), int(c)) for a, c in zip(accuracy, count, strict=True)])
        axis.plot([0, 1], [0, 1], color=style.SOFT, linewidth=1, zorder=0)
        axis.vlines(confidence[full], ends[full, 0], ends[full, 1], color=style.COLOURS[0])
        axis.scatter(
            confidence[full], accuracy[full], 8 + 120 * count[full] / count.max(), color=style.COLOURS[0], clip_on=False
        )
        error = metrics.calibration_error(probabilities, faces.truth)
        axis.set(title=f"{name}: error {error:.3f}", xlabel="confidence", ylabel="right answers", xlim=(0, 1))
        axis.set_ylim(0, 1)
        style.percent(axis, x=True, y=True)
        cells = zip(count[full], confidence[full], accuracy[full], ends[full], strict=True)
        rows += [[name, int(faces_), sure, right, *both] for faces_, sure, right, both in cells]
    header = ("answers", "faces", "mean confidence", "right", "low", "high")
    section.tell("reliability", "Bins of confidence, protocol all; Wilson intervals.", header, rows)
    caption = (
        "Reliability diagram: how often answers are right that are so sure. On the line they are calibrated; the "
        "larger the dot, the more faces. Lines are 95% Wilson intervals."
    )
    section.draw("reliability", caption, figure)


def _coverage(section: Section, faces: Faces) -> None:
    figure, (axis,) = style.axes()
    rows: list[list[Any]] = []
    for place, (protocol, kept) in enumerate(faces.protocols.items()):
        right = faces.probabilities[kept].argmax(1) == faces.truth[kept]
        curve = selective(right, faces.tally["probabilities, reliability"][kept])
        share = np.arange(1, len(curve) + 1) / len(curve)
        look: dict[str, Any] = {"color": style.COLOURS[place], "linestyle": style.DASHES[place], "clip_on": False}
        axis.plot(share, curve, label=protocol, **look)
        sure = ~faces.tally["probabilities, unsure"][kept]
        if sure.any():
            label = f"not marked unsure, {protocol}"
            axis.plot(sure.mean(), right[sure].mean(), style.MARKERS[place], color=style.INK, label=label)
        steps = {max(1, round(wanted * len(curve))) for wanted in np.linspace(0.05, 1, 20)}
        rows += [[protocol, answered, answered / len(curve), curve[answered - 1]] for answered in sorted(steps)]
    axis.set(xlabel="share of faces answered, the surest first", ylabel="right answers", xlim=(0, 1))
    axis.set_ylim(top=1)
    axis.legend(loc="lower left")
    axis.grid(color=style.SOFT, linewidth=0.5)
    style.percent(axis, x=True, y=True)
    header = ("protocol", "answered", "share answered", "right")
    section.tell("coverage", "Right answers among the surest.", header, rows)
    caption = "Selective prediction: accuracy when only the surest answers are given. Dots: answers not marked unsure."
    section.draw("coverage", caption, figure)

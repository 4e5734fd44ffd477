"""Accuracy for each group of people that the data name. Nothing is guessed about anyone."""

from typing import Any

import numpy as np

from pfvit.evaluation import metrics
from pfvit.report import statistics, style
from pfvit.report.collect import Faces
from pfvit.report.recognition import intervals
from pfvit.report.section import Section

#: Groups with fewer faces are marked: their interval is wider than 14 points either way.
SMALL = 50
MOST = 24  # groups of a column that are told apart


def groups(faces: Faces) -> Section:
    """Return figures of each group in each column of groups."""
    section = Section(
        "groups",
        "Groups",
        "Accuracy for each group that a column of the data names. Intervals are 95% Wilson intervals, of mean recall "
        "95% bootstrap intervals. Groups differ in which expressions their faces show, too: a difference of accuracy "
        "is no proof that the group is its cause.",
    )
    if not faces.groups:
        section.note("The data have no column of groups, and nothing is guessed about people: nothing can be computed.")
        return section
    rows: list[list[Any]] = []
    for column, values in faces.groups.items():
        names = sorted(set(values.tolist()) - {""})
        if not names:
            section.note(f"The column {column} is empty.")
        elif len(names) > MOST:
            section.note(f"The column {column} has {len(names)} values, too many for groups: give it in ranges.")
        else:
            rows += _column(section, faces, column, names)
    if rows:
        header = ("column", "group", "faces", "accuracy", "low", "high", "mean recall", "its low", "its high", "small")
        section.tell("groups", f"Groups of fewer than {SMALL} faces are marked small.", header, rows)
    return section


def _column(section: Section, faces: Faces, column: str, names: list[str]) -> list[list[Any]]:
    answer = faces.probabilities.argmax(1)
    rows: list[list[Any]] = []
    for name in names:
        inside = faces.groups[column] == name
        truth, said = faces.truth[inside], answer[inside]
        count, right = len(truth), int((truth == said).sum())
        matrix = metrics.confusion_matrix(truth, said, len(faces.names))
        recall = metrics.uar(matrix), *statistics.uar_ends(matrix)
        rows.append([column, name, count, right / count, *statistics.wilson(right, count), *recall, count < SMALL])
    if small := [row[1] for row in rows if row[-1]]:
        section.note(f"{column}: fewer than {SMALL} faces are in {', '.join(small)}; too few to judge by.")
    if silent := int((faces.groups[column] == "").sum()):
        section.note(f"{column}: {silent} faces are in no group, as their rows say nothing.")
    figure, (axis,) = style.axes(height=0.9 + 0.28 * len(rows))
    values = np.array([row[3:6] for row in rows], dtype=float)
    intervals(axis, [f"{row[1]} (n = {row[2]})" for row in rows], values[:, 0], values[:, 1:])
    axis.set_title(f"accuracy by {column}")
    section.draw(column, f"Accuracy by {column}, with 95% Wilson intervals.", figure)
    return rows

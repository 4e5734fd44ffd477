"""Train on one set, test on another: every recogniser on every data set, over the emotions that both distinguish.

Emotions are matched by name, never by number: each set's own labels were named when it was prepared. A face that shows
an emotion which the recogniser does not know is left out and counted, and a recogniser does not answer what the data
do not distinguish; merging (contempt with disgust, say) is only done where it is asked for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from pfvit.data.labelled import Labelled, batches
from pfvit.data.locate import TESTED, Found, choose
from pfvit.datasets import manifest
from pfvit.emotions import EIGHT, in_our_order
from pfvit.evaluation import metrics
from pfvit.inference.network import Network
from pfvit.utils.console import say
from pfvit.utils.prefetch import prefetch
from pfvit.utils.text import utf8


@dataclass(frozen=True)
class TestSet:
    """A data set to test on: its name, its files, and what its labels mean, if that is known."""

    name: str
    files: tuple[Path | Found, ...]
    labels: Mapping[str, str]


def test_set(path: Path) -> TestSet:
    """Return what `--data` names: a folder with parts stands for its test part (or else its validation part)."""
    if not path.exists():  # said when it is read, while the others are measured
        return TestSet(utf8(path.stem), (path,), {})
    chosen = choose([path], TESTED)
    for note in chosen.notes:
        say(note)
    files = tuple(chosen.found)
    if not (path / manifest.NAME).is_file():
        return TestSet(utf8(path.stem), files, {})
    prepared = manifest.load(path, whole=False)
    return TestSet(f"{prepared['name']} ({files[0].part})", files, prepared.get("labels", {}))


def compare(
    network: Network,
    data: TestSet,
    order: Sequence[str],
    clean: bool,
    merge: Mapping[str, str],
    batch: int,
    majority: bool,
) -> tuple[dict[str, Any], int]:
    """Return the figures of one recogniser on one set, and how many rows were unreadable.

    Where there are votes, those by the papers' protocol stand under `majority`; with `majority`, no other faces count.
    """
    faces = Labelled(data.files, in_our_order((*EIGHT, *network.labels)), order, clean, majority)
    truth: list[str] = []
    agreed: list[bool] = []
    voted = False
    answers: list[NDArray[np.float64]] = []
    left: Counter[str] = Counter()
    known = {merge.get(name, name) for name in network.labels}
    for some in batches(prefetch(faces), batch):
        named = [merge.get(sample.truth, sample.truth) for sample in some]
        left.update(name for name in named if name not in known)
        kept = [place for place, name in enumerate(named) if name in known]
        truth += [named[place] for place in kept]
        agreed += [some[place].agreed for place in kept]
        voted |= any(sample.votes is not None for sample in some)
        answers += network.probabilities([some[place].image for place in kept]).astype(np.float64).tolist()
    distinct = {merge.get(name, name) for name in faces.classes}
    shared = list(in_our_order(name for name in (*EIGHT, *network.labels) if name in known & distinct))
    report: dict[str, Any] = {
        "weights": network.path.name,
        "data": data.name,
        "n": len(truth),
        "emotions": shared,
        "faces_left_out": dict(left),
        "not_answered": sorted(known - distinct),
        "labels": dict(data.labels),
        "left_out": faces.left_out(),
    }
    if not truth:
        return report | {"war": None, "uar": None, "war_ci": None}, faces.unreadable
    given = np.array(answers)
    probabilities = np.zeros((len(truth), len(shared)))
    for column, name in enumerate(network.labels):
        if (counts_as := merge.get(name, name)) in shared:
            probabilities[:, shared.index(counts_as)] += given[:, column]
    probabilities /= np.maximum(probabilities.sum(1, keepdims=True), np.finfo(float).tiny)
    index = np.array([shared.index(name) for name in truth])
    report |= _figures(index, probabilities)
    if voted and not majority:
        kept = np.array(agreed)
        report["majority"] = {"n": int(kept.sum())}
        report["majority"] |= _figures(index[kept], probabilities[kept]) if kept.any() else {"war": None, "uar": None}
    return report, faces.unreadable


def _figures(truth: NDArray[np.integer], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    confusion = metrics.confusion_matrix(truth, probabilities.argmax(1), probabilities.shape[1])
    return {
        "war": metrics.war(confusion),
        "uar": metrics.uar(confusion),
        "confusion": confusion.tolist(),
        "war_ci": list(metrics.bootstrap(truth, probabilities)["war"]),
    }


def tables(reports: Sequence[dict[str, Any]], sets: int) -> Iterator[Table | str]:
    """Yield the table, WAR / UAR in percent, and under it what each cell leaves out and what each label means.

    `reports` are those of the first recogniser on each of so many data sets, then those of the second, and so on.
    """
    lines = [reports[start : start + sets] for start in range(0, len(reports), sets)]
    rows = _numbered([line[0]["weights"] for line in lines])
    columns = _numbered([report["data"] for report in lines[0]])
    voted = [any("majority" in line[place] for line in lines) for place in range(sets)]
    table = Table(
        box=None, header_style="bold", title="WAR / UAR in percent; rows: weights, columns: data", title_justify="left"
    )
    table.add_column("")
    for name, both in zip(columns, voted, strict=True):
        for heading in (name, f"{name}, majority") if both else (name,):
            table.add_column(heading, justify="right")
    for name, line in zip(rows, lines, strict=True):
        cells: list[str] = []
        for report, both in zip(line, voted, strict=True):
            cells += [_cell(report), *([_cell(report.get("majority", report))] if both else [])]
        table.add_row(name, *cells)
    yield table
    for row, line in zip(rows, lines, strict=True):
        for column, report in zip(columns, line, strict=True):
            yield f"{row} on {column}: {_note(report)}"
    for column, report in zip(columns, lines[0], strict=True):
        if labels := report["labels"]:
            yield f"labels of {column}: " + ", ".join(f"{label} {emotion}" for label, emotion in labels.items())


def _numbered(names: Sequence[str]) -> list[str]:
    """Return names as they are, or with their places before them if two are alike, as those of files in two folders."""
    alike = len({*names}) < len(names)
    return [f"{place}: {name}" if alike else name for place, name in enumerate(names, 1)]


def _cell(report: dict[str, Any]) -> str:
    return "-" if report["war"] is None else f"{100 * report['war']:.1f} / {100 * report['uar']:.1f}"


def _note(report: dict[str, Any]) -> str:
    parts = [f"{report['n']:,} faces, {len(report['emotions'])} emotions"]
    left = report["faces_left_out"].items()
    parts += [f"{count:,} of {name} left out, unknown to the weights" for name, count in left]
    parts += [f"{name} never answered, not distinguished there" for name in report["not_answered"]]
    if leaked := report["left_out"]["leaked"]:
        parts.append(f"{leaked:,} left out that are also in another part")
    return "; ".join(parts)

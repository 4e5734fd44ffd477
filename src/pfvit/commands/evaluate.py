"""`pfvit evaluate`: measure recognition and poker faces on labelled faces."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from pfvit.commands.output_files import make_folder
from pfvit.config import Evaluate
from pfvit.evaluation import cross_dataset, measure, probe
from pfvit.inference import network
from pfvit.inference.generator import FaceGenerator
from pfvit.utils.console import emit, show


def evaluate(config: Evaluate) -> int:
    """Measure, and print the figures; return the exit status: 1 if rows could not be read."""
    if config.cross:
        return across(config)
    if config.figures is not None:
        make_folder(config.figures)  # what cannot be written should be known before the faces are measured
    run = opened(config.weights, encoder_alone=bool(config.probe))
    if config.probe:
        encoder = FaceGenerator(network.open_recogniser(config.weights)) if run is None else run
        report, unreadable = probe.linear_probe(config, encoder)
    else:
        report, unreadable = measure.evaluate(config, run)
    if config.json:
        emit(json.dumps(report))
    else:
        print_report(report)
    return 1 if unreadable else 0


def across(config: Evaluate) -> int:
    """Measure every recogniser of `--cross` on every data set, and return the exit status."""
    merge = config.merged()
    sets = [cross_dataset.test_set(path) for path in config.data]
    reports, unreadable = [], 0
    for path in config.cross:
        run = opened(path)
        recogniser = network.open_answering(path) if run is None else run.recogniser
        for data in sets:
            report, damaged = cross_dataset.compare(
                recogniser, data, config.order, config.clean, merge, config.batch, config.majority_alone
            )
            reports.append(report)
            unreadable += damaged
    if config.json:
        emit(json.dumps({"protocol": measure.rows_of(config), "cross": reports}))
    else:
        show(*cross_dataset.tables(reports, len(sets)))
    return 1 if unreadable else 0


def opened(weights: Path | None, encoder_alone: bool = False) -> FaceGenerator | None:
    """Open a training run; None for weight files, which need no torch."""
    if weights is None or not network.is_run(weights):
        return None
    from pfvit.export.opened import open_run

    return open_run(weights, encoder_alone)


def print_report(report: dict[str, Any]) -> None:
    """Print the figures for people."""
    out = report["left_out"]
    unlabelled = f"{out['no_label']} without a label, " if "no_label" in out else ""
    show(
        f"{report['weights']} on {', '.join(report['data'])}, {report['protocol']} protocol: {report['n']} faces "
        f"({out['leaked']} leaked, {out['no_emotion']} with an emotion that the weights do not know, or none, "
        f"{unlabelled}{out['unreadable']} unreadable)\n",
    )
    if "probe" in report:
        show(f"linear probe, fitted to {report['fitted']} faces of {', '.join(report['probe'])}\n")
    papers = report.get("majority")
    table = Table(box=None, header_style="bold")
    for heading in ("measure", "value", "95% interval", *(("majority", "95% interval") if papers else ())):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for key, name in (
        ("war", "WAR (accuracy)"),
        ("uar", "UAR (mean recall)"),
        ("macro_f1", "macro F1"),
        ("ece", "calibration error"),
    ):
        table.add_row(name, *(cell for part in (report, papers) if part for cell in _with_interval(part, key)))
    for key, name in (
        ("js_distance", "Jensen-Shannon distance to the votes"),
        ("unsure", "marked unsure"),
        ("right_if_sure", "right if not marked"),
    ):
        if report.get(key) is not None:
            shown = [f"{part[key]:.3f}" if part.get(key) is not None else "-" for part in (report, papers) if part]
            table.add_row(name, shown[0], "", *shown[1:])
    for key, value in report.get("poker", {}).items():
        if isinstance(value, float):
            ends = report["poker"].get(f"{key}_ci")
            table.add_row(key.replace("_", " "), f"{value:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "")
    show(table)
    if papers:
        show(f"majority: the papers' protocol, on the {papers['n']} faces that most annotators agree on")
    if "robustness" in report:
        show(views_table(report["robustness"]))
        show(f"mean accuracy over framings from -12% to +30%: {report['mean_of_framings']:.3f}")
    grid = Table(box=None, header_style="bold", title="\nrows: the truth; columns: the answer", title_justify="left")
    for heading in ("", *(name[:9] for name in report["labels"]), "recall", "F1"):
        grid.add_column(heading, justify="right")
    for name, counts in zip(report["labels"], report["confusion"], strict=True):
        shares = (_percent(report["recall"][name]), _percent(report["f1"][name]))
        grid.add_row(name, *map(str, counts), *shares)
    show(grid)


def views_table(views: dict[str, dict[str, Any]]) -> Table:
    """Return the figures of other views of the faces."""
    papers = all("majority" in figures for figures in views.values())
    table = Table(box=None, header_style="bold", title="\nthe same faces seen otherwise", title_justify="left")
    headings = ["WAR", "UAR", "calibration error", "unsure", "right if not"]
    for heading in ("", *headings, *(("WAR, majority", "UAR, majority") if papers else ())):
        table.add_column(heading, justify="right" if heading else "left")
    for name, figures in views.items():
        values = [figures[key] for key in ("war", "uar", "ece", "unsure", "right_if_sure")]
        values += [figures["majority"][key] for key in ("war", "uar")] if papers else []
        table.add_row(name, *("-" if value is None else f"{value:.3f}" for value in values))
    return table


def _with_interval(report: dict[str, Any], key: str) -> tuple[str, str]:
    low, high = report[f"{key}_ci"]
    return f"{report[key]:.3f}", f"{low:.3f} to {high:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"

"""`pfvit evaluate`: measure recognition and poker faces on labelled faces."""

import json
from typing import Any

from rich.table import Table

from pfvit.config import Evaluate
from pfvit.evaluation import cross_dataset, measure
from pfvit.inference import network
from pfvit.utils.console import emit, show


def evaluate(config: Evaluate) -> int:
    """Measure, and print the figures; return the exit status: 1 if rows could not be read."""
    if config.cross:
        return across(config)
    report, unreadable = measure.evaluate(config)
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
        recogniser = network.open_answering(path)
        for data in sets:
            clean = config.protocol == "clean"
            report, damaged = cross_dataset.compare(recogniser, data, config.order, clean, merge, config.batch)
            reports.append(report)
            unreadable += damaged
    if config.json:
        emit(json.dumps({"protocol": config.protocol, "cross": reports}))
    else:
        show(*cross_dataset.tables(reports))
    return 1 if unreadable else 0


def print_report(report: dict[str, Any]) -> None:
    """Print the figures for people."""
    out = report["left_out"]
    show(
        f"{report['weights']} on {', '.join(report['data'])}, {report['protocol']} protocol: {report['n']} faces "
        f"({out['leaked']} leaked, {out['no_emotion']} without a majority emotion, {out['unreadable']} unreadable)\n",
    )
    table = Table(box=None, header_style="bold")
    for heading in ("measure", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for key, name in (
        ("war", "WAR (accuracy)"),
        ("uar", "UAR (mean recall)"),
        ("macro_f1", "macro F1"),
        ("ece", "calibration error"),
    ):
        low, high = report[f"{key}_ci"]
        table.add_row(name, f"{report[key]:.3f}", f"{low:.3f} to {high:.3f}")
    if "js_distance" in report:
        table.add_row("Jensen-Shannon distance to the votes", f"{report['js_distance']:.3f}", "")
    for key, value in report.get("poker", {}).items():
        if isinstance(value, float):
            ends = report["poker"].get(f"{key}_ci")
            table.add_row(key.replace("_", " "), f"{value:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "")
    show(table)
    grid = Table(box=None, header_style="bold", title="\nrows: the truth; columns: the answer", title_justify="left")
    for heading in ("", *(name[:9] for name in report["labels"]), "recall", "F1"):
        grid.add_column(heading, justify="right")
    for name, counts in zip(report["labels"], report["confusion"], strict=True):
        shares = (_percent(report["recall"][name]), _percent(report["f1"][name]))
        grid.add_row(name, *map(str, counts), *shares)
    show(grid)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"

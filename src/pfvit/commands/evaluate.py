"""`pfvit evaluate`: measure recognition and poker faces on labelled faces."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import tyro
from rich.table import Table

from pfvit.config import Evaluate
from pfvit.emotions import ORDERS
from pfvit.errors import InputError
from pfvit.evaluation import cross_dataset
from pfvit.evaluation.measure import evaluate
from pfvit.inference import network
from pfvit.utils.console import wide_console


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit evaluate` and return its exit status."""
    config = tyro.cli(Evaluate, prog="pfvit evaluate", args=arguments)
    if config.order not in ORDERS:
        raise InputError(f"--order must be one of {', '.join(ORDERS)}, not {config.order}", status=2)
    if config.batch < 1:
        raise InputError(f"--batch must be 1 or more, not {config.batch}", status=2)
    if config.cross:
        return across(config)
    report, unreadable = evaluate(config)
    if config.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        show(report)
    return 1 if unreadable else 0


def across(config: Evaluate) -> int:
    """Measure every recogniser of `--cross` on every data set, and return the exit status."""
    merge = cross_dataset.merging(config.merge)
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
        sys.stdout.write(json.dumps({"protocol": config.protocol, "cross": reports}) + "\n")
    else:
        cross_dataset.show(reports, wide_console())
    return 1 if unreadable else 0


def show(report: dict[str, Any]) -> None:
    """Print the figures for people."""
    console = wide_console()
    out = report["left_out"]
    console.print(
        f"{report['weights']} on {', '.join(report['data'])}, {report['protocol']} protocol: {report['n']} faces "
        f"({out['leaked']} leaked, {out['no_emotion']} without a majority emotion, {out['unreadable']} unreadable)\n",
        markup=False,
    )
    table = Table(box=None, header_style="bold")
    for heading in ("measure", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for key, name in (("war", "WAR (accuracy)"), ("uar", "UAR (mean recall)"), ("macro_f1", "macro F1"),
                      ("ece", "calibration error")):  # fmt: skip
        low, high = report[f"{key}_ci"]
        table.add_row(name, f"{report[key]:.3f}", f"{low:.3f} to {high:.3f}")
    if "js_distance" in report:
        table.add_row("Jensen-Shannon distance to the votes", f"{report['js_distance']:.3f}", "")
    for key, value in report.get("poker", {}).items():
        if isinstance(value, float):
            ends = report["poker"].get(f"{key}_ci")
            table.add_row(key.replace("_", " "), f"{value:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "")
    console.print(table)
    grid = Table(box=None, header_style="bold", title="\nrows: the truth; columns: the answer", title_justify="left")
    for heading in ("", *(name[:9] for name in report["labels"]), "recall", "F1"):
        grid.add_column(heading, justify="right")
    for name, counts in zip(report["labels"], report["confusion"], strict=True):
        shares = (_percent(report["recall"][name]), _percent(report["f1"][name]))
        grid.add_row(name, *map(str, counts), *shares)
    console.print(grid)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"

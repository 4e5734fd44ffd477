"""The table of a recipe: one row for each thing measured, with mean and standard deviation over seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from pfvit.config.recipe import Published, Recipe

#: Column -> where its figure is in a report of `pfvit evaluate`, and what it is multiplied by.
COLUMNS = {
    "accuracy": (("war",), 100),
    "mean recall": (("uar",), 100),
    "accuracy, majority": (("majority", "war"), 100),
    "mean recall, majority": (("majority", "uar"), 100),
    "calibration error": (("ece",), 100),
    "JS distance": (("js_distance",), 1),
    "residue probe": (("poker", "residue_probe"), 100),
    "SSIM": (("poker", "reconstruction_ssim"), 1),
    "judge: neutral, reconstructed": (("poker", "judge_neutral_reconstructed"), 100),
    "generated": (("poker", "judge_neutral_drawn"), 100),
    "after poker": (("poker", "judge_neutral_carried"), 100),
}
GENERATED = ("SSIM", "judge: neutral, reconstructed", "generated", "after poker")
ABSENT = "–"

#: Label of a row -> what `pfvit evaluate` reports of it, one for each seed.
Reports = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Cells:
    """A table as text: for the terminal and as Markdown."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def table(recipe: Recipe, preset: str, reports: Reports, notes: Sequence[str]) -> Cells:
    """Return the rows that others published for these sizes, and ours; columns that nobody fills are left out."""
    trained = {row.label: row.trained for row in recipe.rows}
    values = {
        label: {name: _figures(name, trained[label], some) for name in COLUMNS} for label, some in reports.items()
    }
    names = [name for name in COLUMNS if any(figures[name] for figures in values.values())]
    header = ["", *names, "accuracy, 95%", "faces"]
    rows = [
        [
            f"published: {row.label}",
            *(f"{row.accuracy:.2f}" if name == _column(row, names) else ABSENT for name in header[1:]),
        ]
        for row in recipe.published
        if row.preset == preset or not preset.startswith("paper-")
    ]
    if recipe.published:
        rows.append(["published: PF-ViT", "not known to us", *[ABSENT] * (len(header) - 2)])
    for label, some in reports.items():
        low, high = (100 * end for end in some[0]["war_ci"])
        interval = f"{low:.1f} to {high:.1f}" if len(some) == 1 else ABSENT
        cells = [_cell(values[label][name]) for name in names]
        rows.append([f"{preset}, {label}", *cells, interval, f"{some[0]['n']:,}"])
    seeds = max(map(len, reports.values()))
    title = f"{recipe.title}, in percent" + (f", mean ± standard deviation of {seeds} seeds" if seeds > 1 else "")
    return Cells(title, header, rows, [*notes, *compared(recipe, reports)])


def _column(row: Published, names: Sequence[str]) -> str:
    """Return under which heading a published accuracy can be compared."""
    column = f"accuracy, {row.protocol}"
    return column if column in names else "accuracy"


def compared(recipe: Recipe, reports: Reports) -> list[str]:
    """Return how much accuracy some rows have over others with the same seeds, which their spreads do not say."""
    told = []
    for one, other in recipe.compared:
        if one in reports and other in reports:
            more = [100 * (x["war"] - y["war"]) for x, y in zip(reports[one], reports[other], strict=True)]
            each = ", ".join(f"{value:+.1f}" for value in more)
            told.append(f"{one}, over {other}: {_cell(more, signed=True)} points of accuracy ({each})")
    return told


def shown(cells: Cells) -> Table:
    """Return the table for the terminal."""
    grid = Table(box=None, header_style="bold", title=cells.title, title_justify="left")
    for heading in cells.header:
        grid.add_column(heading, justify="right" if heading else "left")
    for row in cells.rows:
        grid.add_row(*row)
    grid.caption, grid.caption_justify = "; ".join(cells.notes), "left"
    return grid


def markdown(cells: Cells) -> str:
    """Return the table as Markdown."""
    lines = [cells.header, ["---"] * len(cells.header), *cells.rows]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{cells.title}\n\n{grid}\n\n" + "".join(f"* {note}\n" for note in cells.notes)


def _figures(name: str, trained: str, reports: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return a column's figure of each seed, none if it was not measured or is of something that was not trained."""
    if name in GENERATED and trained != "generator":
        return []
    where, times = COLUMNS[name]
    figures = []
    for report in reports:
        value: Any = report
        for key in where:
            value = value.get(key, {})
        figures += [times * value] if isinstance(value, float) else []
    return figures


def _cell(figures: Sequence[float], signed: bool = False) -> str:
    if not figures:
        return ABSENT
    sign = "+" if signed else ""
    spread = f" ± {statistics.stdev(figures):.2f}" if len(figures) > 1 else ""
    return f"{statistics.mean(figures):{sign}.2f}{spread}"

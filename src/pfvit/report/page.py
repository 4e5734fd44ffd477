"""A report's sections as one HTML page that needs no network, and as files: SVG, PNG, CSV, JSON."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from pfvit.report.section import Cell, Picture, Section, Table
from pfvit.utils.files import atomic_write, cannot_write

#: Longer tables are cut on the page; the CSV has all rows.
MOST_ROWS = 40
#: Tables with no more rows are not divided between two sheets of paper.
SHORT = 16
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; background: #fff; max-width: 62rem; margin: 0 auto;
  padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.7em; } h2 { font-size: 1.3em; margin-top: 2.3em; border-top: 1px solid #bcc1c8; padding-top: .8em; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }
a { color: #0057a0; }
figure { margin: 1.5em 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
figcaption, caption { color: #4a4d52; text-align: left; } figcaption { font-size: .9em; } caption { font-size: 1.05em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: 26em; font-size: .85em; margin: 1em 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid #e3e5e8; text-align: left; }
.number { text-align: right; } td.number { white-space: nowrap; }
.note { border-left: 4px solid #0072B2; padding: .2rem .8rem; background: #f3f6f9; }
@page { margin: 14mm 12mm; }
@media print { nav { display: none; } body { max-width: none; padding: 0; font-size: 9.5pt; }
  h2, caption, section > p:not(:last-child) { break-after: avoid; } tr, p, .short { break-inside: avoid; }
  th, td { padding: .15em .45em; } .scroll { overflow: visible; } figure img { max-height: 225mm; } }
"""


def html(title: str, about: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """Return the page; everything it shows is inside it."""
    links = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in sections)
    said = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in about)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><table>{said}</table>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>'
        + "".join(map(_section, sections))
        + "</main></body></html>\n"
    )


def _section(section: Section) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes)
    pictures = "".join(map(_picture, section.pictures))
    tables = "".join(_table(table) for table in section.tables if not table.hidden)
    return (
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2><p>{escape(section.intro)}</p>'
        f"{notes}{pictures}{tables}</section>\n"
    )


def _picture(picture: Picture) -> str:
    kind, data = ("svg+xml", picture.svg) if picture.svg is not None else ("jpeg", picture.jpeg or picture.png)
    address = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    caption = escape(picture.caption)
    return f'<figure><img src="{address}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'


def _table(table: Table) -> str:
    columns = _columns(table)
    kinds = [
        ' class="number"' if all(not isinstance(row[start], str) for row in table.rows) else "" for start, _ in columns
    ]
    names = [escape(table.header[start]) + (" (95% interval)" if ends else "") for start, ends in columns]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(names, kinds, strict=True))
    body = ""
    for row in table.rows[:MOST_ROWS]:
        cells = [_cell(row[start]) + (_ends(row[start + 1 : start + 3]) if ends else "") for start, ends in columns]
        body += "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, kinds, strict=True)) + "</tr>"
    short = ' class="short"' if len(table.rows) <= SHORT else ""
    more = f" The first {MOST_ROWS} of {len(table.rows)}; the CSV file has all." if len(table.rows) > MOST_ROWS else ""
    return (
        f'<div class="scroll"><table{short}><caption>{escape(table.caption)}{more}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    )


def _columns(table: Table) -> list[tuple[int, bool]]:
    """Return where each column of the page starts, and whether it is a value and the two ends of its interval.

    These three stand in one column of the page, so that tables fit on paper; files have a column for each.
    """
    places = range(len(table.header))
    starts = [
        k
        for k in places[:-2]
        if table.header[k + 1].endswith("low")
        and table.header[k + 2].endswith("high")
        and all(cell is None or isinstance(cell, float) for row in table.rows for cell in row[k : k + 3])
    ]
    inside = {k + one for k in starts for one in (1, 2)}
    return [(k, k in starts) for k in places if k not in inside]


def _ends(values: Sequence[Cell]) -> str:
    return "" if None in values else f" ({_cell(values[0])} to {_cell(values[1])})"


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 0.001 and value else _plain(value)


def _plain(value: Cell) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))


def write(folder: Path, page: str, sections: Sequence[Section], numbers: dict[str, Any]) -> None:
    """Write page, figures and numbers into a folder; OutputError if it cannot be done."""
    try:
        for name in ("figures", "numbers"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(folder, problem) from problem
    for section in sections:
        for picture in section.pictures:
            path = folder / "figures" / f"{section.name}-{picture.name}"
            _put(path.with_name(f"{path.name}.png"), picture.png)
            if picture.svg is not None:
                _put(path.with_name(f"{path.name}.svg"), picture.svg)
        for table in section.tables:
            _put(folder / "numbers" / f"{section.name}-{table.name}.csv", as_csv(table).encode())
    _put(folder / "report.json", json.dumps(numbers, indent=1, allow_nan=False).encode())
    _put(folder / "report.html", page.encode())


def as_csv(table: Table) -> str:
    """Return a table as CSV; what there is no number for is empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(table.header)
    rows.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return text.getvalue()


def as_numbers(sections: Sequence[Section]) -> dict[str, Any]:
    """Return all tables and notes, as report.json holds them."""
    return {
        section.name: {
            "title": section.title,
            "intro": section.intro,
            "notes": section.notes,
            "tables": {
                table.name: {"caption": table.caption, "columns": list(table.header), "rows": table.rows}
                for table in section.tables
            },
        }
        for section in sections
    }


def _put(path: Path, data: bytes) -> None:
    with atomic_write(path) as beside:
        beside.write_bytes(data)

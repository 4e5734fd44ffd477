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
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; background: #fff; max-width: 62rem; margin: 0 auto;
  padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; margin-top: 3rem; border-top: 1px solid #bcc1c8; padding-top: 1rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }
a { color: #0057a0; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
figcaption, caption { color: #4a4d52; font-size: .9rem; text-align: left; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; min-width: 26rem; font-size: .85rem; margin: 1rem 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid #e3e5e8; text-align: left; }
.number { text-align: right; }
.note { border-left: 4px solid #0072B2; padding: .2rem .8rem; background: #f3f6f9; }
@media print { nav { display: none; } body { max-width: none; padding: 0; font-size: 11px; }
  h2 { break-after: avoid; } tr, .note { break-inside: avoid; } .scroll { overflow: visible; } }
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
    numeric = [all(not isinstance(row[k], str) for row in table.rows) for k in range(len(table.header))]
    kinds = [' class="number"' if number else "" for number in numeric]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.header, kinds, strict=True))
    shown = table.rows[:MOST_ROWS]
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in shown
    )
    more = f" The first {MOST_ROWS} of {len(table.rows)}; the CSV file has all." if len(table.rows) > MOST_ROWS else ""
    return (
        f'<div class="scroll"><table><caption>{escape(table.caption)}{more}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    )


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 0.001 and value else _plain(value)


def _plain(value: Cell) -> str:
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

"""The model card: what the weights say of themselves, and the report's figures. No figure in it is typed by hand."""

from collections.abc import Sequence
from pathlib import Path

from pfvit.config import Report
from pfvit.report.collect import Faces
from pfvit.report.section import Cell, Section, Table
from pfvit.utils.files import atomic_write
from pfvit.utils.text import utf8

#: Tables that stand in the card, by section and name; and of which columns.
TABLES = (
    ("recognition", "summary", ("protocol", "faces", "measure", "value", "low", "high")),
    ("recognition", "classes", ("protocol", "emotion", "faces", "recall", "recall low", "recall high")),
    ("labels", "ceiling", ("protocol", "faces", "by", "agreement")),
    ("generation", "poker", ("measure", "value", "low", "high")),
    ("groups", "groups", ("column", "group", "faces", "accuracy", "low", "high")),
)
LIMITS = """## What it must not be used for

* **An expression is not a feeling.** The labels are what annotators saw in a picture. Do not use the weights to judge
  people: hiring, policing, education, insurance, health. The EU forbids emotion recognition at work and in schools (AI
  Act, article 5).
* A poker face is no proof of how someone looks at rest, and no means to identify anyone.
* Emotions with a low recall above are recognised poorly. Faces unlike the data measured here may be read worse.
"""


def write(path: Path, faces: Faces, config: Report, sections: Sequence[Section]) -> None:
    """Write the model card; OutputError if it cannot be done."""
    with atomic_write(path) as beside:
        beside.write_text(model_card(faces, config, sections), encoding="utf-8")


def model_card(faces: Faces, config: Report, sections: Sequence[Section]) -> str:
    """Return the card as Markdown."""
    said = faces.recogniser.about
    parts = [
        f"# Model card: {faces.recogniser.name}",
        f"* Weights: `{faces.recogniser.path.name}`, {faces.recogniser.size} x {faces.recogniser.size} pixels, "
        f"{'gray' if faces.recogniser.channels == 1 else 'colour'}",
        f"* Emotions: {', '.join(faces.recogniser.labels)}",
        f"* Training data: {said.get('pfvit.data', 'not said')}",
        f"* Licence: {said.get('pfvit.license', 'not said')}",
        f"* Measured on: {', '.join(utf8(path.name) for path in config.data)}, {config.protocol} protocol, "
        f"{len(faces.truth)} faces\n",
    ]
    there = {(section.name, table.name): table for section in sections for table in section.tables}
    titles = {section.name: section.title for section in sections}
    told = set()
    for section, name, columns in TABLES:
        if (section, name) in there:
            if section not in told:
                parts.append(f"## {titles[section]}\n")
                told.add(section)
            parts.append(f"{there[section, name].caption}\n\n{markdown(there[section, name], columns)}\n")
    notes = [f"* {note}" for section in sections for note in section.notes]
    if notes:
        parts.append("## Not measured, or uncertain\n")
        parts.append("\n".join(notes) + "\n")
    return "\n".join([*parts, LIMITS])


def markdown(table: Table, columns: Sequence[str]) -> str:
    """Return some columns of a table as Markdown."""
    places = [list(table.header).index(name) for name in columns]
    rows = [columns, ["---"] * len(columns), *([_cell(row[k]) for k in places] for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)

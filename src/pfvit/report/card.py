"""The model card: the figures of a report, what the weights say of themselves, and the words of those who made them.

It is made from report.json and words alone, so that no figure in it is typed by hand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pfvit.errors import InputError
from pfvit.inference.generator import FaceGenerator
from pfvit.inference.network import Network
from pfvit.report.section import Cell

#: Tables that stand in the card, by section and name; and of which columns (all if none is named).
TABLES = (
    ("recognition", "summary", ("protocol", "faces", "measure", "value", "low", "high")),
    ("recognition", "classes", ("protocol", "emotion", "faces", "recall", "recall low", "recall high")),
    ("labels", "ceiling", ("protocol", "faces", "by", "agreement")),
    ("separation", "probes", ("component", "probe", "accuracy", "low", "high")),
    ("generation", "poker", ("measure", "value", "low", "high")),
    ("generation", "controls", ()),
    ("generation", "pairs", ()),
    ("generation", "pairs-way", ()),
    ("groups", "groups", ("column", "group", "faces", "accuracy", "low", "high")),
)
#: The table of changed faces is turned: a row for each change.
CHANGED = ("robustness", "robustness")
LIMITS = """## What it must not be used for

* **An expression is not a feeling.** The labels are what annotators saw in a picture. Do not use the weights to judge
  people: hiring, policing, education, insurance, health. The EU forbids emotion recognition at work and in schools (AI
  Act, article 5).
* A poker face is no proof of how someone looks at rest, and no means to identify anyone.
* Emotions with a low recall above are recognised poorly. Faces unlike the data measured here may be read worse.
"""
Numbers = Mapping[str, Any]


def described(recogniser: Network) -> dict[str, Any]:
    """Return what a recogniser's file says of itself, as report.json holds it."""
    return {
        "name": recogniser.name,
        "file": recogniser.path.name,
        "size": recogniser.size,
        "colour": recogniser.channels == 3,
        "labels": list(recogniser.labels),
        "training_data": recogniser.about.get("pfvit.data"),
        "licence": recogniser.about.get("pfvit.license"),
        "temperature": recogniser.about.get("pfvit.temperature"),
    }


def words(generator: FaceGenerator) -> str:
    """Return what those who made the weights say of them: the Markdown file NAME.md beside NAME.onnx, if there is one.

    It tells what a report cannot measure: how and on what the weights were trained, what they are for, and what not.
    """
    try:
        path = generator.encoder.path
    except InputError:  # weights that only answer
        path = generator.recogniser.path
    beside = path.with_suffix(".md")
    return beside.read_text(encoding="utf-8") if beside.is_file() else ""


def model_card(numbers: Numbers, said: str) -> str:
    """Return the card as Markdown, from report.json and the words of those who made the weights."""
    of = numbers["recogniser"]
    parts = [
        f"# Model card: {of['name']}\n",
        f"* Weights: `{of['file']}`, {of['size']} x {of['size']} pixels, {'colour' if of['colour'] else 'gray'}",
        f"* Emotions: {', '.join(of['labels'])}",
        f"* Training data: {of['training_data'] or 'not said'}",
        f"* Licence: {of['licence'] or 'not said'}",
        f"* Measured on: {numbers['data']}, {numbers['rows']}",
        f"* Figures by {numbers['made by']}: `pfvit report` writes this page\n",
        *([said.strip() + "\n"] if said else []),
    ]
    told = set()
    for section, name, columns in TABLES:
        part = numbers["sections"].get(section, {})
        if table := part.get("tables", {}).get(name):
            if section not in told:
                parts.append(f"## {part['title']}\n")
                told.add(section)
            parts.append(f"{table['caption']}\n\n{markdown(table['columns'], table['rows'], columns)}\n")
    parts += _changed(numbers)
    notes = [
        f"* {part['title']}: {note}"
        for name, part in numbers["sections"].items()
        if name != "compare"  # a card is of one recogniser
        for note in part["notes"]
    ]
    if notes:
        parts += ["## Not measured, or uncertain\n", "\n".join(notes) + "\n"]
    return "\n".join([*parts, LIMITS])


def _changed(numbers: Numbers) -> list[str]:
    """Return the accuracy of changed faces: a row for each change, a column for each strength."""
    part = numbers["sections"].get(CHANGED[0], {})
    table = part.get("tables", {}).get(CHANGED[1])
    if not table:
        return []
    plain = table["rows"][0][table["columns"].index("accuracy")]
    said = f"{part['intro']} Accuracy as they are: {plain:.3f}; in brackets, the strength."
    return [f"## {part['title']}\n", f"{said}\n\n{markdown(*by_strength(table['columns'], table['rows']))}\n"]


def by_strength(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[Cell]]]:
    """Return the accuracy of changed faces with a row for each change and a column for each strength."""
    place = {name: list(header).index(name) for name in ("change", "is", "of", "accuracy")}
    turned: dict[str, list[Cell]] = {}
    for row in rows[1:]:  # the first is of the faces as they are
        line = turned.setdefault(row[place["change"]], [f"{row[place['change']]} ({row[place['of']]})"])
        line.append(f"{row[place['accuracy']]:.3f} ({row[place['is']]:g})")
    return ["change", *(f"strength {strength}" for strength in range(1, 6))], list(turned.values())


def markdown(header: Sequence[str], rows: Sequence[Sequence[Cell]], columns: Sequence[str] = ()) -> str:
    """Return some columns of a table, or all of them, as Markdown."""
    places = [list(header).index(name) for name in columns or header]
    shown = [[_cell(row[k]) for k in places] for row in rows]
    return as_table(list(columns or header), shown)


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts as Markdown."""
    lines = ["".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)

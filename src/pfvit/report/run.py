"""All parts of a report, one after another: each says what it could not compute and why."""

from collections.abc import Callable
from typing import Any

import matplotlib

from pfvit import __version__
from pfvit.config import Report
from pfvit.inference.reader import Reader
from pfvit.report import card, page, style
from pfvit.report.changes import CHANGES
from pfvit.report.collect import Faces, collect
from pfvit.report.compare import compare, names_of
from pfvit.report.explanation import explanation
from pfvit.report.generation import generation
from pfvit.report.groups import groups
from pfvit.report.labels import labels
from pfvit.report.pairs import read_pairs
from pfvit.report.recognition import recognition
from pfvit.report.robustness import robustness
from pfvit.report.section import Section
from pfvit.report.separation import separation
from pfvit.utils.console import progress_bar
from pfvit.utils.files import write_whole
from pfvit.utils.text import utf8


def report(config: Report) -> tuple[list[Section], int]:
    """Write the report and return its sections, and how many rows of the data were unreadable."""
    faces = collect(config)
    reader = Reader(config.weights[0] if config.weights else None)
    pairs = [] if config.pairs is None else read_pairs(config.pairs, reader)
    sections = []
    with progress_bar() as progress, matplotlib.rc_context(style.STYLE):

        def changed() -> None:
            progress.advance(task)

        makers: dict[str, Callable[[], Section]] = {
            "recognition": lambda: recognition(faces),
            "ambiguity": lambda: labels(faces),
            "comparison": lambda: compare(faces),
            "groups": lambda: groups(faces),
            "separation": lambda: separation(faces),
            "poker faces": lambda: generation(faces, reader, pairs),
            "explanation": lambda: explanation(faces, reader),
            "robustness": lambda: robustness(faces, reader, changed),
        }
        task = progress.add_task("report", total=len(makers) + len(CHANGES))
        for name, make in makers.items():
            progress.update(task, description=f"report: {name}")
            sections.append(make())
            progress.advance(task)
    about = [
        ("weights", ", ".join(names_of([faces.recogniser, *(one for one, _ in faces.others)]))),
        ("data", ", ".join(utf8(path.name) for path in config.data)),
        ("rows", f"{config.protocol} protocol: {len(faces.truth)} faces; left out: {_left_out(faces)}"),
        ("made by", f"pfvit report, version {__version__}"),
    ]
    numbers: dict[str, Any] = {
        **dict(about),
        "faces": len(faces.truth),
        "protocol": config.protocol,
        "recogniser": card.described(faces.recogniser),
        "left_out": faces.left_out,
        "sections": page.as_numbers(sections),
    }
    page.write(config.out, page.html(f"Report on {faces.recogniser.name}", about, sections), sections, numbers)
    write_whole(config.out / "model-card.md", card.model_card(numbers, card.words(faces.generator)))
    return sections, faces.left_out["unreadable"]


def _left_out(faces: Faces) -> str:
    why = {
        "leaked": "whose pixels are in another split",
        "no_emotion": "with an emotion that the weights do not know, or none",
        "unreadable": "unreadable",
        "no_label": "without a label",
    }
    return ", ".join(f"{count} {why[name]}" for name, count in faces.left_out.items())

"""`pfvit predict`: find faces in pictures and read their expressions."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from pfvit.commands.image_inputs import Inputs
from pfvit.commands.output_files import Namer, make_folder, save
from pfvit.commands.result_table import AFFECT, MOVEMENT, FinishedTable, Records, rows_of
from pfvit.config import Predict
from pfvit.data import sources
from pfvit.inference.affect import Affect
from pfvit.inference.movement import Movement
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading, prepare
from pfvit.rendering import annotated
from pfvit.utils.console import emit, say, show, table_width
from pfvit.utils.text import printable

BAR = 12  # characters
GAP = 2  # characters between columns
#: Styles of the columns of the table for people. Those of numbers are aligned to the right.
STYLES = {"box": "dim", "emotion": "bold", "then": "dim"}
WORDS = ("picture", "box", "emotion", "", "then")
MOVEMENT_HEADINGS = tuple(field.removeprefix("mouth_") for field in Movement._fields)
#: Columns of `--affect` and `--movement`.
MEASURES = (*Affect._fields, *MOVEMENT_HEADINGS)
#: Columns that go first where a terminal is too narrow for all.
DISPENSABLE = ("", "then")
NARROWEST = 8  # characters that are left of a picture's name at least


def predict(config: Predict) -> int:
    """Print or write what is read in every face, and pictures if asked to."""
    inputs = Inputs(config.paths, [folder for folder in (config.picture, config.annotate) if folder is not None])
    reader = Reader(config.weights, threads=config.threads, providers=(config.provider,), look=config.look)
    if config.output is None:
        return answer(config, inputs, reader, None)
    settings = {
        "weights": reader.recogniser.pair,
        "whole": config.whole,
        "look": config.look,
        "min_score": config.min_score,
        "movement": config.movement,
        "affect": config.affect,
    }
    columns = (
        dict.fromkeys(reader.recogniser.labels, "float32")
        | (AFFECT if config.affect else {})
        | (MOVEMENT if config.movement else {})
    )
    if config.resume and config.output.is_file():
        return finished(config.output, columns, inputs)
    with Records(config.output, columns, config.resume, settings) as records:
        return answer(config, inputs, reader, records)


def finished(output: Path, columns: Iterable[str], inputs: Inputs) -> int:
    """Say that a table is finished, and leave it as it is; InputError if some of the pictures are not in it."""
    table = FinishedTable(output, columns)
    table.check(item.source for item in sources.items(inputs.files))
    failed = f"; {table.failed:,} of its pictures could not be read" if table.failed else ""
    say(f"{output} is finished already: nothing is left to do{failed}")
    return 1 if table.failed else 0


def answer(config: Predict, inputs: Inputs, reader: Reader, records: Records | None) -> int:
    """Read every face and print it, or write it to the records; return the exit status."""
    made: set[str] = set()
    pictures, photos = config.picture, config.annotate
    faces_namer = None if pictures is None else Namer(make_folder(pictures), inputs, "picture", made)
    photo_namer = None if photos is None else Namer(make_folder(photos), inputs, "annotated photo", made)
    lines: list[dict[str, str]] = []
    for result in inputs.results(reader, config.whole, skip=records.skip if records else lambda source: False):
        faces = [reading for reading in result.faces if reading.score >= config.min_score]
        if result.faces and not faces:
            best = max(reading.score for reading in result.faces)
            say(f"{result.source}: no face scores {config.min_score:g} or more (--min-score), the best {best:.2f}")
        if config.movement:
            prepare(faces, strength=0)  # all faces of the picture at once
        rows = rows_of(result, faces, config.movement, config.affect) if config.json or records is not None else []
        if records is not None:
            records.write(rows)
        if config.json:
            for row in rows:
                emit(json.dumps(row))
        elif records is None:
            lines += [cells(reading, config.top, config.movement, config.affect) for reading in faces]
        if faces_namer is not None:
            for reading in faces:
                save(reading.to_pil(), faces_namer.name(reading))
        if photo_namer is not None and result.image is not None and faces:
            kept = result.metadata._replace(alpha=None)  # boxes may lie where the photo is transparent
            save(annotated(result.image, faces), photo_namer.name(faces[0], numbered=False), kept)
    if lines:
        show(table_of(lines, table_width()))
    if records is not None:
        records.finish()
        others = records.done.total()
        mixed = f", with {others:,} pictures of the earlier run that are not named now" if others else ""
        say(f"{config.output} is written{mixed}")
    for namer in (faces_namer, photo_namer):
        if namer is not None:
            namer.report()
    return 1 if records is not None and records.failed else inputs.status


def table_of(lines: list[dict[str, str]], width: int | None) -> Table:
    """Return the table for people, one line a face, in so many characters; None is as wide as it needs to be.

    Where it is too wide, the bars and then the runners-up are left out, and then names keep their end only. With
    measures the boxes may go too, then the measures from the right, and the caption names them. Nothing else is cut.
    """
    columns = {heading: [line[heading] for line in lines] for heading in lines[0]}
    widest = {heading: max(map(cell_len, (heading, *column))) for heading, column in columns.items()}

    def room() -> int:
        """Return the characters that are left for names."""
        others = sum(wide + GAP for heading, wide in widest.items() if heading in columns and heading != "picture")
        return widest["picture"] if width is None else width - others

    for heading in DISPENSABLE:
        if room() < widest["picture"]:
            del columns[heading]
    last = [heading for heading in columns if heading in MEASURES]
    lost = []
    while last and room() < min(NARROWEST, widest["picture"]):
        lost.append(last.pop() if "box" not in columns else "box")
        del columns[lost[-1]]
    most = max(room(), NARROWEST)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading in columns:
        justify = "left" if heading in WORDS else "right"
        table.add_column(heading, style=STYLES.get(heading, ""), justify=justify, no_wrap=True)
    if lost:
        table.caption = f"too narrow for {', '.join(lost)}: --json has all"
    for name, *others in zip(*columns.values(), strict=True):
        table.add_row(Text(name if cell_len(name) <= most else shortened(name, most)), *others)
    return table


def shortened(name: str, room: int) -> str:
    """Return the end of a name, in so many characters of a terminal (some letters take two)."""
    tail = name
    while cell_len(tail) > room - 1:
        tail = tail[1:]
    return set_cell_size(f"\N{HORIZONTAL ELLIPSIS}{tail}", room)


def cells(reading: Reading, top: int = 3, movement: bool = False, affect: bool = False) -> dict[str, str]:
    """Return a row of the table: heading -> text."""
    order = sorted(reading.probabilities.items(), key=lambda item: -item[1])
    best = order[0][1]
    runners_up = ", ".join(f"{name} {share:.0%}" for name, share in order[1:top])
    x, y, width, height = reading.box
    name = f"{reading.emotion}?" if reading.unsure else reading.emotion
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    bar = ("█" if utf8 else "#") * round(best * BAR)
    box = f"{width}x{height}+{x}+{y}"
    row = {"picture": printable(reading.source), "face": str(reading.face), "box": box, "emotion": name}
    row |= {"sure": f"{best:.0%}", "": bar, "then": runners_up}
    if affect:
        row |= measures(Affect._fields, reading.affect)
    if movement:
        row |= measures(MOVEMENT_HEADINGS, reading.movement)
    return row


def measures(headings: Iterable[str], values: Iterable[float] | None) -> dict[str, str]:
    """Return signed numbers under their headings; dashes where there are none."""
    if values is None:
        return dict.fromkeys(headings, "-")
    return {name: f"{round(value, 2) + 0.0:+.2f}" for name, value in zip(headings, values, strict=True)}  # never -0.00

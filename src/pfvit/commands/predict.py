"""`pfvit predict`: find faces in pictures and read their expressions."""

import json
import sys

from rich.table import Table

from pfvit.commands.image_inputs import Inputs
from pfvit.commands.output_files import Namer, make_folder, save
from pfvit.commands.result_table import Records
from pfvit.config import Predict
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading
from pfvit.rendering import annotated
from pfvit.utils.console import emit, say, show
from pfvit.utils.text import printable

BAR = 12  # characters


def predict(config: Predict) -> int:
    """Print or write what is read in every face, and pictures if asked to."""
    inputs = Inputs(config.paths)
    reader = Reader(config.weights, threads=config.threads, providers=(config.provider,))
    if config.output is None:
        return answer(config, inputs, reader, None)
    with Records(config.output, reader.recogniser.labels, config.resume) as records:
        return answer(config, inputs, reader, records)


def answer(config: Predict, inputs: Inputs, reader: Reader, records: Records | None) -> int:
    """Read every face and print it, or write it to the records; return the exit status."""
    faces_namer = None if config.picture is None else Namer(make_folder(config.picture), inputs)
    photo_namer = None if config.annotate is None else Namer(make_folder(config.annotate), inputs)
    table = empty_table()
    for result in inputs.results(reader, config.whole, skip=records.skip if records else lambda source: False):
        faces = [reading for reading in result.faces if reading.score >= config.min_score]
        if records is not None:
            records.add(result.source, result.problem or faces)
        for reading in faces:
            if config.json:
                emit(json.dumps(reading.to_dict()))
            elif records is None:
                table.add_row(*cells(reading, config.top))
            if faces_namer is not None:
                save(reading.to_pil(), faces_namer.name(reading))
        if photo_namer is not None and result.image is not None and faces:
            save(annotated(result.image, faces), photo_namer.name(faces[0], numbered=False))
    if table.row_count:
        show(table)
    if records is not None:
        records.finish()
        say(f"{config.output} is written")
    for namer in (faces_namer, photo_namer):
        if namer is not None:
            namer.report()
    return inputs.status


def empty_table() -> Table:
    """Return the table for people, without rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("picture", overflow="fold")
    table.add_column("face", justify="right")
    table.add_column("box", style="dim")
    table.add_column("emotion", style="bold")
    table.add_column("how sure")
    table.add_column("then", style="dim")
    return table


def cells(reading: Reading, top: int = 3) -> tuple[str, ...]:
    """Return a row of the table."""
    order = sorted(reading.probabilities.items(), key=lambda item: -item[1])
    best = order[0][1]
    runners_up = ", ".join(f"{name} {share:.0%}" for name, share in order[1:top])
    x, y, width, height = reading.box
    name = f"{reading.emotion}?" if reading.unsure else reading.emotion
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    bar = ("█" if utf8 else "#") * round(best * BAR)
    # Markup would take [brackets] in file names for styles.
    source = printable(reading.source).replace("[", r"\[")
    return source, str(reading.face), f"{width}x{height}+{x}+{y}", name, f"{best:4.0%} {bar}", runners_up

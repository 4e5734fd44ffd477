"""`pfvit predict`: find faces in pictures and read their expressions."""

import json
import sys
from collections.abc import Sequence

import tyro
from rich.table import Table

from pfvit.config import Predict
from pfvit.errors import printable
from pfvit.inputs import Inputs, quiet_pipe
from pfvit.outputs import Namer, make_folder, save, wide_console
from pfvit.picture import panels
from pfvit.reader import Reader, Reading, read, transfer

__all__ = ["Reader", "Reading", "main", "read", "transfer"]

RUNNERS_UP = 3
BAR = 12  # characters


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit predict` and return its exit status."""
    config = tyro.cli(Predict, prog="pfvit predict", args=arguments)
    return quiet_pipe(lambda: predict(config))


def predict(config: Predict) -> int:
    """Print what is read in every face, and write a picture of each if asked to."""
    inputs = Inputs(config.paths)
    reader = Reader(config.weights, threads=config.threads)
    namer = None if config.picture is None else Namer(make_folder(config.picture), inputs)
    table = empty_table()
    for reading in inputs.readings(reader, config.whole):
        if config.json:
            sys.stdout.write(json.dumps(reading.to_dict()) + "\n")
        else:
            table.add_row(*cells(reading))
        if namer is not None:
            save(panels(reading), namer.name(reading))
    if table.row_count:
        wide_console().print(table)
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


def cells(reading: Reading) -> tuple[str, ...]:
    """Return a row of the table."""
    order = sorted(reading.probabilities.items(), key=lambda item: -item[1])
    best = order[0][1]
    runners_up = ", ".join(f"{name} {share:.0%}" for name, share in order[1:RUNNERS_UP])
    x, y, width, height = reading.box
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    bar = ("█" if utf8 else "#") * round(best * BAR)
    # Markup would take [brackets] in file names for styles.
    source = printable(reading.source).replace("[", r"\[")
    return source, str(reading.face), f"{width}x{height}+{x}+{y}", reading.emotion, f"{best:4.0%} {bar}", runners_up

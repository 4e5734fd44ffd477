"""What is said to the person at the terminal: lines and progress bars on stderr, tables on stdout."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pfvit.utils.files import cannot_write
from pfvit.utils.text import printable

#: Columns when a table goes to a file or a pipe: nothing must be cut.
WIDE = 10_000


@lru_cache(maxsize=1)
def stderr() -> Console:
    """Return the one console on stderr: lines are printed above a progress bar only by the console that shows it."""
    return Console(stderr=True)


def say(message: str) -> None:
    """Write one line to stderr, as it is: no markup, no wrapping, nothing that a terminal cannot show."""
    stderr().print(printable(message), markup=False, highlight=False, soft_wrap=True)


class Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


def progress_bar(*columns: ProgressColumn, hidden: bool = False) -> Progress:
    """Return a bar on stderr, shown on terminals alone: how many are done, how fast, and the time left.

    `columns` take the place of the first two.
    """
    shown = columns or (MofNCompleteColumn(), Rate())
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *shown,
        TimeRemainingColumn(),
        console=stderr(),
        transient=True,
        disable=hidden or not stderr().is_terminal,
    )


def emit(line: str) -> None:
    """Write one line to stdout, for other programs. OutputError if what it goes to is full."""
    with _stdout():
        sys.stdout.write(f"{line}\n")


def flush() -> None:
    """Write out what stdout still holds back. OutputError if what it goes to is full."""
    with _stdout():
        sys.stdout.flush()


def show(*parts: RenderableType) -> None:
    """Print tables, and text as it is, on stdout for people. OutputError if what it goes to is full."""
    with _stdout():
        for part in parts:
            _wide_console().print(part, markup=False, soft_wrap=isinstance(part, str))


@contextmanager
def _stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise cannot_write("standard output", problem) from problem


def table_width() -> int | None:
    """Return the characters in a line of the terminal that stdout is; None where it is no terminal."""
    console = Console()
    return console.width if console.is_terminal else None


def _wide_console() -> Console:
    """Return a console for tables on stdout: as wide as the terminal, or wide enough where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)

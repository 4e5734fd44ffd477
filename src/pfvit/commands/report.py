"""`pfvit report`: the figures and pictures that a paper would print."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from pfvit.commands.output_files import make_folder
from pfvit.config import Report
from pfvit.utils.console import emit, say

CACHE = "MPLCONFIGDIR"


def report(config: Report) -> int:
    """Write the report, print where its page is, and return the exit status: 1 if rows could not be read."""
    make_folder(config.out)  # what cannot be written should be known before an hour of work
    with no_cache():
        from pfvit.report import run  # here, as matplotlib looks for its folder when it is imported

        sections, unreadable = run.report(config)
    for section in sections:
        for note in section.notes:
            say(f"{section.title}: {note}")
    emit(str(config.out / "report.html"))
    return 1 if unreadable else 0


@contextmanager
def no_cache() -> Iterator[None]:
    """Give matplotlib a folder for its list of fonts that goes at the end: nothing is left in the home directory."""
    if CACHE in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="pfvit-report-") as folder:
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            del os.environ[CACHE]

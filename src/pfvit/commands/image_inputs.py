"""The pictures that a command line names, through one reader: what `pfvit predict` and `pfvit poker` share.

An input that fails is named on stderr while the others go on, and the answers keep the inputs' order.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pfvit.data import sources
from pfvit.data.formats import TABLES
from pfvit.inference.reader import Reader, Result
from pfvit.utils.console import progress_bar, say

#: With fewer inputs a progress bar is only noise.
MANY = 8
#: A picture whose brightest value is below this (of 255) is reported as nearly black.
NEARLY_BLACK = 24


class Inputs:
    """The pictures that a command line names, and how reading them went."""

    def __init__(self, paths: Sequence[str], leave_out: Sequence[Path] = ()):
        """Look for pictures; folders in `leave_out` are those that this run writes to."""
        self.files, self.notes = sources.find(paths, leave_out)
        self.failed = 0

    @property
    def status(self) -> int:
        """The exit status: 0 if every input was read, else 1."""
        return 1 if self.failed else 0

    def results(
        self, reader: Reader, whole: bool, skip: Callable[[str], bool] = lambda source: False
    ) -> Iterator[Result]:
        """Yield what came of every picture, in order, and say what failed; those to `skip` are not even decoded."""
        for note in self.notes:
            say(note)
        tables = any(isinstance(file, Path) and file.suffix.lower() in TABLES for file in self.files)
        few = len(self.files) < MANY and not tables
        with progress_bar(hidden=few) as progress:
            task = progress.add_task("reading", total=None if tables else len(self.files))

            def passed(source: str) -> bool:
                skipped = skip(source)
                if skipped:
                    progress.advance(task)
                return skipped

            for result in reader.stream(sources.items(self.files, passed), whole):
                progress.advance(task)
                if result.problem is not None:
                    self.failed += 1
                    say(str(result.problem))
                elif not result.faces and result.image is not None:
                    dark = "; the picture is nearly black" if result.image.max(initial=0) < NEARLY_BLACK else ""
                    say(f"{result.source}: no face found{dark}; if it is a face already cropped, use --whole")
                yield result

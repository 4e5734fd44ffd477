"""Many inputs through one reader: what `pfvit predict` and `pfvit poker` share.

Faces of several pictures go through the model together, memory stays bounded however many inputs there are, an
input that fails is named on stderr while the others go on, and the answers keep the inputs' order.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pfvit.data import pictures
from pfvit.errors import InputError, printable
from pfvit.reader import Reader, Reading

#: Pictures are gathered until they are so many, or so large, and then read together.
PICTURES_AT_ONCE = 32
BYTES_AT_ONCE = 32_000_000
#: With fewer inputs a progress bar is only noise.
MANY = 8


class Inputs:
    """The pictures that a command line names, and how reading them went."""

    def __init__(self, paths: Sequence[str]):
        if not paths:
            raise InputError("name at least one picture, folder or Parquet file", status=2)
        self.files = pictures.find(paths)
        self.failed = 0
        self.console = Console(stderr=True)

    @property
    def status(self) -> int:
        """The exit status: 0 if every input was read, else 1."""
        return 1 if self.failed else 0

    def say(self, message: str) -> None:
        """Write one line to stderr, above the progress bar if there is one."""
        line = printable(message)
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def fail(self, problem: InputError) -> None:
        """Count an input that could not be read, and say why."""
        self.failed += 1
        self.say(str(problem))

    def readings(self, reader: Reader, whole: bool) -> Iterator[Reading]:
        """Yield every face of every picture, in order."""
        for _, faces in self.photos(reader, whole):
            yield from faces

    def photos(self, reader: Reader, whole: bool) -> Iterator[tuple[pictures.Pixels, list[Reading]]]:
        """Yield every picture that has faces, with them, in order."""
        with self._progress() as progress:
            task = progress.add_task("reading", total=self._total())
            sources: list[str] = []
            images: list[pictures.Pixels] = []
            for source, pixels in pictures.pictures(self.files):
                progress.advance(task)
                if isinstance(pixels, InputError):
                    self.fail(pixels)
                    continue
                sources.append(source)
                images.append(pixels)
                if len(images) >= PICTURES_AT_ONCE or sum(image.nbytes for image in images) >= BYTES_AT_ONCE:
                    yield from self._read(reader, images, sources, whole)
                    sources, images = [], []
            yield from self._read(reader, images, sources, whole)

    def _read(
        self, reader: Reader, images: list[pictures.Pixels], sources: list[str], whole: bool
    ) -> Iterator[tuple[pictures.Pixels, list[Reading]]]:
        for source, image, faces in zip(sources, images, reader.read_batch(images, whole, sources), strict=True):
            if faces:
                yield image, faces
            else:
                self.say(f"{source}: no face found; if it is a face already cropped, use --whole")

    def _total(self) -> int | None:
        tables = any(isinstance(file, Path) and file.suffix.lower() == ".parquet" for file in self.files)
        return None if tables else len(self.files)

    def _progress(self) -> Progress:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        few = len(self.files) < MANY and self._total() is not None
        hidden = few or not self.console.is_terminal
        return Progress(*columns, console=self.console, transient=True, disable=hidden)


def quiet_pipe(run: Callable[[], int]) -> int:
    """Run a verb that prints to a pipe which may be closed (`pfvit predict ... | head`); return its status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal takes every file name
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status

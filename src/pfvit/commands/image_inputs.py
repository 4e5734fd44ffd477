"""Many inputs through one reader: what `pfvit predict` and `pfvit poker` share.

Faces of several pictures go through the model together, memory stays bounded however many inputs there are, an
input that fails is named on stderr while the others go on, and the answers keep the inputs' order.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from pfvit.data import sources
from pfvit.data.images import Pixels
from pfvit.errors import InputError
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading
from pfvit.utils.console import progress_bar, say
from pfvit.utils.prefetch import BYTES_AT_ONCE, PICTURES_AT_ONCE, ahead

#: With fewer inputs a progress bar is only noise.
MANY = 8


class Result(NamedTuple):
    """What came of one picture: its faces, or why it could not be read."""

    source: str
    image: Pixels | None
    faces: list[Reading]
    problem: InputError | None


class Inputs:
    """The pictures that a command line names, and how reading them went."""

    def __init__(self, paths: Sequence[str]):
        self.files = sources.find(paths)
        self.failed = 0

    @property
    def status(self) -> int:
        """The exit status: 0 if every input was read, else 1."""
        return 1 if self.failed else 0

    def fail(self, problem: InputError) -> None:
        """Count an input that could not be read, and say why."""
        self.failed += 1
        say(str(problem))

    def results(
        self, reader: Reader, whole: bool, skip: Callable[[str], bool] = lambda source: False
    ) -> Iterator[Result]:
        """Yield what came of every picture, in order; those to `skip` are not even decoded."""

        def passed(source: str) -> bool:
            if skip(source):
                progress.advance(task)
                return True
            return False

        with self._progress() as progress:
            task = progress.add_task("reading", total=self._total())
            waiting: list[tuple[str, Pixels | InputError]] = []
            for source, pixels in ahead(sources.pictures(self.files, passed)):
                waiting.append((source, pixels))
                size = sum(pixels.nbytes for _, pixels in waiting if not isinstance(pixels, InputError))
                if len(waiting) >= PICTURES_AT_ONCE or size >= BYTES_AT_ONCE:
                    yield from self._read(reader, waiting, whole)
                    progress.advance(task, len(waiting))
                    waiting = []
            yield from self._read(reader, waiting, whole)
            progress.advance(task, len(waiting))

    def _read(self, reader: Reader, waiting: list[tuple[str, Pixels | InputError]], whole: bool) -> Iterator[Result]:
        good = [(source, pixels) for source, pixels in waiting if not isinstance(pixels, InputError)]
        read = iter(reader.read_batch([pixels for _, pixels in good], whole, [source for source, _ in good]))
        for source, pixels in waiting:
            if isinstance(pixels, InputError):
                self.fail(pixels)
                yield Result(source, None, [], pixels)
                continue
            faces = next(read)
            if not faces:
                say(f"{source}: no face found; if it is a face already cropped, use --whole")
            yield Result(source, pixels, faces, None)

    def _total(self) -> int | None:
        tables = any(isinstance(file, Path) and file.suffix.lower() == ".parquet" for file in self.files)
        return None if tables else len(self.files)

    def _progress(self) -> Progress:
        few = len(self.files) < MANY and self._total() is not None
        return progress_bar(hidden=few)

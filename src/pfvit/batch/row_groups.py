"""Row groups of Parquet files, on this machine or elsewhere, read in a process that a damaged file may end."""

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from pfvit.data.reader_process import ReaderEndedError, ReaderProcess

#: Seconds in which an answer has to come, and bytes a second of a file that may have to be read for it.
PATIENCE, SLOWEST = 20.0, 2_000_000
#: The same for files elsewhere, which may first have to be found.
PATIENCE_ELSEWHERE = 120.0
LONGEST = 300  # characters of what pyarrow says


class UnreadableError(Exception):
    """A file or a row group that cannot be read; the message says why, without the file's name."""


class Footer(NamedTuple):
    """What a Parquet file says of itself."""

    columns: list[str]
    sizes: list[int]
    """Rows of each group."""
    bytes: int
    """Of the file."""


class RowGroups:
    """Reads one group after the other. Its process is started when it is needed, and ends with this object."""

    def __init__(self) -> None:
        self.process: ReaderProcess | None = None
        self.waiting = 0
        """Answers that were asked for and are not wanted any more, but for the last."""
        self.patience = PATIENCE

    def footer(self, file: str) -> Footer:
        """Return what a file says of itself; UnreadableError if it is no readable Parquet file."""
        self.patience = PATIENCE_ELSEWHERE if "://" in file else PATIENCE
        self._ask({"file": file})
        footer = Footer(*self._answer()[1:])
        self.patience += footer.bytes / SLOWEST
        return footer

    def rows(self, file: str, group: int) -> Iterator[list[list[Any]]]:
        """Yield some rows at a time of a group, each its image and its name; UnreadableError where that ends early.

        The next rows are decoded while the caller works.
        """
        self._ask({"file": file, "group": group})
        while (answer := self._answer())[0] == "rows":
            self._ask({})
            yield answer[1]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self._end()
        self.process, self.waiting = None, 0

    def _ask(self, request: dict[str, Any]) -> None:
        if self.process is None:
            # Its own allocators take a gigabyte at once, which would count against the bound.
            self.process = ReaderProcess("pfvit.batch.row_group_process", ARROW_DEFAULT_MEMORY_POOL="system")
            self._end = weakref.finalize(self, self.process.close)
        self.process.send(request)
        self.waiting += 1

    def _answer(self) -> tuple[Any, ...]:
        """Return the answer to the last request, and drop those to earlier ones."""
        assert self.process is not None
        answer: tuple[Any, ...] = ()
        try:
            while self.waiting:
                answer = self.process.answer(self.patience)
                self.waiting -= 1
        except ReaderEndedError as problem:
            self.close()
            raise UnreadableError(str(problem)) from None
        if answer[0] == "error":
            raise UnreadableError(answer[1].partition("\n")[0][:LONGEST])
        return answer

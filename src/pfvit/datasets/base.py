"""What a data set's official download looks like: which faces it lists, in which split and under which emotion."""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from pfvit.config import Prepare
from pfvit.datasets.manifest import Counts
from pfvit.errors import InputError


class Item(NamedTuple):
    """A face that a download lists; nothing of it has been read yet."""

    split: str
    row: int
    """Its place in the list: the key."""
    name: str
    place: str
    """File and line that list it, for messages."""
    path: Path
    emotion: str = ""
    source_label: str = ""
    """The label as the set writes it."""
    crop: str = "given"
    """How the face is cut out: given, box or align."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, width and height."""
    votes: tuple[int, ...] = ()
    group: str = ""
    """Person or photo; one group never stands in two splits that are made here."""
    span: tuple[int, int] | None = None
    """Where FER2013 keeps the pixels in its table: first byte and length."""


class Bad(NamedTuple):
    """A row that cannot be used, and why."""

    file: str
    row: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{where}: {self.reason}"


Listing = Iterator[Item | Bad]


@dataclass(frozen=True)
class Layout:
    """A data set: what is published about it, and how its faces are listed."""

    name: str
    title: str
    source: str
    """Who published it, and where it is to be had."""
    licence: str
    """What its owners allow, in our words: shown to the person and kept in the manifest."""
    emotions: tuple[str, ...]
    """The emotions that it distinguishes; none if it is unlabelled."""
    listing: Callable[[Path, Prepare], Listing]
    published: Counts
    """Faces of each emotion in each split, as published; empty if nothing is."""
    note: str = ""
    """What the person should know about these splits."""
    labels: Mapping[str, str] | None = None
    """What each label of the set means, for the manifest."""


def need(source: Path, choices: tuple[str, ...], what: str) -> Path:
    """Return the first of the paths below `source` that is there; InputError that says what was looked for."""
    for choice in choices:
        if (source / choice).is_file() or (source / choice).is_dir():  # no pipe
            return source / choice
    raise InputError(f"{source} has no {' or '.join(choices)}: {what}")


def leaves(name: str) -> str:
    """Return why a name in a list may not be followed: it could be of any file of this machine; "" if it may.

    Links are followed: people keep pictures on other disks.
    """
    parts = re.split(r"[/\\]", name)
    if "\0" in name:
        return "a name with a NUL in it; take the row from the original file"
    if ".." in parts or parts[0] == "" or re.fullmatch("[A-Za-z]:", parts[0]):
        return f"{name} is outside the folder of the pictures; take the row from the original file"
    return ""


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of each line that is not empty."""
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip():
                yield number, text


def below(folder: Path, suffixes: Set[str]) -> Iterator[Path]:
    """Yield the files below a folder in order, one folder at a time, hidden ones and links to folders left out."""
    entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from below(entry, suffixes)
        elif entry.suffix.lower() in suffixes:
            yield entry


class Listed:
    """Names that were listed already, each with its label and row."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, str]] = {}

    def again(self, name: str, label: str, file: str, row: int) -> Bad | None:
        """Remember a name; if it came before, return why this row is set aside."""
        earlier = self.seen.setdefault(name, (label, f"row {row}"))
        if earlier == (label, f"row {row}"):
            return None
        if earlier[0] == label:
            return Bad(file, row, f"{name} is listed again; {earlier[1]} is kept, delete this one")
        return Bad(
            file,
            row,
            f"{name} is {label!r} here and {earlier[0]!r} in {earlier[1]}, which is kept; correct one of them",
        )


def share(group: str) -> float:
    """Return a number from 0 to 1, a hash of a group's name: groups below --held-out are for testing."""
    return int.from_bytes(blake2b(group.encode("utf-8", "surrogateescape"), digest_size=8).digest()) / 2**64

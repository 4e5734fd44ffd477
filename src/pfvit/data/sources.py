"""Which pictures a path stands for: files, folders, patterns, Parquet files, pipes, standard input."""

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from pfvit.data import formats, images, parquet
from pfvit.data.formats import HEAD, is_address, kind_of
from pfvit.data.pictures import Item
from pfvit.errors import InputError, PictureError
from pfvit.utils.text import counted, utf8

STANDARD_INPUT = Path("-")
#: What PNG files of ours say of themselves, as a key and a text.
OUTPUT_MARK = ("Software", "pfvit")


class Missing(NamedTuple):
    """A path that stands for no picture, and why."""

    source: str
    problem: PictureError


class Found(NamedTuple):
    """What some paths stand for."""

    files: list[Path | Missing]
    """In the order of the paths, folders sorted; a path that stands for nothing is Missing in its place."""
    notes: list[str]
    """What a person should know of files that were left out and are no failure."""


def find(paths: Sequence[str | Path], leave_out: Sequence[Path] = ()) -> Found:
    """Return the files that paths stand for: files as they are, folders with every picture below them.

    In folders, hidden files and folders are skipped; links to files are followed, links to folders are not (they may
    lead back). A file with an unknown ending is recognised by its first bytes; what cannot be read is Missing. Folders
    in `leave_out`, which this run writes to, are not searched unless they are named.
    """
    found = Found([], [])
    for path in paths:
        try:
            _stands_for(path, found, [one for folder in leave_out if (one := _identity(folder))])
        except (OSError, ValueError) as problem:  # ValueError: a name with a NUL in it
            why = getattr(problem, "strerror", None) or problem
            found.files.append(_missing(path, f"{path} cannot be looked at: {why}"))
        except RecursionError:  # Python looks through folders so
            found.files.append(_missing(path, f"{path} has folders that lie too deep in each other"))
    return found


def items(files: Sequence[Path | Missing], skip: Callable[[str], bool] = lambda source: False) -> Iterator[Item]:
    """Yield every picture, in order and not decoded yet; where there is none, the PictureError in its place.

    A picture whose source is to `skip` is left out. The path `-` is one picture on standard input. Parquet files give
    one picture per row of their `image` column: the source is the row's `name`, or file#row.
    """
    for file in files:
        if isinstance(file, Missing):
            if not skip(file.source):
                yield Item(file.source, file.problem)
            continue
        source = utf8(str(file))
        try:
            if file != STANDARD_INPUT and file.is_file() and parquet.is_table(file):
                yield from _rows(file, skip)
            elif skip(source):
                continue
            elif file == STANDARD_INPUT:
                yield Item(source, sys.stdin.buffer, "standard input")
            else:
                yield Item(source, file)
        except InputError as problem:
            if not skip(source):
                yield Item(source, PictureError(str(problem)))
        except OSError as problem:
            if not skip(source):
                yield Item(source, PictureError(f"{file} cannot be opened: {problem.strerror}"))


def _rows(path: Path, skip: Callable[[str], bool]) -> Iterator[Item]:
    there = parquet.column_names(path)
    if "image" not in there:
        raise PictureError(f"{path} has no image column, only {', '.join(there)}")
    wanted = [name for name in ("image", "name") if name in there]
    for number, row in enumerate(parquet.rows(path, wanted)):
        item = row_item(path, number, row["image"], row.get("name"))
        if not skip(item.source):
            yield item


def row_item(path: Path | str, number: int, cell: object, name: object) -> Item:
    """Return a row of an image column: its source is the row's `name`, or file#row."""
    place = f"{path}#{number}"
    source = utf8(name if isinstance(name, str) and name else place)
    # Messages name the row too: a name alone does not say which row of which file to look at.
    label = place if source == place else f"{place} ({source})"
    try:
        return Item(source, images.cell_bytes(cell, label), label)
    except PictureError as problem:
        return Item(source, problem, label)


def _missing(path: str | Path, why: str) -> Missing:
    return Missing(utf8(str(path)), PictureError(why))


def _stands_for(name: str | Path, found: Found, leave_out: Sequence[tuple[int, int]]) -> None:
    path = Path(name)
    if not str(name):
        found.files.append(_missing(name, "a path is empty"))
    elif path == STANDARD_INPUT or path.is_file() or _is_pipe(path):
        found.files.append(path)
    elif path.is_dir():
        _below(path, found, leave_out)
    elif path.exists():
        found.files.append(_missing(path, f"{path} is neither a file nor a folder"))
    elif is_address(str(name)):
        found.files.append(_missing(name, f"{name} is an address: download it first"))
    elif set(str(name)) & set("*?["):  # a shell that leaves patterns alone
        matches = sorted(Path(match) for match in glob(str(name), recursive=True))  # noqa: PTH207 (Path's takes no roots)
        files = [match for match in matches if match.is_file()]
        found.files.extend(files or [_missing(name, f"no file is like {name}")])
    else:
        found.files.append(_missing(path, f"{path} is not there"))


def _is_pipe(path: Path) -> bool:
    """Return whether a path is a pipe (`<(...)`, a named one) or standard input by its name (/dev/stdin)."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _identity(folder: str | Path) -> tuple[int, int] | None:
    """Return what tells a folder from all others, however it is called; None if it is not there."""
    try:
        there = Path(folder).stat()
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _below(folder: Path, found: Found, leave_out: Sequence[tuple[int, int]]) -> None:
    files: list[Path] = []
    unread: list[Missing] = []
    others: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    earlier = 0

    def note(problem: OSError) -> None:
        unread.append(_missing(problem.filename, f"{problem.filename} cannot be looked into: {problem.strerror}"))

    for here, folders, names in os.walk(folder, onerror=note):
        own = [name for name in folders if _identity(Path(here, name)) in leave_out] if leave_out else []
        found.notes.extend(f"{Path(here, name)} is left out: this run writes there" for name in own)
        writes_here = bool(leave_out) and _identity(here) in leave_out
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in own)
        links = [path for name in folders if (path := Path(here, name)).is_symlink()]
        found.notes.extend(f"{path} is a link to a folder and is left out: name it too to read it" for path in links)
        for path in (Path(here, name) for name in names if not name.startswith(".")):
            ending = path.suffix.lower()
            if ending in formats.OTHERS:
                others[ending] += 1
            elif not path.is_file():
                if path.is_symlink():
                    unread.append(_missing(path, f"{path} is a link to something that is not there"))
            elif writes_here and ending == ".png" and is_output(path):
                earlier += 1
            elif ending in formats.TABLES and _has_no_pictures(path):
                others[ending] += 1
            elif ending in formats.PICTURES or ending in formats.TABLES or ending in formats.RAW:
                files.append(path)
            elif ending in formats.UNREAD:
                unknown[ending] += 1
            else:
                kind = look(path)
                if kind == "picture":
                    files.append(path)
                else:
                    (others if kind == "text" else unknown)[ending] += 1
    if unknown:
        its = counted(unknown.total(), "file")
        unread.append(_missing(folder, f"{folder}: {its} of a kind that cannot be read ({_kinds(unknown)})"))
    if earlier:
        pictures = counted(earlier, "picture")
        found.notes.append(f"{folder}: {pictures} of an earlier run left out, as this run writes there")
    if others:
        found.notes.append(f"{folder}: {counted(others.total(), 'file')} without pictures left out ({_kinds(others)})")
    empty = [] if files or unread else [_missing(folder, f"{folder} is a folder without pictures")]
    found.files.extend([*sorted(files), *unread, *empty])


def _has_no_pictures(table: Path) -> bool:
    """Return whether a table lacks an image column, as those do that this software writes."""
    try:
        return "image" not in parquet.column_names(table)
    except InputError:  # it is damaged, which is said when it is read
        return False


def is_output(path: Path) -> bool:
    """Return whether a PNG file was written by this software."""
    with suppress(Exception), Image.open(path, formats=("PNG",)) as picture:  # damaged ones are reported when read
        return picture.info.get(OUTPUT_MARK[0]) == OUTPUT_MARK[1]
    return False


def look(path: Path) -> str:
    """Return `picture`, `text` (without an ending) or `unknown`, by a file's first bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind = kind_of(head)
    if kind in (*images.FORMATS, *images.RARE, "HEIF"):
        return "picture"
    return "text" if not path.suffix and kind is None and b"\0" not in head else "unknown"


def _kinds(endings: Counter[str]) -> str:
    """Return the endings, with their numbers where there are several files: `2 TXT, 1 CSV`."""
    names = {ending: ending[1:].upper() or "without ending" for ending in endings}
    if endings.total() == 1:
        return names[next(iter(endings))]
    return ", ".join(f"{number} {names[ending]}" for ending, number in endings.most_common())

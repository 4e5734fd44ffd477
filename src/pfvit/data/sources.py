"""Which pictures a path stands for: files, folders, patterns, Parquet files, standard input."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from pathlib import Path

from pfvit.data import parquet
from pfvit.data.images import Pixels, decode, decode_cell
from pfvit.errors import InputError

SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".parquet",
}  # fmt: skip
STANDARD_INPUT = Path("-")


def find(paths: Sequence[str | Path]) -> list[Path | InputError]:
    """Return the files that paths stand for: files as they are, folders with every picture below them, sorted.

    In folders, hidden files and folders are passed over, links to files are followed and links to folders are
    not (they may lead back). A path that stands for nothing becomes an InputError in its place.
    """
    files: list[Path | InputError] = []
    for path in paths:
        try:
            files.extend(_stands_for(path))
        except OSError as problem:
            files.append(InputError(f"{path} cannot be looked at: {problem.strerror}"))
    return files


def pictures(
    files: Sequence[Path | InputError], skip: Callable[[str], bool] = lambda source: False
) -> Iterator[tuple[str, Pixels | InputError]]:
    """Yield (source, pixels) of every picture, in order; where one cannot be read, the InputError in its place.

    A picture whose source is to `skip` is not decoded. The path `-` is one picture on standard input. Parquet files
    give one picture per row of their `image` column: the source is the row's `name`, or file#row.
    """
    for file in files:
        if isinstance(file, InputError):
            yield "", file
            continue
        try:
            if file != STANDARD_INPUT and parquet.is_table(file):
                yield from _rows(file, skip)
                continue
            if skip(str(file)):
                continue
            if file == STANDARD_INPUT:
                yield "-", decode(sys.stdin.buffer.read(), "standard input")
                continue
            with file.open("rb") as opened:
                pixels: Pixels | InputError = decode(opened, str(file))
        except InputError as problem:
            pixels = problem
        except OSError as problem:
            pixels = InputError(f"{file} cannot be opened: {problem.strerror}")
        yield str(file), pixels


def _rows(path: Path, skip: Callable[[str], bool]) -> Iterator[tuple[str, Pixels | InputError]]:
    there = parquet.column_names(path)
    if "image" not in there:
        raise InputError(f"{path} has no image column, only {', '.join(there)}")
    wanted = [name for name in ("image", "name") if name in there]
    for number, row in enumerate(parquet.rows(path, wanted)):
        place = f"{path}#{number}"
        name = row.get("name")
        source = name if isinstance(name, str) and name else place
        # A name alone does not tell which row of which file to look at.
        told = place if source == place else f"{place} ({source})"
        if skip(source):
            continue
        try:
            yield source, decode_cell(row["image"], told)
        except InputError as problem:
            yield source, problem


def _stands_for(name: str | Path) -> Sequence[Path | InputError]:
    path = Path(name)
    if not str(name):
        return [InputError("a path is empty")]
    if path == STANDARD_INPUT or path.is_file():
        return [path]
    if path.is_dir():
        return _below(path) or [InputError(f"{path} is a folder without pictures")]
    if not path.exists() and set(str(name)) & set("*?["):  # a shell that leaves patterns alone
        found = sorted(Path(match) for match in glob(str(name), recursive=True))  # noqa: PTH207 (Path's takes no roots)
        return [match for match in found if match.is_file()] or [InputError(f"no file is like {name}")]
    return [InputError(f"{path} is neither a file nor a folder" if path.exists() else f"{path} is not there")]


def _below(folder: Path) -> list[Path | InputError]:
    found: list[Path] = []
    closed: list[InputError] = []

    def note(problem: OSError) -> None:
        closed.append(InputError(f"{problem.filename} cannot be looked into: {problem.strerror}"))

    for here, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(here, name) for name in names if not name.startswith("."))
        found.extend(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
    return [*sorted(found), *closed]

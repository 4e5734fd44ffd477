"""Files that are whole or not there, and locks."""

import errno
import os
import platform
import re
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pfvit.errors import InputError, OutputError

#: What the system says of a file that another process has locked.
LOCKED = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}

#: Bytes of a picture's file that is read whole.
MOST_READ = 200_000_000

#: How the files that `atomic_write` writes to are called: by the machine and the process that writes them.
HALF = re.compile(r"\..*\.part-([0-9a-f]{8})-(\d+)(\.[^.]*)?")
DAY = 24 * 3600
LONG = 200  # bytes of a name that has no room for more behind it
_cleared: set[Path] = set()


def is_file(path: Path) -> bool:
    """Return whether a file is there; False for a name that none can have: too long, or with a NUL in it."""
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises an error where a name is too long)


@contextmanager
def atomic_write(path: Path, durable: bool = False, remedy: str = "") -> Iterator[Path]:
    """Give a path beside `path` to write to; when the block ends well it takes the place of `path`, else it goes.

    A reader of `path` sees the file of before or the whole new one, also if several processes write it at once. With
    `durable` both the file and its entry in the folder are on the disk at the end, so that this holds after a power cut
    too. What processes that were killed have left in the folder goes. An OSError becomes an OutputError that names
    `path`, with `remedy` at the end of its message.
    """
    stem = path.stem if len(os.fsencode(path.stem)) <= LONG else path.stem[: LONG // 4]
    beside = unfinished(path.with_name(f"{stem}{path.suffix}"), f"-{_machine()}-{os.getpid()}")
    _clear(path.parent)
    try:
        yield beside
        if durable:
            sync(beside)
        beside.replace(path)
        if durable:
            sync(path.parent)
    except OSError as problem:
        remove(beside)
        raise cannot_write(path, problem, remedy) from problem
    except BaseException:
        remove(beside)
        raise


def write_whole(path: Path, text: str, durable: bool = False) -> None:
    """Write a text file in UTF-8, whole or not at all; OutputError and `durable` as in `atomic_write`."""
    with atomic_write(path, durable) as new:
        new.write_text(text, encoding="utf-8")


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes off `path` while the block writes it and what belongs to it; makes its folder.

    InputError if another process has it, OutputError if nothing can be written there.
    """
    beside = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = beside.open("a")
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    with file:
        lock(file, path)
        try:
            yield
        finally:
            remove(beside)


def also_as(source: Path, target: Path) -> None:
    """Let a file be in a second place of the same disk: as a hard link, or as a copy where there are none.

    OutputError if it cannot be written.
    """
    if target.exists() and target.samefile(source):
        return
    with atomic_write(target) as new:
        remove(new)
        try:
            os.link(source, new)
        except OSError:
            shutil.copyfile(source, new)


def read_file(path: Path) -> bytes:
    """Return the content of a file that others have named; OSError for a device or a pipe, which may never end, for a
    file of more than MOST_READ bytes, and for a name that no file can have."""
    try:
        about = path.stat()
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have this name") from None
    if not (stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)):
        raise OSError(errno.EINVAL, "it is no file, but a device or a pipe")
    if about.st_size > MOST_READ:
        raise OSError(errno.EFBIG, f"it is too large, more than {MOST_READ // 1_000_000} MB")
    return path.read_bytes()


def unfinished(path: Path, by: str = "") -> Path:
    """Return where a file is written before it is whole: hidden, in the same folder, with the same ending.

    `by` is what tells several processes apart that may write the same file at once.
    """
    return path.with_name(f".{path.stem}.part{by}{path.suffix}")


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _clear(folder: Path) -> None:
    """Remove what `atomic_write` left in a folder when its process was killed; each process looks once."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if half := HALF.fullmatch(entry.name):
                old = time.time() - entry.stat().st_mtime > DAY
                if old or (half[1] == _machine() and _has_ended(int(half[2]))):
                    remove(Path(entry.path))


def _has_ended(process: int) -> bool:
    """Return whether a process of this machine has ended; False where that cannot be asked without harm."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)  # which only asks
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is another user's, or no process can have this number
        return False
    return False


def check_writable(folder: Path) -> None:
    """Raise OutputError if nothing can be written into a folder, or it cannot be made; nothing is left behind."""
    try:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as problem:
        raise cannot_write(folder, problem) from problem


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # which opens no folders
        return
    opened = os.open(path, os.O_RDONLY if folder or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a file if that can be; what went wrong before it matters more."""
    with suppress(OSError):
        path.unlink()


def cannot_write(path: Path | str, problem: Exception, remedy: str = "") -> OutputError:
    """Return the error for a file that cannot be written."""
    why = getattr(problem, "strerror", None) or problem
    return OutputError(f"{path} cannot be written ({why}){remedy}" if remedy else f"{path} cannot be written: {why}")


def lock(file: IO[str] | int, path: Path) -> None:
    """Keep a second process off; where the system has no such locks, trust. InputError if another one holds it."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in LOCKED:  # a network drive may have no locks
                return
            raise InputError(
                f"{path} is being written by another process: wait until it ends, or choose another name"
            ) from problem


_held: dict[Path, int] = {}


def hold(folder: Path, name: str = ".lock") -> None:
    """Keep other processes off a folder until `let_go` or the end of this one; InputError if one has it."""
    let_go(folder)
    file = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock(file, folder)
    except InputError:
        os.close(file)
        raise
    _held[folder.resolve()] = file


def let_go(folder: Path) -> None:
    """Let other processes have a folder that `hold` keeps them off; nothing if it does not."""
    file = _held.pop(folder.resolve(), None)
    if file is not None:
        os.close(file)


def let_go_of_all() -> None:
    """Let other processes have all folders that `hold` keeps them off."""
    for folder in [*_held]:
        let_go(folder)

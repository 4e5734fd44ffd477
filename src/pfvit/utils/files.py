"""Files that are whole or not there, and locks."""

from contextlib import suppress
from pathlib import Path
from typing import IO

from pfvit.errors import InputError


def lock(file: IO[str], path: Path) -> None:
    """Keep a second process off; where the system has no such locks, trust."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise InputError(f"{path} is being written by another process") from problem

"""Memory that is free, given back to the system."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache

#: Who took more than so many bytes for a while leaves free memory behind: a decoder of JPEG 2000 up to 250 MB.
MUCH = 100_000_000
#: Of glibc's malloc.h, and bytes from which on memory is given back as soon as it is free.
M_MMAP_THRESHOLD, LARGE = -3, 262_144


def give_back_at_once() -> None:
    """From now on have large blocks given back when they are freed; glibc keeps more of them the more are freed."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def give_back() -> None:
    """Give back what the C library keeps for later: glibc does, up to 60 MB after weights are opened.

    Does nothing where the C library has no `malloc_trim` (musl, macOS, Windows).
    """
    _trim()(0)


def give_back_after(taken: int) -> None:
    """Give back what the C library keeps if more than MUCH bytes were taken: it would lie beside the next picture's."""
    if taken > MUCH:
        give_back()


@cache
def _trim() -> Callable[[int], object]:
    with suppress(AttributeError, OSError, TypeError):
        return ctypes.CDLL(None).malloc_trim
    return lambda kept: None

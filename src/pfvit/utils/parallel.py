"""A function applied to many items in several processes, a few items ahead, so that memory stays bounded."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import TypeVar

from pfvit.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

#: Items submitted per process before the first result is waited for.
AHEAD = 3


def parallel_map(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield function(item) for each item, in order, computed in `jobs` processes; with one job in this process.

    Function and items must be picklable. InputError if a process ends unexpectedly.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    # Spawned, not forked: the detector's library keeps threads and tables that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin)
    waiting: list[Future[R]] = []
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= AHEAD * jobs:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    except BrokenProcessPool as problem:
        raise InputError(
            "a process ended unexpectedly, perhaps for lack of memory: the same command goes on; try fewer --jobs"
        ) from problem
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the first process, and end when it ends, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=follow, daemon=True).start()

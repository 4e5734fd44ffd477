"""A function applied to many items in several processes, a few items ahead, so that memory stays bounded."""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

from pfvit.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

#: Items submitted per process before the first result is waited for.
AHEAD = 3


def parallel_map(
    function: Callable[[T], R],
    items: Iterable[T],
    jobs: int,
    start: Callable[[], object] | None = None,
    remedy: str = "the same command goes on; try fewer --jobs",
) -> Iterator[R]:
    """Yield function(item) for each item, in order, computed in `jobs` processes; with one job in this process.

    Each process calls `start` first. Function, items and `start` must be picklable. InputError with `remedy` if a
    process ends unexpectedly. If the caller stops early, what the processes are working on is dropped.
    """
    if jobs == 1:
        if start is not None:
            start()
        yield from map(function, items)
        return
    others = set(multiprocessing.active_children())
    # Spawned, not forked: the threads of the libraries that read pictures do not survive a fork.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (start,))
    waiting: deque[Future[R]] = deque()
    done = False
    try:
        for item in items:
            with _ctrl_c_later():
                waiting.append(pool.submit(function, item))
            if len(waiting) >= AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        done = True
    except BrokenProcessPool as problem:
        raise InputError(f"a process ended unexpectedly, perhaps for lack of memory: {remedy}") from problem
    finally:
        if not done:  # it may take minutes, and nobody waits for it
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back, in processes that start in here for good: before `_begin` they would end with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(start: Callable[[], object] | None) -> None:
    """Leave Ctrl-C to the first process, and end when it ends, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    if start is not None:
        start()


def end_with_parent(grace: float = 0) -> None:
    """End this process when the one that started it ends, however that ends; with `grace`, SIGTERM so long before."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            if grace:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(grace)
            os._exit(1)

    Thread(target=follow, daemon=True).start()

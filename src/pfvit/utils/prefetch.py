"""Work ahead in threads, such as decoding beside inference, and gather what is worked on together."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items that a thread works ahead; few, as each may be a large picture.
AHEAD = 4


def prefetch(items: Iterable[T], count: int = AHEAD) -> Iterator[T]:
    """Yield the items of an iterable, which is consumed in a thread, up to `count` items ahead.

    What the iterable raises is raised here, after the items before it.
    """
    room: Queue[tuple[T] | BaseException | None] = Queue(count)
    stopped = Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            for item in items:
                room.put((item,))
                if stopped.is_set():
                    return
        except BaseException as problem:
            end = problem
        room.put(end)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            got = room.get()
            if got is None:
                return
            if isinstance(got, BaseException):
                raise got
            yield got[0]
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for room
            with suppress(Empty):
                room.get(timeout=0.01)


def thread_map(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield function(item) for each item, in order, computed by so many threads; one more item than threads is begun.

    What the iterable raises is raised here, after the results of the items before it.
    """
    waiting: deque[Future[R]] = deque()
    source, end = iter(items), None
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as problem:
                end = problem
                break
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if end is not None:
            raise end
    finally:
        pool.shutdown(cancel_futures=True)


def gather(items: Iterable[T], count: int, size: int, size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield lists of items: `count` of them, or fewer whose sizes together reach `size`.

    What the iterable raises is raised here, after the items before it.
    """
    some: list[T] = []
    total = 0
    try:
        for item in items:
            some.append(item)
            total += size_of(item)
            if len(some) >= count or total >= size:
                full, some, total = some, [], 0
                yield full
    except Exception:
        if some:
            yield some
        raise
    if some:
        yield some

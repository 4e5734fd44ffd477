"""Decoding beside inference: an iterator that works ahead in a thread, and how much is read together."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

#: Pictures are gathered until they are so many, or so large, and then read together.
PICTURES_AT_ONCE = 32
BYTES_AT_ONCE = 32_000_000
#: Pictures decoded in a thread while the model works; few, as each may be large.
DECODED_AHEAD = 4


def ahead(items: Iterator[T], count: int = DECODED_AHEAD) -> Iterator[T]:
    """Yield what an iterator yields, which works up to `count` items ahead in a thread: decoding beside inference."""
    room: Queue[T | BaseException | None] = Queue(count)
    stopped = Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            for item in items:
                room.put(item)
                if stopped.is_set():
                    return
        except BaseException as problem:
            end = problem
        room.put(end)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = room.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for room
            with suppress(Empty):
                room.get(timeout=0.01)

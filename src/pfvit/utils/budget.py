"""Memory that threads share: who wants more than is left waits for the others."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Budget:
    """`most` bytes, lent in the order in which they are asked for, so that large requests have their turn too."""

    def __init__(self, most: int):
        self.most, self.lent = most, 0
        self.change = Condition()
        self.waiting: deque[object] = deque()

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold `size` bytes while the block runs; waits until they are free. More than `most` count as `most`.

        A thread that holds some may not ask for more: two could wait for each other.
        """
        size = min(size, self.most)
        with self.change:
            if self.waiting or self.lent + size > self.most:
                me = object()
                self.waiting.append(me)
                self.change.wait_for(lambda: self.waiting[0] is me and self.lent + size <= self.most)
                self.waiting.popleft()
                self.change.notify_all()
            self.lent += size
        try:
            yield
        finally:
            with self.change:
                self.lent -= size
                if self.waiting:
                    self.change.notify_all()

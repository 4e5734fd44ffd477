"""Requests to end: Ctrl-C, a closed terminal (SIGHUP), and what schedulers send.

SIGTERM comes at the time limit, SIGUSR1 or SIGUSR2 as a warning before it, SIGXCPU at the limit of processor time.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Those that exist on this system.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
ASKED = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
#: A second Ctrl-C ends the process at once; torchrun passes on the first one, which is none.
SECOND_AFTER = 2.0


class Requests:
    """What was asked for since the run began."""

    def __init__(self) -> None:
        self.number = 0
        """The signal; 0 if there was none."""
        self.since = 0.0

    def _note(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.number and number == signal.SIGINT and now - self.since > SECOND_AFTER:
            raise KeyboardInterrupt
        if not self.number:
            self.number, self.since = number, now


@contextmanager
def noted() -> Iterator[Requests]:
    """Note requests to end while the block runs, instead of ending; only the main thread can.

    A closed terminal is none for a process that was started to outlive it (nohup).
    """
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    outlives = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heard = [number for number in ASKED if not (outlives and number == signal.SIGHUP)]
    before = {number: signal.signal(number, requests._note) for number in heard}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def left_to_the_parent(_: int) -> None:
    """Have a process that decodes for another one pass over requests to end: it ends with that one."""
    for number in ASKED:
        signal.signal(number, signal.SIG_IGN)

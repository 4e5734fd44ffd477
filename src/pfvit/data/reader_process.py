"""A process of its own for files that may end, stop or fill what reads them: the handle on it, and what both share.

Requests go to its standard input as lines of JSON. Answers come from its standard output: a length of 8 bytes and a
tuple in `marshal`'s format. It ends with this process, as its input does then.
"""

import json
import marshal
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

#: Bytes of one cell; a larger one is passed on as OVERSIZED with its size.
MOST_CELL = 40_000_000
OVERSIZED = "pfvit.oversized"
#: Bytes that a reader may have beside what it has at the start: so many, and more for a file that is large itself.
MEMORY, SHARE_OF_FILE = 700_000_000, 2
#: Answers are read from the pipe in pieces of so many bytes.
PIECE = 1 << 20
#: Types that marshal takes; values of others (dates, decimals) are passed on as text.
PLAIN = (type(None), bool, int, float, str, bytes)


class ReaderEndedError(Exception):
    """The process gave no answer; the message says why, and follows the name of the file."""


class ReaderProcess:
    """A process that runs `python -m MODULE` and answers requests, one after the other."""

    def __init__(self, module: str, **environment: str) -> None:
        paths = os.pathsep.join(sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where Rust prints backtraces
            env={**os.environ, **environment, "PYTHONPATH": paths},
        )

    def send(self, request: dict[str, Any]) -> None:
        """Ask for something; that the process has ended is told by `answer`."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def answer(self, patience: float) -> tuple[Any, ...]:
        """Return the next answer; ReaderEndedError if the process ends, or nothing comes for so many seconds."""
        try:
            return marshal.loads(self._read(int.from_bytes(self._read(8, patience), "little"), patience))
        except EOFError:
            status = self.process.wait()
            how = signal.strsignal(-status) if status < 0 else f"status {status}"
            raise ReaderEndedError(f"it is damaged, or needs too much memory (its reader ended: {how})") from None
        except TimeoutError:
            raise ReaderEndedError(f"its reader stood still for {patience:.0f} s") from None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _read(self, size: int, patience: float) -> bytes:
        assert self.process.stdout is not None
        file = self.process.stdout.fileno()
        content = bytearray()
        while len(content) < size:
            if os.name != "nt" and not select.select([file], [], [], patience)[0]:
                raise TimeoutError
            some = os.read(file, min(PIECE, size - len(content)))
            if not some:
                raise EOFError
            content += some
        return bytes(content)


def send(out: BinaryIO, answer: tuple[Any, ...]) -> None:
    """Give an answer, in the process that reads."""
    content = marshal.dumps(answer)
    out.write(len(content).to_bytes(8, "little"))
    out.write(content)
    out.flush()


def plain(value: Any) -> Any:
    """Return a cell's value as `marshal` takes it."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return str(value)


def allocated() -> int:
    """Return the bytes of this process's own that count against `bound`; 0 where the system does not say."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmData:")).split()[1])
    return 0


def bound(memory: int) -> None:
    """Let this process have so much memory and no more, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))

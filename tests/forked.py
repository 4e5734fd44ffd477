"""Processes that train, forked from one that has imported torch: importing takes longer than most runs of a test.

Each is a process of its own all the same, with its own memory, streams and signals, which may be killed.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from pfvit.__main__ import main
from pfvit.config import Pretrain, Train

#: What takes long to import, of ours and, by that, of others; and what torch exports with.
IMPORTED = [f"pfvit.{name}" for name in ("training.pretrainer", "training.trainer", "training.photo_trainer")]
IMPORTED += ["pfvit.export.onnx", "onnxscript"]
#: One thread, so that results do not depend on the machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class Forked:
    """A process that calls a function, with what it writes in files."""

    def __init__(self, function: Callable[..., object], *arguments: object, cwd: Path | None = None, **variables: str):
        self.folder = tempfile.TemporaryDirectory(prefix="pfvit-test-")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        with mock.patch.dict(os.environ, ONE_THREAD):
            forkserver.ensure_running()
            settings = (self.folder.name, cwd or Path.cwd(), {**os.environ, **variables})
        for name in ("out", "err"):
            Path(self.folder.name, name).touch()
        self.process = context.Process(target=_inside, args=(settings, function, arguments))
        self.process.start()
        self.pid: int = self.process.pid or 0

    def poll(self) -> int | None:
        """Return how it ended, or None if it has not."""
        return self.process.exitcode

    def wait(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Return how it ended and what it said; one that does not end in time is killed, and fails the test."""
        self.process.join(seconds)
        late = self.process.is_alive()
        done = self.kill()
        assert not late, f"no end after {seconds} s: {done.stderr}"
        return done

    def kill(self) -> subprocess.CompletedProcess[str]:
        """End it at once, if it has not ended, and return what it said."""
        self.process.kill()
        self.process.join()
        out, err = (Path(self.folder.name, name).read_text() for name in ("out", "err"))
        self.folder.cleanup()
        return subprocess.CompletedProcess([], self.process.exitcode or 0, out, err)


def _inside(settings: tuple[str, Path, dict[str, str]], function: Callable[..., object], arguments: tuple) -> None:
    folder, cwd, environment = settings
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_APPEND), stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    try:
        raise SystemExit(function(*arguments))
    except KeyboardInterrupt:  # of which a process of Python's dies in the end, where multiprocessing says 1
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def verb(words: tuple[str, ...]) -> int:
    """Run the command line."""
    return main(words)


def train(configs: tuple[Pretrain | Train, ...]) -> int:
    """Train with these settings, one after the other."""
    import ranks

    return ranks.train_all(configs)


def ranks_of(world: int, *configs: Pretrain | Train) -> list[Forked]:
    """Train in so many processes that find one another as those do that torchrun starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = {
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "faces",
    }
    sizes = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    return [Forked(train, configs, RANK=str(k), LOCAL_RANK=str(k), **found, **sizes) for k in range(world)]

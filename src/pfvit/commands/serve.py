"""`pfvit serve`: the page and the API on one address."""

import errno
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from pfvit.config import Serve
from pfvit.errors import InputError
from pfvit.service.app import KEY, create_app
from pfvit.service.http_protocol import PatientProtocol
from pfvit.service.metrics import FOLDER
from pfvit.service.middleware import is_loopback
from pfvit.utils.console import say
from pfvit.utils.parallel import end_with_parent

BACKLOG = 1024
KEEP_ALIVE = 30  # seconds that a connection may be idle between requests
#: Seconds without a sign of life after which a worker is replaced. uvicorn's five are fewer than a start on a busy
#: machine takes, and then no worker ever starts.
HUNG = 30


def serve(config: Serve) -> int:
    """Listen, and answer until the process is told to stop; what was taken is finished first."""
    if not is_loopback(config.host) and not os.environ.get(KEY):
        say(f"pfvit: whoever reaches {config.host} may use it: set {KEY} to ask for a key")
    if config.ray:
        return serve_replicas(config)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    with listen(config.host, config.port) as opened:
        host, port = opened.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if config.workers == 1:
            Announced(server_config(config, create_app(config)), address).run([opened])
            return 0
        with tempfile.TemporaryDirectory(prefix="pfvit-metrics-") as folder:
            os.environ.setdefault(FOLDER, folder)
            say(f"pfvit: serving on {address} with {config.workers} workers; Ctrl-C stops it")
            before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
            workers = Workers(server_config(config, partial(create_worker, config)), [opened])
            workers.run()
    if workers.told is not None:  # the status says so, as it does with one process
        signal.signal(workers.told, before[workers.told])
        signal.raise_signal(workers.told)
    return 0


def create_worker(config: Serve) -> FastAPI:
    """Return the app for one of several processes, which ends when the first one does."""
    end_with_parent(grace=config.limits.seconds + 1)
    return create_app(config)


class Workers(Multiprocess):
    """Several processes, and the signal that ended them."""

    told: signal.Signals | None = None

    def terminate_all(self) -> None:
        """End them, and refuse connections, which would wait here until the last one has ended, and be cut off then."""
        for opened in self.sockets:
            opened.close()
        super().terminate_all()

    def handle_int(self) -> None:
        """End them."""
        self.told = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        """End them."""
        self.told = signal.SIGTERM
        super().handle_term()


def serve_replicas(config: Serve) -> int:
    """Run under Ray Serve until the process is told to stop."""
    import ray  # here, as one process needs none of it
    from ray import serve as replicas

    from pfvit.service.ray_serve import NAME, replicated

    ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    try:
        replicas.start(http_options={"host": config.host, "port": config.port})
        replicas.run(replicated(config), name=NAME, route_prefix="/")
        with stopping() as stop:  # after Ray, which has a handler of its own that leaves replicas behind
            most = f"up to {config.replicas} replicas"
            say(f"pfvit: serving on http://{config.host}:{config.port} with {most}; Ctrl-C stops it")
            stop.wait()
        replicas.delete(NAME)
    finally:
        replicas.shutdown()
        ray.shutdown()
    return 0


@contextmanager
def stopping() -> Iterator[Event]:
    """Give an event that Ctrl-C and a request to stop set."""
    stop = Event()
    old = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for one, handler in old.items():
            signal.signal(one, handler)


def listen(host: str, port: int) -> socket.socket:
    """Open the socket; InputError if the address is taken or not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:  # its text names the address once more, in brackets
            raise InputError(f"{host}:{port} is in use already: choose another --port") from problem
        named = isinstance(problem, socket.gaierror)  # the others' texts name the address as a tuple
        reason = problem.strerror if named else os.strerror(problem.errno or 0)
        raise InputError(f"{host}:{port} cannot be listened on ({reason})") from problem


def server_config(config: Serve, app: Callable[..., Any]) -> uvicorn.Config:
    """Return uvicorn's settings; an app that is not made yet is made by each worker."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, partial),
        workers=config.workers,
        http=PatientProtocol,
        ws="none",
        loop="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(config.limits.seconds) + 1,
        timeout_worker_healthcheck=HUNG,
        backlog=BACKLOG,
    )


class Announced(uvicorn.Server):
    """A server that says where it is once it is ready."""

    def __init__(self, config: uvicorn.Config, address: str):
        super().__init__(config)
        self.address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            say(f"pfvit: serving on {self.address}; Ctrl-C stops it")

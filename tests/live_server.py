"""A service on a free port of this machine, in a thread of the tests."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn

from pfvit.commands.serve import server_config
from pfvit.config import Serve
from pfvit.service.app import create_app


@contextlib.contextmanager
def running(config: Serve) -> Iterator[int]:
    """Serve while the block runs; gives the port."""
    app = create_app(config)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = uvicorn.Server(server_config(config, app))
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield opened.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()

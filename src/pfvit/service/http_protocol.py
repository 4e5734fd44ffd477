"""uvicorn's HTTP protocol with patience that ends: for slow heads, endless heads, bodies nobody reads, slow readers."""

import asyncio
from asyncio import TimerHandle
from collections import Counter
from typing import ClassVar

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from pfvit.service.errors import MEDIA_TYPE, Problem, to_json
from pfvit.service.fair_queue import address

#: Seconds for a request's head to arrive; to send the rest of a body that was refused; to take any of an answer.
HEAD_SECONDS, REST_SECONDS, STALLED_SECONDS = 10.0, 5.0, 30.0
MOST_HEAD_BYTES, TOO_LONG = 64_000, "the head is too long"
#: Bytes that are parsed at a time: a head that is not complete is known to be too long with so many more.
STEP = 16_384
#: Connections of one process; each takes a file handle. One client has as many as are left for all others.
MOST_CONNECTIONS = 2048


class _Flow(FlowControl):
    """Reads nothing more while complete requests wait for the one before them on their connection."""

    def __init__(self, protocol: "PatientProtocol"):
        super().__init__(protocol.transport)
        self.protocol = protocol

    def resume_reading(self) -> None:
        """Go on reading, if that is wanted."""
        if not self.protocol.pipeline:
            super().resume_reading()


class PatientProtocol(HttpToolsProtocol):
    """One connection, which is closed when it keeps the service waiting."""

    #: Connections of each client.
    clients: ClassVar[Counter[str]] = Counter()

    timer: TimerHandle | None = None
    stalled: TimerHandle | None = None
    name = ""
    in_head = True
    in_body = False
    head_lines = head_bytes = heads = 0
    """What the lines of the head that is arriving have; what came since it began, lines or not; how many began."""
    running: RequestResponseCycle | None = None
    """What is being answered; `cycle` is the request that came last."""
    refused = ""
    """Why the last request on this connection is no HTTP; said after the answers to those before it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection if there is room."""
        super().connection_made(transport)
        self.flow = _Flow(self)
        self.name = address(self.client[0]) if self.client else ""
        self.clients[self.name] += 1
        if self.clients[self.name] > MOST_CONNECTIONS - len(self.connections):
            transport.abort()
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._wait(None)
        self.resume_writing()
        self.pipeline.clear()
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)
        self.clients[self.name] -= 1
        if not self.clients[self.name]:
            del self.clients[self.name]

    def data_received(self, data: bytes) -> None:
        """Take bytes of heads and bodies, as many requests as they hold."""
        for start in range(0, len(data), STEP):
            if self.refused or self.transport.is_closing():
                return
            part, heads = data[start : start + STEP], self.heads
            super().data_received(part)
            if self.in_head and self.heads == heads:
                self.head_bytes += len(part)
                if self.head_bytes > MOST_HEAD_BYTES and not self.refused:
                    self.send_400_response(TOO_LONG)

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self.in_head, self.head_lines, self.head_bytes = True, 0, 0
        self.heads += 1
        # While answers to earlier requests are due, it is not the caller who keeps this one waiting.
        self._wait(None if self._answering() else HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        super().on_url(url)
        self._check_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of the head."""
        super().on_header(name, value)
        self._check_head(len(name) + len(value) + len(": \r\n"))

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self.in_head, self.in_body = False, True
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request's body."""
        self.in_body = False
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an answer; the rest of a body that it did not wait for may not take long."""
        super().on_response_complete()
        if self.transport.is_closing() or self._answering():
            return
        if self.refused:
            self._refuse()
        elif self.in_body:
            self._wait(REST_SECONDS)
        elif self.in_head:
            self._wait(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Wait for a slow reader, for a while."""
        super().pause_writing()
        self.stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP with problem details, after the answers to the requests before it."""
        self.refused = TOO_LONG if self.head_lines > MOST_HEAD_BYTES else msg
        if self.pipeline or (self._answering() and not self.in_body):
            self.flow.pause_reading()
        else:
            self._refuse()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: whoever asks for another protocol could fill the log, with advice that is of no use here."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self) -> None:
        body = to_json(Problem("bad-request", self.refused).to_dict())
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()
        if self._answering():  # its body is what was refused, and nothing may come after that
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _answering(self) -> bool:
        """Return whether a request that came whole, or its head at least, has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _check_head(self, size: int) -> None:
        """Count a line of the head; what this raises becomes a refusal."""
        self.head_lines += size
        if self.head_lines > MOST_HEAD_BYTES:
            raise ValueError

    def _wait(self, seconds: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

"""uvicorn's HTTP protocol with patience that ends: for slow heads, endless heads, bodies nobody reads, slow readers."""

import asyncio
from asyncio import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pfvit.service.errors import MEDIA_TYPE, Problem, to_json

#: Seconds for a request's head to arrive; to send the rest of a body that was refused; to take any of an answer.
HEAD_SECONDS, REST_SECONDS, STALLED_SECONDS = 10.0, 5.0, 30.0
MOST_HEAD_BYTES = 64_000
#: Connections of one process; each takes a file handle.
MOST_CONNECTIONS = 2048


class PatientProtocol(HttpToolsProtocol):
    """One connection, which is closed when it keeps the service waiting."""

    timer: TimerHandle | None = None
    stalled: TimerHandle | None = None
    in_head = True
    in_body = False
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection if there is room."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._wait(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a head or a body."""
        super().data_received(data)
        if self.in_head and not self.transport.is_closing():
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD_BYTES:
                self.send_400_response("the head is too long")

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self.in_head, self.head_bytes = True, 0
        self._wait(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self.in_head, self.in_body = False, True
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request's body."""
        self.in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an answer; the rest of a body that it did not wait for may not take long."""
        super().on_response_complete()
        if self.in_body and not self.transport.is_closing():
            self._wait(REST_SECONDS)

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
        """Refuse what is no HTTP with problem details."""
        body = to_json(Problem("bad-request", msg).to_dict())
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _wait(self, seconds: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

"""HTTP requests to the service's own protocol and its reader of bodies, without sockets: see `fuzzers.requests`."""

import asyncio
import random
import re
from collections.abc import Callable, Iterator

import hostile
import uvicorn
from starlette.requests import ClientDisconnect, Request
from uvicorn.server import ServerState

from pfvit.config import Limits
from pfvit.errors import InputError
from pfvit.service.errors import KINDS, Problem
from pfvit.service.http_protocol import PatientProtocol
from pfvit.service.uploads import Room, uploads

LIMITS = Limits(megabytes=1, images=4)
STATUSES = {200, *(status for status, _ in KINDS.values())} - {500}
#: Turns of the loop in which all is done that can be done; nothing waits for anything but bytes.
TURNS = 40
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n((?:[^\r\n]+\r\n)*)\r\n")

BOUNDARY = b"XX"
PART = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
FORM = PART + b"\x89PNG and so on" + b"\r\n" + PART + b"--XX-- \r\n--X" + b"\r\n--XX--\r\n"


def request(body: bytes, kind: bytes = b"image/png", chunks: int = 0, target: bytes = b"/v1/read?whole=true") -> bytes:
    """Return a good request; with `chunks` its body comes in so many."""
    head = b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: " + kind + b"\r\n"
    if not chunks:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    step = -(-len(body) // chunks)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n"


GOOD = (
    request(b"\x89PNG" + bytes(300)),
    request(b"x" * 40, b"application/octet-stream", target=b"/v1/poker?strength=0.5&view=photo"),
    request(FORM, b"multipart/form-data; boundary=XX"),
    request(FORM, b'multipart/form-data; boundary="XX"', chunks=3),
    request(b"y" * 3000, chunks=2),
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: [::1]:8000\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n\r\n",
)
#: What is put into requests.
ODD = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b": ",
        b"\t",
        b" " * 50,
        b"\xff\xfe",
        b"x" * 5000,
        b"X-A: " + b"b" * 70_000 + b"\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 9999999999999\r\n",
        b"ffffffffffffffff\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity, chunked\r\n", b"Content-Encoding: gzip\r\n"),
    *(b"HTTP/1.0", b"HTTP/9.9", b"Connection: close\r\n", b"Host: a\r\nHost: b\r\n", b"Expect: 100-continue\r\n"),
    *(b"%00%ff", b"?a=b&&=;", b"0\r\n\r\n", b"--XX--", b"--XX\r\n", b"boundary="),
    *(b'filename="../../etc/passwd"', b"filename*=UTF-8''%e2%82"),
)


async def app(scope: dict, receive: Callable, send: Callable) -> None:
    """Read a body as the service does, and answer with what came of it."""
    status, body = 200, b"" if scope["method"] == "HEAD" else b"{}"
    with ROOM.hold("a") as take:
        try:
            made = await uploads(Request(scope, receive), LIMITS, LIMITS.images, take)
            assert 0 < len(made) <= LIMITS.images and all("/" not in one.source for one in made)
        except Problem as problem:
            status = problem.status
        except ClientDisconnect:
            return
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


ROOM = Room(LIMITS)


class Wire(asyncio.Transport):
    """What a connection writes, kept."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 80)})
        self.written, self.late = bytearray(), bytearray()
        self.closed = self.paused = False

    def write(self, data: bytes) -> None:
        """Keep what is written; nothing may come after the end."""
        self.late += data if self.closed else b""
        self.written += data

    def close(self) -> None:
        """End."""
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        """Tell whether it has ended."""
        return self.closed

    def pause_reading(self) -> None:
        """Take no more."""
        self.paused = True

    def resume_reading(self) -> None:
        """Take more."""
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is held back here."""


def inputs(rng: random.Random) -> Iterator[tuple[bytes, Callable[[bytes], None]]]:
    """Yield what may come over a connection, and what reads it; see `fuzzers.requests`."""
    loop = asyncio.new_event_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _, context: faults.append(context.get("exception") or context["message"]))
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, log_level="critical", access_log=False, lifespan="off"
    )
    config.load()

    def read(content: bytes) -> None:
        faults.clear()
        wire = Wire()
        loop.run_until_complete(_converse(config, wire, content, random.Random(content)))
        assert not faults, faults
        assert not wire.late, wire.late[:200]
        _check(bytes(wire.written))

    try:
        while True:
            content = b"".join(rng.choice(GOOD) for _ in range(rng.choice((1, 1, 1, 2, 5))))
            for _ in range(rng.choice((0, 1, 1, 2, 4))):
                at = rng.randrange(len(content) + 1)
                content = content[:at] + rng.choice(ODD) + content[at + rng.choice((0, 0, 1, 9)) :]
            yield hostile.damaged(content, rng) if rng.random() < 0.6 else content, read
    finally:
        loop.close()


async def _converse(config: uvicorn.Config, wire: Wire, content: bytes, rng: random.Random) -> None:
    """Send bytes in pieces, end the connection, and wait for what runs."""
    state = ServerState()
    protocol = PatientProtocol(config, state, {})
    protocol.connection_made(wire)
    at = 0
    while at < len(content) and not wire.closed:
        size = rng.choice((1, 7, 100, 5_000, len(content)))
        if not wire.paused:
            protocol.data_received(content[at : at + size])
            at += size
        await _settle(rng.choice((0, 1, 3)) if not wire.paused else 5)
        if wire.paused and not state.tasks:
            break
    await _settle(TURNS)
    wire.closed = True
    protocol.connection_lost(None)
    await asyncio.wait_for(asyncio.gather(*state.tasks), 2)
    assert not PatientProtocol.clients and not ROOM.held, "a connection left something behind"


async def _settle(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def _check(written: bytes) -> None:
    """Check that whole answers were written, and nothing else; InputError if one of them is a refusal."""
    at, refused = 0, False
    while at < len(written):
        head = ANSWER.match(written, at)
        assert head is not None, written[at : at + 200]
        status = int(head[1])
        assert status in STATUSES | {100}, written[at : at + 200]
        length = re.search(rb"content-length: (\d+)", head[2].lower())
        at = head.end() + (int(length[1]) if length else 0)
        refused = refused or status >= 400
    if refused:
        raise InputError("refused")

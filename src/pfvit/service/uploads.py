"""Bodies in: raw or multipart, cut as soon as they are too large, too many or too slow; nothing touches the disk."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header
from starlette.requests import Request

from pfvit.config import Limits
from pfvit.service.errors import Problem, overloaded
from pfvit.utils.text import printable

#: Content types of a body that is one picture; a missing one is taken for the first.
BINARY = "application/octet-stream"
FORM = "multipart/form-data"
#: What curl calls the bytes of --data-binary if it is not told.
CURLS_OWN = "application/x-www-form-urlencoded"
FIELD = "image"
#: The one content encoding that is read, and the header that says so (RFC 9110, section 12.5.3).
PLAIN, ACCEPTED = "identity", {"Accept-Encoding": "identity"}
MEGA = 1_000_000
#: Headers of one part of a form: a name, a file name, a type.
MOST_HEADERS, LONGEST_HEADER, LONGEST_BOUNDARY = 8, 2048, 70
#: Heads of parts are read as this, which any bytes are; file names among them are decoded once more.
ANY_BYTES = "latin-1"
LONGEST_NAME = 200
UNNAMED = "image"


#: Requests of the largest size that may be held at once.
HELD = 4
#: A body must not stand still: so many bytes, or its end, have to come within so many seconds.
STEP, STEP_SECONDS = 100_000, 5.0


class Room:
    """The memory that the bodies of all requests together may take.

    No client takes more than is left free for the others: one has half at most, a second one half of the rest.
    """

    def __init__(self, limits: Limits):
        self.most = HELD * limits.megabytes * MEGA
        self.held: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str = "") -> Iterator[Callable[[int], None]]:
        """Give a function that takes so many bytes for a request, to be given back at its end; Problem if full."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.held[client] + size > self.most - self.held.total():
                raise overloaded()
            self.held[client] += size
            mine += size

        try:
            yield take
        finally:
            self.held[client] -= mine
            if not self.held[client]:
                del self.held[client]


class Upload(NamedTuple):
    """A picture as it was sent."""

    source: str
    content: bytes


async def uploads(request: Request, limits: Limits, most: int, take: Callable[[int], None]) -> list[Upload]:
    """Return the pictures in a request, at least one and at most `most`; Problem for anything else.

    `take` is called with the number of bytes of each piece that is held.
    """
    kind, options = parse_options_header(request.headers.get("content-type", BINARY))
    kind = kind.strip().lower()
    if kind not in (BINARY, FORM) and not kind.startswith("image/"):
        hint = "; curl needs -H 'Content-Type: image/jpeg'" if kind == CURLS_OWN else ""
        raise Problem("wrong-content-type", f"send an image, {BINARY} or {FORM}{hint}")
    if "upgrade" in request.headers.get("connection", "").lower():  # httptools leaves out the body
        hint = "it asks for another protocol: send it without Upgrade (Java: Version.HTTP_1_1)"
        raise Problem("bad-request", hint, {"Connection": "close"})
    encoding = request.headers.get("content-encoding", PLAIN).strip().lower()
    if encoding not in ("", PLAIN):
        raise Problem("wrong-content-type", f"the body is encoded ({encoding}): send it as it is", ACCEPTED)
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > limits.megabytes * MEGA:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds) as deadline:
            chunks = _chunks(request, limits, take, deadline)
            if kind == FORM:
                return await _form(chunks, options.get("boundary", ""), most)
            content = bytearray()
            async for chunk in chunks:
                content += chunk
    except TimeoutError:
        pace = f"{STEP // 1000} kB every {STEP_SECONDS:g} s, and all within {limits.seconds:g} s"
        raise Problem("too-slow", f"a request must arrive faster: {pace}") from None
    if not content:
        raise Problem("no-image", "the body is empty")
    return [Upload(UNNAMED, bytes(content))]


async def _chunks(
    request: Request, limits: Limits, take: Callable[[int], None], deadline: asyncio.Timeout
) -> AsyncIterator[bytes]:
    """Yield the body in pieces; each STEP of it puts the deadline off, up to that of the whole request."""
    end = deadline.when()
    assert end is not None
    now = asyncio.get_running_loop().time
    deadline.reschedule(min(end, now() + STEP_SECONDS))
    size = due = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.megabytes * MEGA:
            raise _too_large(limits)
        take(len(chunk))
        if size >= due + STEP:
            due = size
            deadline.reschedule(min(end, now() + STEP_SECONDS))
        yield chunk


async def _form(chunks: AsyncIterator[bytes], boundary: str, most: int) -> list[Upload]:
    if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii():
        raise Problem("bad-multipart", "the content type names no boundary")
    found: list[tuple[str, bytearray]] = []
    content: bytearray | None = None
    try:
        with PushMultipartParser(
            boundary,
            max_header_size=LONGEST_HEADER,
            max_header_count=MOST_HEADERS,
            header_charset=ANY_BYTES,
            strict=True,
        ) as parser:
            async for chunk in chunks:
                for event in parser.parse(chunk):
                    if event is None:
                        content = None
                    elif isinstance(event, (bytes, bytearray)):
                        if content is not None:
                            content += event
                    elif event.name != FIELD:
                        raise Problem("bad-multipart", f"every part must be named {FIELD}; parameters go in the query")
                    elif len(found) == most:
                        raise Problem("too-many-images", f"at most {most} in one request")
                    else:
                        content = bytearray()
                        found.append((name_of(event.filename), content))
    except ParserLimitReached:
        raise Problem("bad-multipart", "the headers of a part are too long") from None
    except (MultipartError, ValueError):
        raise Problem("bad-multipart", "it does not follow RFC 7578") from None
    if not found:
        raise Problem("no-image", f"the form has no part named {FIELD}")
    return [Upload(name, bytes(content)) for name, content in found]


def name_of(file_name: str | None) -> str:
    """Return a file name to echo: without folders, printable, short."""
    name = file_name or ""
    with suppress(UnicodeError):  # Latin-1 stays: curl on Windows sends names so
        name = name.encode(ANY_BYTES).decode()
    name = printable(name.replace("\\", "/").rpartition("/")[2]).strip()
    return name[:LONGEST_NAME] if name.strip(".") else UNNAMED


def _too_large(limits: Limits) -> Problem:
    return Problem("too-large", f"at most {limits.megabytes:g} MB")

"""Bodies in: raw or multipart, cut as soon as they are too large, too many or too slow; nothing touches the disk."""

import asyncio
from typing import NamedTuple

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from pfvit.config import Limits
from pfvit.errors import printable
from pfvit.service.problems import Problem

#: Content types of a body that is one picture; a missing one is taken for the first.
BINARY = "application/octet-stream"
FORM = "multipart/form-data"
FIELD = "image"
MEGA = 1_000_000
#: Headers of one part of a form: a name, a file name, a type.
MOST_HEADERS, LONGEST_HEADER, LONGEST_BOUNDARY = 8, 2048, 70
LONGEST_NAME = 200
UNNAMED = "image"


class Upload(NamedTuple):
    """A picture as it was sent."""

    source: str
    content: bytes


async def uploads(request: Request, limits: Limits, most: int) -> list[Upload]:
    """Return the pictures in a request, at least one and at most `most`; Problem for anything else."""
    kind, options = parse_options_header(request.headers.get("content-type", BINARY))
    kind = kind.strip().lower()
    if kind not in (BINARY, FORM) and not kind.startswith("image/"):
        raise Problem("wrong-content-type", f"send an image, {BINARY} or {FORM}")
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > limits.megabytes * MEGA:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds):
            if kind == FORM:
                return await _form(request, options.get("boundary", ""), limits, most)
            content = bytearray()
            async for chunk in request.stream():
                content += chunk
                if len(content) > limits.megabytes * MEGA:
                    raise _too_large(limits)
    except TimeoutError:
        raise Problem("too-slow", f"a request must arrive within {limits.seconds:g} s") from None
    if not content:
        raise Problem("no-image", "the body is empty")
    return [Upload(UNNAMED, bytes(content))]


async def _form(request: Request, boundary: str, limits: Limits, most: int) -> list[Upload]:
    if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii():
        raise Problem("bad-multipart", "the content type names no boundary")
    found: list[Upload] = []
    content: bytearray | None = None
    size = 0
    try:
        with PushMultipartParser(
            boundary, max_header_size=LONGEST_HEADER, max_header_count=MOST_HEADERS, strict=True
        ) as parser:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.megabytes * MEGA:
                    raise _too_large(limits)
                for event in parser.parse(chunk):
                    if event is None:
                        content = None
                    elif isinstance(event, (bytes, bytearray)):
                        if content is not None:
                            content += event
                    elif event.name != FIELD:
                        raise Problem("bad-multipart", f"every part must be named {FIELD}")
                    elif len(found) == most:
                        raise Problem("too-many-images", f"at most {most} in one request")
                    else:
                        content = bytearray()
                        found.append((name_of(event.filename), content))
    except ClientDisconnect:
        raise
    except ParserLimitReached:
        raise Problem("bad-multipart", "the headers of a part are too long") from None
    except (MultipartError, ValueError):
        raise Problem("bad-multipart", "it does not follow RFC 7578") from None
    if not found:
        raise Problem("no-image", f"the form has no part named {FIELD}")
    return [Upload(name, bytes(content)) for name, content in found]


def name_of(told: str | None) -> str:
    """Return a file name to echo: without folders, printable, short."""
    name = printable((told or "").replace("\\", "/").rpartition("/")[2]).strip()
    return name[:LONGEST_NAME] if name.strip(".") else UNNAMED


def _too_large(limits: Limits) -> Problem:
    return Problem("too-large", f"at most {limits.megabytes:g} MB")

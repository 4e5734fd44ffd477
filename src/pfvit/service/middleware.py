"""What surrounds every request: security headers, who may call, and a refusal before any work when there is no room."""

import hmac
import ipaddress
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pfvit.errors import without_frames
from pfvit.service.batching import as_problem
from pfvit.service.errors import KINDS, Problem, overloaded
from pfvit.service.fair_queue import Caller, caller_of
from pfvit.service.metrics import Measures

#: The page's own files, pictures that it makes itself, the webcam, and nothing else; no inline script or style.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
#: Paths that need the key: not the page itself, the documents, or what a machine asks to see whether it lives.
KEPT = ("/v1/", "/metrics")
#: What a machine asks, to see whether the service lives and is ready.
PROBES = ("/healthz", "/readyz")
STORED, UNSTORED = (b"cache-control", b"no-cache"), (b"cache-control", b"no-store")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pfvit", Basic realm="pfvit", charset="UTF-8"'}


class Guard:
    """The outermost layer. `admits` says whether there is room for a caller, `hosts` is None where any name will do."""

    def __init__(
        self,
        app: ASGIApp,
        counted: Measures,
        admits: Callable[[Caller], bool],
        key: str | None,
        hosts: tuple[str, ...] | None,
    ):
        self.app, self.counted, self.admits, self.hosts = app, counted, admits, hosts
        self.keys = None if key is None else _as_sent(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem; count it either way."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0
        head = scope["method"] == "HEAD"
        if head:  # answered as GET is, without the body
            scope = {**scope, "method": "GET"}
        if scope["path"].startswith(KEPT) or scope["path"].rstrip("/") in PROBES:
            scope = {**scope, "path": scope["path"].rstrip("/")}

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = STORED if not scope["path"].startswith(KEPT) else UNSTORED
                message["headers"] = [*message.get("headers", ()), *SECURITY, kept]
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        async def respond(problem: Problem) -> None:
            self.counted.problem(problem.kind)
            if not status:
                await without_frames(problem).response()(scope, receive, guarded)

        try:
            self.check(scope)
            await self.app(scope, receive, guarded)
        except Problem as problem:
            await respond(problem)
        except ClientDisconnect:
            self.counted.problem("hung-up")
            status = KINDS["hung-up"][0]
        except Exception as error:
            await respond(as_problem(error))
        finally:
            self.counted.answered(scope["path"], status, time.perf_counter() - began)

    def check(self, scope: Scope) -> None:
        """Raise Problem for a request that may not pass."""
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:  # a proxy could have gone by the other one
            raise Problem("bad-request", "it names more than one host")
        if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            raise Problem("bad-request", "its body has a transfer encoding other than chunked")
        host = headers.get("host", "")
        if self.hosts is not None and not _named(host, self.hosts):
            raise Problem("wrong-host", "allow this name with --hosts")
        # Browsers name the origin of every call between sites; other clients send none.
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.lower():
            raise Problem("cross-origin", "call it from its own page, or from a program")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope["path"].startswith(KEPT):
            raise Problem("cross-origin", "call it from its own page, or from a program")
        if self.keys is not None and scope["path"].startswith(KEPT) and not self._has_key(headers):
            raise Problem("unauthorized", "send it as Authorization: Bearer KEY, or X-API-Key: KEY", CHALLENGE)
        if scope["method"] == "POST" and not self.admits(caller_of(scope)):
            raise overloaded()

    def _has_key(self, headers: Headers) -> bool:
        sent = [headers.get("x-api-key", "").encode("latin-1")]  # the bytes, as starlette decodes them so
        scheme, _, given = headers.get("authorization", "").partition(" ")  # which may be for a proxy
        if scheme.lower() == "bearer":
            sent.append(given.encode("latin-1"))
        elif scheme.lower() == "basic":  # browsers ask people for it; the name does not matter
            with suppress(ValueError):
                sent.append(b64decode(given.strip().encode("latin-1"), validate=True).partition(b":")[2])
        return any(hmac.compare_digest(one.strip(), key) for one in sent for key in self.keys or ())


def _as_sent(key: str) -> list[bytes]:
    """Return the bytes in which clients send a key: UTF-8, and Latin-1 as some do with letters beyond ASCII."""
    forms = [key.encode("utf-8", "surrogateescape")]
    with suppress(UnicodeEncodeError):
        forms.append(key.encode("latin-1"))
    return forms


def is_loopback(name: str) -> bool:
    """Return whether a name or address is that of this machine for itself; 127.0.0.2 is one too."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:  # no address
        return False


def _named(host: str, hosts: tuple[str, ...]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in hosts or is_loopback(name)


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None

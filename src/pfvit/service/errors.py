"""What callers get when something cannot be done: problem details (RFC 9457) with a type that stays the same."""

import json
from collections.abc import Mapping

from starlette.responses import Response

TYPE = "urn:pfvit:problem:"
MEDIA_TYPE = "application/problem+json"

#: name -> (status, title). Names are part of the API: they never change their meaning.
KINDS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request cannot be read"),
    "bad-multipart": (400, "The multipart body is malformed"),
    "no-image": (400, "The request holds no image"),
    "unauthorized": (401, "An API key is needed"),
    "cross-origin": (403, "Calls from other origins are not allowed"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This method is not allowed here"),
    "not-acceptable": (406, "None of the accepted formats can be given"),
    "too-slow": (408, "The request did not arrive in time"),
    "too-large": (413, "The body is too large"),
    "too-many-images": (413, "There are too many images in one request"),
    "too-many-pixels": (413, "The image has too many pixels"),
    "takes-too-long": (413, "The request asks for more work than one may"),
    "wrong-content-type": (415, "The body is of a type that cannot be read"),
    "wrong-host": (421, "The service is not known under this name"),
    "bad-parameter": (422, "A parameter is unknown or out of range"),
    "not-an-image": (422, "The content is not an image that can be read"),
    "damaged-image": (422, "The image is damaged or cut short"),
    "image-too-small": (422, "The image is too small to hold a face"),
    "no-face": (422, "There is no face in the image"),
    "no-such-face": (422, "The image has fewer faces"),
    "overloaded": (429, "The service has as much work as it can hold"),
    "hung-up": (499, "The caller hung up"),
    "internal": (500, "Something went wrong in the service"),
    "no-detector": (501, "Faces cannot be found on this machine, only cropped ones read"),
    "not-ready": (503, "The service is not ready"),
}


class Problem(Exception):
    """Something a request asks for that cannot be done; `kind` is a key of KINDS, `detail` says what to do next."""

    def __init__(self, kind: str, detail: str = "", headers: Mapping[str, str] | None = None, **more: object):
        super().__init__(detail or kind)
        self.kind, self.detail, self.headers, self.more = kind, detail, dict(headers or {}), more

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def to_dict(self) -> dict[str, object]:
        """Return the problem details object."""
        status, title = KINDS[self.kind]
        detail = {"detail": self.detail} if self.detail else {}
        return {"type": TYPE + self.kind, "title": title, "status": status, **detail, **self.more}

    def response(self) -> Response:
        """Return the HTTP response, `application/problem+json`."""
        return Response(to_json(self.to_dict()), self.status, self.headers, MEDIA_TYPE)


def to_json(value: object) -> bytes:
    """Return JSON that stays text wherever it is pasted: file names may hold HTML, so < and > are escaped."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


def overloaded() -> Problem:
    """Return the problem of a full queue, with a Retry-After header."""
    return Problem("overloaded", "try again in a second", {"Retry-After": "1"})

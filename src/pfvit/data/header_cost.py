"""What decoding costs by what a header says, and what a header may hold: shared by the readers of all formats."""

import io
from typing import BinaryIO, NamedTuple

from pfvit.data.pixel_memory import FREES, LARGE

#: Bytes and pieces of metadata (profiles, EXIF, comments, thumbnails) that a picture may have: Pillow keeps them all.
MOST_METADATA, MOST_PIECES = 64_000_000, 10_000
#: Bytes for each pixel beside the decoded image: RGB and opacity. And at least: RGB, and the detector's copies of it.
AFTER, LEAST = 4, 9
#: The same for large pictures that `pfvit.data.pixel_memory` has decoded: RGB, and what their faces are looked for in.
LEAN = 4


class DamagedHeader(ValueError):
    """A header that no decoder could follow, or that asks for what no picture needs; the message says what."""


class Header(NamedTuple):
    """What a header asks for."""

    width: int
    height: int
    memory: int
    """Most bytes that reading the picture takes, without the file itself."""
    passes: int = 1
    """How often the decoder goes over all pixels."""
    slow: int = 0
    """Pixels or numbers that Pillow decodes in Python, a million a second."""


def cost(
    width: int, height: int, decoder: float, stored: int, more: int = 0, lean: bool = False, **other: int
) -> Header:
    """Return what a picture costs.

    `decoder` and `stored` are bytes for each pixel: while the picture is decoded, and in the image that is left then.
    `lean` says that those of a large picture are given back while it is converted.
    """
    if lean and FREES and width * height >= LARGE:
        return Header(width, height, round(max(decoder, LEAN) * width * height) + more, **other)
    return Header(width, height, round(max(decoder, stored + AFTER, LEAST) * width * height) + more, **other)


def length(file: BinaryIO) -> int:
    """Return how many bytes a file has after the place where it is read, which stays the same."""
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end - here


class Pieces:
    """Counts metadata."""

    def __init__(self) -> None:
        self.bytes = self.count = 0

    def add(self, size: int) -> None:
        """Count one more of so many bytes; DamagedHeader if these are too many."""
        self.bytes, self.count = self.bytes + size, self.count + 1
        if self.bytes > MOST_METADATA or self.count > MOST_PIECES:
            raise DamagedHeader("it holds far more metadata than a picture needs")

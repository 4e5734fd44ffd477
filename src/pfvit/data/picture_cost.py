"""What one picture may cost to read: known from its header, and refused there if it is too much.

One rule for all that opens pictures: the command line, Python, the service, training and `prepare`.
"""

import struct
from typing import BinaryIO, NamedTuple

from pfvit.data.header_cost import DamagedHeader, Header, length
from pfvit.data.header_readers import read
from pfvit.errors import PictureError, TooLargeError

#: Passes over all pixels that a JPEG may ask for, each at the price of a few bytes; progressive ones have about ten.
MOST_PASSES = 32
#: Passes times pixels, and pixels that Pillow decodes in Python: each some seconds of work.
MOST_PASSED, MOST_SLOW = 1_200_000_000, 6_000_000
#: A file of at most so many bytes may ask for so many times its size: photos do (a phone's JPEG of 108 million pixels
#: has 20 MB), bombs do not.
LARGEST_GENEROUS, GENEROUS = 100_000_000, 100


class Limit(NamedTuple):
    """What one picture may ask for."""

    pixels: int
    memory: int
    """In bytes; more for a file that is large itself (GENEROUS), if not `strict`."""
    strict: bool = False


#: Pillow's own limit of pixels, and what leaves a process that reads one picture at a time below 1 GB.
LIMIT = Limit(178_956_970, 850_000_000)


def check(file: BinaryIO, name: str, limit: Limit = LIMIT) -> Header | None:
    """Return what the header of a picture asks for; None if it is of no format whose header is known here.

    The file is left where it was. Raise PictureError, beginning with `name`, for more than the limit, and for headers
    that no decoder could follow.
    """
    start = file.tell()
    try:
        header = read(file)
        if header is not None:
            check_cost(header, name, limit, length(file))
        return header
    except (struct.error, IndexError, ValueError, OverflowError) as problem:
        why = str(problem) if isinstance(problem, DamagedHeader) else "its header is cut short"
        raise PictureError(f"{name} is damaged or cut short: {why}") from None
    finally:
        file.seek(start)


def check_cost(header: Header, name: str, limit: Limit, size: int) -> None:
    """Raise PictureError for a picture that asks for more than the limit; `size` is that of its file."""
    pixels = header.width * header.height
    if pixels > limit.pixels:
        raise too_large(name, limit.pixels)
    generous = not limit.strict and size <= LARGEST_GENEROUS and header.memory <= GENEROUS * size
    if header.memory > limit.memory and not generous:
        raise TooLargeError(
            f"{name} is too large: its {size:,} bytes ask for {header.memory / 1e6:,.0f} MB of memory, "
            f"and {limit.memory / 1e6:,.0f} are allowed; make it smaller, or save it as JPEG or PNG"
        )
    if header.passes > MOST_PASSES or header.passes * pixels > MOST_PASSED:
        raise PictureError(f"{name} is drawn in far too many passes: save it anew")
    if header.slow > MOST_SLOW:
        raise TooLargeError(f"{name} is too large for a format that takes seconds a megapixel: save it as PNG")


def too_large(name: str, most: int) -> TooLargeError:
    """Return the error for a picture of too many pixels."""
    return TooLargeError(f"{name} is too large, more than {most / 1e6:.0f} million pixels")


def opened(width: int, height: int, size: int) -> Header:
    """Return what a picture costs whose decoder tells its size only once it is open: AVIF, HEIC."""
    return Header(width, height, 20 * width * height + size)

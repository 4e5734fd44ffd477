"""Large pictures: decoded into memory of ours, which goes back to the system as its lines are converted.

Pillow keeps four bytes for each pixel and frees them all at the end: together with the three of the result, a photo of
50 million pixels takes 350 MB. Here what is converted is freed at once. A JPEG's lines are converted while those below
are decoded, and it takes 160 MB; a PNG takes 200 MB.
"""

import mmap
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Pixels from which on it is worth the system calls.
LARGE = 4_000_000
#: Modes that Pillow keeps as four bytes for each pixel, and what it calls a buffer of ours that holds them.
MODES = {"RGB": "RGBX", "RGBA": "RGBA"}
#: Windows has no `madvise`: there Pillow's own memory serves.
FREES = hasattr(mmap.mmap, "madvise")
#: Bytes that are converted at a time, and parts of a turned picture's width.
BAND, STRIPS = 4_000_000, 16
#: Formats that are decoded from top to bottom, and whose orientation is known before.
STREAMED = ("JPEG", "MPO")
#: Bytes of a file that a decoder gets at a time; of a plain area that is some 10 MB of pixels.
CHUNK = 16_384


class PixelMemory:
    """The four bytes for each pixel of a picture that is not decoded yet."""

    def __init__(self, size: tuple[int, int], mode: str):
        self.width, self.height = size
        self.mode = mode
        self.held: object = None
        try:
            self.memory = mmap.mmap(-1, 4 * self.width * self.height, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:
            raise MemoryError from None
        self.bytes = np.frombuffer(self.memory, np.uint8)

    @classmethod
    def of(cls, picture: Image.Image) -> Self | None:
        """Have a file that is opened, and nobody else's, decoded here; None if it is small or of another kind.

        A PNG is decoded now, and `parts` gives its pixels; of what STREAMED names, `stream` does both.
        """
        if not FREES or picture.format not in (*STREAMED, "PNG") or picture.mode not in MODES:
            return None
        if picture.width * picture.height < LARGE or "transparency" in picture.info:
            return None
        made = cls(picture.size, picture.mode)
        held = Image.frombuffer(MODES[picture.mode], picture.size, made.bytes, "raw", MODES[picture.mode], 0, 1)
        picture.im = held.im  # `load` makes a new one only if there is none
        made.held = held.im
        if picture.format in STREAMED:
            return made
        picture.load()
        return made if picture.im is held.im else None  # Pillow before 11 makes one of its own

    def stream(self, picture: Any, put: Callable[[slice, NDArray], None]) -> bool:
        """Decode a picture of Pillow, and call `put` with rows, from top to bottom, and their uint8 [rows, columns, 4].

        Return whether it was decoded here; if not, it is loaded as ever.
        """
        wide, lines = 4 * self.width, max(1, BAND // (4 * self.width))
        decoded = converted = freed = 0

        def convert(least: int) -> None:
            nonlocal converted, freed
            while decoded - converted >= least:
                rows = slice(converted, min(converted + lines, decoded))
                put(rows, self.bytes[wide * rows.start : wide * rows.stop].reshape(-1, self.width, 4))
                converted = rows.stop
                freed = self._free(freed, wide * converted)

        read = picture.load_read

        def load_read(size: int) -> bytes:
            nonlocal decoded
            # Decoders put 255 in the fourth byte of each pixel, which is 0 before. Where they do not, all is
            # converted at the end.
            while decoded < self.height and self.bytes[wide * (decoded + 1) - 1] == 255:
                decoded += 1
            convert(lines)
            return read(min(size, CHUNK))

        picture.load_read = load_read  # which `load` calls for each piece of the file
        try:
            picture.load()
        finally:
            del picture.load_read  # which would keep the result in memory until the collector runs
        if picture.im is not self.held:
            return False
        decoded = self.height
        convert(1)
        return True

    def parts(self, turned: bool, convert: Callable[[NDArray], NDArray]) -> Iterator[tuple[slice, slice, NDArray]]:
        """Yield the picture in parts, once: rows, columns, and what `convert` makes of their uint8 [rows, columns, 4].

        That has at most four channels. If `turned`, parts are columns of the picture, as the rows of the result are:
        a result that is written from its beginning to its end takes no more memory than was freed.
        """
        lines = max(1, BAND // (4 * self.width))
        bands = [slice(top, min(top + lines, self.height)) for top in range(0, self.height, lines)]
        across = slice(0, self.width)
        freed = channels = 0
        for rows in bands:
            place = 4 * self.width * rows.start
            made = convert(self.bytes[place : 4 * self.width * rows.stop].reshape(-1, self.width, 4))
            if turned:  # the columns of a band one after the other, in its own place
                channels = made.shape[2]
                kept = np.ascontiguousarray(made.swapaxes(0, 1)).reshape(-1)
                self.bytes[place : place + kept.size] = kept
            else:
                yield rows, across, made
                freed = self._free(freed, 4 * self.width * rows.stop)
        if not turned:
            return
        for left in range(0, self.width, -(-self.width // STRIPS)):
            columns = slice(left, min(left + -(-self.width // STRIPS), self.width))
            for rows in bands:
                place, column = 4 * self.width * rows.start, channels * (rows.stop - rows.start)
                first, last = place + column * columns.start, place + column * columns.stop
                part = self.bytes[first:last].reshape(-1, rows.stop - rows.start, channels)
                yield rows, columns, part.swapaxes(0, 1)
                self._free(first, last)

    def _free(self, start: int, stop: int) -> int:
        """Give the whole pages between two bytes back; return where what is left begins."""
        start, stop = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
        if stop > start:
            self.memory.madvise(mmap.MADV_DONTNEED, start, stop - start)
        return stop

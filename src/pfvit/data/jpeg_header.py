"""What decoding a JPEG will cost (ITU-T T.81)."""

import re
import struct
from typing import BinaryIO

from pfvit.data.header_cost import DamagedHeader, Header, Pieces, cost

#: Scans of a JPEG are counted no further.
ENOUGH_SCANS = 100
#: So many fill bytes in a row are no filling; and bytes of a file that are searched at a time.
FILL, BLOCK = b"\xff" * 4096, 1_000_000
#: EXIF, and its bytes: Pillow puts its segments together one by one, so that 40 MB take seconds.
EXIF, MOST_EXIF = b"Exif\0\0", 4_000_000
#: In the compressed part of a JPEG, what is no stuffed byte and no restart.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}


def read(file: BinaryIO) -> Header:
    """ITU T.81: segments up to the first scan; a decoder keeps all coefficients if there may be several scans."""
    file.seek(2, 1)
    pieces = Pieces()
    frame: tuple[int, int, int, float] | None = None
    several, exif = False, 0
    while True:
        byte = file.read(1)
        while byte == b"\xff":
            pieces.add(1)
            byte = file.read(1)
        if not byte:
            raise DamagedHeader("it ends before its pixels")
        marker = byte[0]
        if marker in (0x00, 0x01, 0xD8, *range(0xD0, 0xD8)) or marker < 0x80:  # no segment: decoders pass over it
            pieces.add(1)
            continue
        if marker == 0xD9:
            raise DamagedHeader("it ends before its pixels")
        (size,) = struct.unpack(">H", file.read(2))
        if marker in _FRAMES:
            body = file.read(size - 2)
            height, width, parts = struct.unpack(">HHB", body[1:6])
            sampling = [(body[7 + 3 * part] >> 4, body[7 + 3 * part] & 15) for part in range(parts)]
            most = max(x for x, _ in sampling) * max(y for _, y in sampling)
            frame = width, height, parts, sum(x * y for x, y in sampling) / max(most, 1)
            several = several or marker in _PROGRESSIVE
        elif marker == 0xDA:
            in_scan = file.read(1)[0]
            file.seek(size - 3, 1)
            break
        else:
            pieces.add(size)
            begin = file.read(min(size - 2, len(EXIF)))
            file.seek(size - 2 - len(begin), 1)
            exif += size if begin == EXIF else 0
            if exif > MOST_EXIF:
                raise DamagedHeader("it holds far more EXIF than a picture needs")
    if frame is None:
        raise DamagedHeader("its size comes after its pixels")
    _check_filling(file, pieces)
    width, height, parts, samples = frame
    stored = 1 if parts == 1 else 4
    kept = 2 * samples + 0.5 if several or in_scan < parts else 0
    return cost(width, height, stored + kept, stored, lean=parts in (1, 3), passes=_scans(file) if kept else 1)


def _check_filling(file: BinaryIO, pieces: Pieces) -> None:
    """Refuse a long run of fill bytes between here and the end of the picture: with each piece of the file, decoders
    begin anew where it begins, which takes minutes."""
    start = file.tell()
    filled = _find(file, FILL)
    file.seek(start)
    if filled < 0:
        return
    before, at = file.read(filled), 0
    file.seek(start)
    while match := _MARKER.search(before, at):
        pieces.add(1)
        if match[1] == b"\xd9":
            return  # what comes after the end is not read
        at = match.end() if match[1] == b"\x01" else match.end() + int.from_bytes(before[match.end() :][:2])
    raise DamagedHeader("its pixels are fill bytes")


def _find(file: BinaryIO, some: bytes) -> int:
    """Return how far from here some bytes are; -1 if they do not come."""
    passed, last = 0, b""
    while block := file.read(BLOCK):
        at = (last + block).find(some)
        if at >= 0:
            return passed - len(last) + at
        passed += len(block)
        last = (last + block)[1 - len(some) :]
    return -1


def _scans(file: BinaryIO) -> int:
    """Count the scans from here to the end of the picture, the one that has begun included."""
    scans, last = 1, b""
    while block := last + file.read(BLOCK):
        for match in _MARKER.finditer(block):
            if match[1] == b"\xd9":
                return scans
            scans += match[1] == b"\xda"
        last = b"\xff" if block.endswith(b"\xff") and len(block) > 1 else b""
        if scans > ENOUGH_SCANS:
            break
    return scans

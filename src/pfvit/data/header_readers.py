"""What decoding a picture will cost, known from its header, before any decoder runs.

Decoders allocate what a header asks for: 34 bytes of WebP may ask for 3 GB, and a TIFF of 1 kB for one tile of 2 GB.
Each function below follows the layout of one format (the specification is named) and reads numbers only.
"""

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from pfvit.data import jpeg_header
from pfvit.data.formats import starts
from pfvit.data.header_cost import MOST_METADATA, MOST_PIECES, DamagedHeader, Header, Pieces, cost, length

#: Numbers in one tag of a TIFF: each becomes an object of Python. A strip for each of 130,000 lines is plenty.
MOST_NUMBERS = 131_072
#: Bytes of a PNG's chunk: of smaller ones a file of 40 MB could hold millions.
TINY = 16
#: Bytes of a PPM's header with its comments.
LONGEST_PPM = 4096


def read(file: BinaryIO) -> Header | None:
    """Return what a header asks for; None for another format. DamagedHeader, or whatever reading raises."""
    start = file.tell()
    head = file.read(32)
    for begins, reader in READERS:
        if begins(head):
            file.seek(start)
            return reader(file)
    return None


def _png(file: BinaryIO) -> Header:
    """ISO/IEC 15948: chunks of length, type, data and checksum."""
    file.seek(8, 1)
    size, kind = struct.unpack(">I4s", file.read(8))
    width, height, depth, colour = struct.unpack(">IIBB", file.read(10))
    file.seek(size - 10 + 4, 1)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 4)
    raw = height * (1 + (width * channels * depth + 7) // 8)
    if kind != b"IHDR":
        raise DamagedHeader("it does not begin with its header")
    pieces, pixels, mask = Pieces(), 0, False
    while len(begin := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", begin)
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            pixels += size
        if size < TINY or kind not in (b"IDAT", b"fdAT", b"fcTL"):  # the last two: later frames, which are not read
            pieces.add(size)
            mask = mask or kind == b"tRNS"
        file.seek(size + 4, 1)
    if pixels > raw + raw // 100 + MOST_METADATA:
        raise DamagedHeader("it holds more data than pixels")
    stored, opaque = 4 if channels > 1 else depth // 8 or 1, colour == 2 and not mask
    return cost(width, height, stored if opaque else stored + 3, stored, lean=opaque or colour == 6)


def _gif(file: BinaryIO) -> Header:
    """GIF89a: extensions up to the first image. Pillow keeps the screen, what is to be disposed of, and a copy."""
    width, height, flags = struct.unpack("<HHB", file.read(11)[6:])
    file.seek(2 + (3 << (flags & 7) + 1 if flags & 128 else 0), 1)
    pieces = Pieces()
    while (kind := file.read(1)) != b",":
        if kind in (b"", b";"):
            raise DamagedHeader("it holds no image")
        if kind == b"!":
            file.seek(1, 1)
            while (size := file.read(1)[0]) > 0:
                pieces.add(size)
                file.seek(size, 1)
        else:
            pieces.add(1)
    left, top, wide, high = struct.unpack("<HHHH", file.read(8))
    return cost(max(width, left + wide), max(height, top + high), 6, 5)


def _webp(file: BinaryIO) -> Header:
    """RFC 9649. Pillow opens each as an animation: two canvases, a copy of the frame, the image, the decoder's own."""
    head = file.read(30)
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (size & 0x3FFF for size in struct.unpack("<HH", head[26:30]))
    else:
        raise DamagedHeader("its first chunk holds no image")
    return cost(width, height, 17, 13, more=length(file))


def _bmp(file: BinaryIO) -> Header:
    """The bitmap file header and the information header behind it, of any version."""
    head = file.read(34)
    (size,) = struct.unpack("<I", head[14:18])
    if size == 12:
        width, height, bits, compression = *struct.unpack("<HH", head[18:22]), 24, 0
    else:
        width, height, _, bits, compression = struct.unpack("<iiHHI", head[18:34])
    width, height = abs(width), abs(height)
    # Runs are expanded in Python, several pixels in a step.
    slow = width * height // 4 if compression in (1, 2) else 0
    return cost(width, height, 6, 1 if bits <= 8 else 4, slow=slow)


def _ppm(file: BinaryIO) -> Header:
    """Netpbm, and Pillow's variants: a word, two or three numbers with comments between them, then numbers."""
    head = file.read(LONGEST_PPM)
    magic, *words = re.sub(rb"#[^\r\n]*[\r\n]", b"", head).split(maxsplit=4)
    if len(words) < 3 or not all(word.isdigit() and len(word) <= 10 for word in words[:2]):
        raise DamagedHeader("its header is too long or holds no numbers")
    width, height = int(words[0]), int(words[1])
    bands = 3 if magic in (b"P3", b"P6") else 1
    in_text = magic in (b"P1", b"P2", b"P3")
    odd = magic in (b"P5", b"P6", b"P0CMYK") and words[2] not in (b"255", b"65535")
    return cost(width, height, 8, 4, slow=width * height * bands if in_text or odd else 0)


#: Bytes of a value of each type of TIFF 6.0 (and of BigTIFF), and how small numbers are read.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_BYTES = {1, 2, 6, 7}
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 256, 257, 258, 262
_COMPRESSION, _FAX = 259, {2, 3, 4}
_SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 277, 278, 322, 323
_TIFF_TAGS = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT}


def _tiff(file: BinaryIO) -> Header:
    """TIFF 6.0 and BigTIFF: the first directory. Strips and tiles are decoded whole; libtiff needs copies of them."""
    begin = file.tell()
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in head[2:4]
    if big:
        (place,) = struct.unpack(f"{order}Q", head[8:16])
        file.seek(begin + place)
        (count,) = struct.unpack(f"{order}Q", file.read(8))
    else:
        (place,) = struct.unpack(f"{order}I", head[4:8])
        file.seek(begin + place)
        (count,) = struct.unpack(f"{order}H", file.read(2))
    if count > MOST_PIECES:
        raise DamagedHeader("it has far too many tags")
    layout, room = (f"{order}HHQ8s", 8) if big else (f"{order}HHI4s", 4)
    width = struct.calcsize(layout)
    directory = file.read(count * width)
    values: dict[int, list[int]] = {}
    pieces = Pieces()
    for tag, kind, number, content in struct.iter_unpack(layout, directory[: len(directory) // width * width]):
        size = number * _TIFF_SIZES.get(kind, 1)
        if kind not in _TIFF_BYTES and number > MOST_NUMBERS:
            raise DamagedHeader(f"it gives {number:,} numbers for one tag")
        pieces.add(size if size > room else 0)
        if tag in _TIFF_TAGS and kind in (1, 3, 4, 16) and number:
            if size > room:
                file.seek(begin + int.from_bytes(content, "little" if order == "<" else "big"))
                content = file.read(_TIFF_SIZES[kind])
            letter = {1: "B", 3: "H", 4: "I", 16: "Q"}[kind]
            values.setdefault(tag, []).append(struct.unpack_from(order + letter, content)[0])

    def most(tag: int, default: int) -> int:
        """Of a tag that comes twice the larger, as readers differ in which one they take."""
        return max(values.get(tag, [default]))

    if _FAX & set(values.get(_COMPRESSION, ())):  # libtiff prints a line for each of the picture's that is damaged
        raise DamagedHeader("it is a fax, in black and white: save it as PNG")
    wide, high = most(_WIDTH, 0), most(_HEIGHT, 0)
    bits = most(_BITS, 1) * max(most(_SAMPLES, 1), 1)
    # Of colours that are no RGB libtiff makes RGBA.
    each = max(bits / 8, 4 if most(_PHOTOMETRIC, 0) > 5 else 0)
    strip = wide * min(most(_ROWS, high), high) * each
    tile = most(_TILE_WIDTH, 0) * most(_TILE_HEIGHT, 0) * each
    # Pillow turns the image by its tag, which takes a second one.
    stored = 4 if bits > 8 else 1
    return cost(wide, high, 2 * stored, stored, more=round(3 * max(strip if _ROWS in values else 0, tile)))


def _jpeg_2000(file: BinaryIO) -> Header:
    """ITU T.800: the SIZ and COD segments, wherever the code stream begins. OpenJPEG decodes tile by tile."""
    head = file.read(1_000_000)
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise DamagedHeader("its code stream is not at its beginning")
    numbers = struct.unpack(">IIIIIIIIH", head[at + 8 : at + 42])
    right, lower, left, top, tile_width, tile_height, tile_left, tile_top, parts = numbers
    width, height = right - left, lower - top
    in_tiles = tile_left <= left < tile_left + tile_width and tile_top <= top < tile_top + tile_height
    if width <= 0 or height <= 0 or not in_tiles or not 0 < parts <= 4:
        raise DamagedHeader("its size or its number of channels makes no sense")
    tiles = -(-(right - tile_left) // tile_width) * -(-(lower - tile_top) // tile_height)
    area = min(tile_width, width) * min(tile_height, height)
    _check_blocks(head[at + 2 :])
    return cost(width, height, 4, 4, more=area * (9 * parts + 4) + tiles * (8_000 + 2_000 * parts))


def _check_blocks(segments: bytes) -> None:
    """Refuse code blocks and precincts of fewer than 256 pixels (COD, COC): each takes some 200 bytes."""
    at = 0
    while segments[at : at + 2] not in (b"\xff\x90", b""):
        marker, size = struct.unpack(">HH", segments[at : at + 4])
        body = segments[at + 4 : at + 2 + size]
        if marker in (0xFF52, 0xFF53):
            style, *rest = body[0:1] + body[5:] if marker == 0xFF52 else body[1:]
            across, down = rest[1] + 2, rest[2] + 2
            precincts = rest[5 : 6 + rest[0]] if style & 1 else ()
            # A lower resolution has a quarter of the pixels, and its precincts may be smaller.
            small = [each for step, each in enumerate(reversed(precincts)) if (each >> 4) + (each & 15) < 8 - 2 * step]
            if across + down < 8 or small:
                raise DamagedHeader("it is cut into blocks that are far too small")
        at += 2 + size


_PPM = re.compile(rb"P([1-6]|0CMYK|f|yP|yRGBA|yCMYK)\s")


#: How a file begins, at least as freely as Pillow takes it, and what reads its header.
READERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], Header]], ...] = (
    (starts(b"\xff\xd8\xff"), jpeg_header.read),
    (starts(b"\x89PNG\r\n\x1a\n"), _png),
    (starts(b"GIF87a", b"GIF89a"), _gif),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _webp),
    (starts(b"BM"), _bmp),
    (lambda head: _PPM.match(head) is not None, _ppm),
    (starts(b"MM", b"II"), _tiff),
    (starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), _jpeg_2000),
)

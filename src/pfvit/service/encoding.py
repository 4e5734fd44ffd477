"""Picture files out. Large ones are encoded some lines at a time: Pillow would copy them whole, at 4 bytes a pixel."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

from PIL import Image

from pfvit.data.images import Metadata, Pixels
from pfvit.data.pixel_memory import LARGE
from pfvit.errors import without_frames
from pfvit.rendering import with_alpha
from pfvit.service.errors import Problem

#: Media type -> Pillow's format and how to save it: quickly, as a dial waits for it. Earlier ones win ties.
FORMATS: dict[str, tuple[str, dict[str, int]]] = {
    "image/png": ("PNG", {"compress_level": 1}),
    "image/webp": ("WEBP", {"quality": 90, "method": 0}),
    "image/jpeg": ("JPEG", {"quality": 92}),
}
#: Most pixels a side.
SIDES = {"WEBP": 16_383, "JPEG": 65_500}
#: Bytes for each pixel that Pillow and the encoder of WebP need, and further ones for opacity: it is encoded whole.
WEBP, WEBP_ALPHA = 10, 14
#: Bytes of a file that is made. It stays until its caller has taken it.
MOST_FILE = 60_000_000
#: Bytes that drawing leaves behind, beside the photo.
KEPT = 10_000_000
#: Pixels that are encoded at a time; a multiple of LINES of them.
BAND, LINES = 1_000_000, 16
PNG_HEAD = 8

Options = dict[str, bytes]


def encoded_as_any(pixels: Pixels, media_types: Sequence[str], metadata: Metadata, room: int) -> tuple[str, bytes]:
    """Return the first of some media types that can hold a picture, and what `encoded` makes; Problem of the first if
    none can."""
    refusals: list[Problem] = []
    for media_type in media_types:
        try:
            return media_type, encoded(pixels, media_type, metadata, room)
        except Problem as refusal:
            refusals.append(without_frames(refusal))
    raise refusals[0]


def encoded(pixels: Pixels, media_type: str, metadata: Metadata, room: int) -> bytes:
    """Return a picture file with the colour profile, EXIF and opacity of the photo that it was made of; a JPEG, which
    can have no opacity, shows the photo over white.

    Encoding it may take `room` bytes, the file among them. Problem if the format cannot hold it, or not in so many.
    """
    name, settings = FORMATS[media_type]
    height, width = pixels.shape[:2]
    if max(height, width) > SIDES.get(name, height + width):
        raise Problem("not-acceptable", f"{name} holds at most {SIDES[name]} pixels a side: accept image/png")
    alpha = None if name == "JPEG" else metadata.alpha
    if name == "WEBP" and (WEBP if alpha is None else WEBP + WEBP_ALPHA) * width * height > room:
        raise Problem("too-many-pixels", "to write it as WebP takes too much memory: accept image/jpeg or image/png")
    options = metadata.save_options()
    if height * width < LARGE or name == "WEBP":
        return _saved(pixels if alpha is None else with_alpha(pixels, alpha), name, settings, options)
    file = io.BytesIO()  # which grows by an eighth more than is written
    most = max(0, min(MOST_FILE, (room - KEPT) // 9 * 8))
    for part in _jpeg(pixels, settings, options) if name == "JPEG" else _png(pixels, alpha, settings, options):
        if file.tell() + len(part) > most:
            hint = "send a smaller photo" if name == "JPEG" else "accept image/jpeg, or send a smaller photo"
            raise Problem("too-many-pixels", f"as {name} it takes more than {most // 1_000_000} MB: {hint}")
        file.write(part)
    return file.getvalue()


def _saved(pixels: Pixels, name: str, settings: dict[str, int], options: Options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **settings, **options)
    return file.getvalue()


def _lines(pixels: Pixels) -> int:
    """Return how many lines are encoded at a time."""
    return max(1, BAND // (LINES * pixels.shape[1])) * LINES


def _jpeg(pixels: Pixels, settings: dict[str, int], options: Options) -> Iterator[bytes]:
    """Yield a JPEG whose pixels are those of one that is encoded whole (ITU-T T.81).

    Blocks of 16 lines depend on those before only by the mean brightness of the last block, and not across a restart
    marker. So each band is encoded by itself, and its blocks are the piece of the file between two such markers.
    """
    height, lines = pixels.shape[0], _lines(pixels)
    for number, top in enumerate(range(0, height, lines)):
        part = _saved(pixels[top : top + lines], "JPEG", settings, options if top == 0 else {})
        place, head = 2, b""
        while (kind := part[place + 1]) != 0xDA:  # the last before the blocks
            size = 2 + struct.unpack_from(">H", part, place + 2)[0]
            segment = part[place : place + size]
            if kind == 0xC0:  # the frame: precision, height, width, channels, and of each its name and sampling
                width, sampling = struct.unpack_from(">H", segment, 7)[0], segment[11]
                across, down = -(-width // (8 * (sampling >> 4))), lines // (8 * (sampling & 15))
                segment = segment[:5] + struct.pack(">H", height) + segment[7:]
                segment += struct.pack(">HHH", 0xFFDD, 4, across * down)  # how many blocks from marker to marker
            head, place = head + segment, place + size
        begin = place + 2 + struct.unpack_from(">H", part, place + 2)[0]
        yield part[:2] + head + part[place:begin] if top == 0 else bytes((0xFF, 0xD0 + (number - 1) % 8))
        yield part[begin:-2]
    yield b"\xff\xd9"


def _png(pixels: Pixels, alpha: Pixels | None, settings: dict[str, int], options: Options) -> Iterator[bytes]:
    """Yield a PNG (ISO/IEC 15948): bands are filtered by Pillow, and compressed here as one stream.

    A filter looks at the line above, so a band is encoded with it, and its first line is left out.
    """
    height, lines = pixels.shape[0], _lines(pixels)
    line = 1 + (3 if alpha is None else 4) * pixels.shape[1]  # a byte that names the filter, and the pixels
    packer = zlib.compressobj(settings["compress_level"], zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    after: list[bytes] = []
    for top in range(0, height, lines):
        some = slice(max(0, top - 1), top + lines)
        band = pixels[some] if alpha is None else with_alpha(pixels[some], alpha[some])
        part = _saved(band, "PNG", {"compress_level": 0}, options if top == 0 else {})
        stored: list[bytes] = []
        place = PNG_HEAD
        if top == 0:
            yield part[:PNG_HEAD]
        while place < len(part):
            (size,), kind = struct.unpack_from(">I", part, place), part[place + 4 : place + 8]
            content = part[place + 8 : place + 8 + size]
            place += 12 + size
            if kind == b"IDAT":
                stored.append(content)
            elif top == 0 and kind == b"IHDR":
                yield _chunk(kind, content[:4] + struct.pack(">I", height) + content[8:])
            elif top == 0 and stored:
                after.append(_chunk(kind, content))
            elif top == 0:
                yield _chunk(kind, content)
        if packed := packer.compress(memoryview(zlib.decompress(b"".join(stored)))[line if top else 0 :]):
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush())
    yield from after


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))

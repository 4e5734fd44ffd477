"""Pictures that ask for far more than they hold, and damaged ones. `benchmarks/attack.py` sends them too."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image


def png(width: int, height: int, data: bytes = zlib.compress(bytes(9)), depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header claims a size, with next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp(width: int, height: int) -> bytes:
    """34 bytes that claim a lossless picture."""
    bits = (width - 1) | (height - 1) << 14
    body = b"WEBPVP8L" + struct.pack("<IBI", 8, 0x2F, bits) + bytes(3)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(width: int, height: int, **more: int) -> bytes:
    """A TIFF of LZW with 500 bytes of pixels; `tile` is a side, `rows` the rows of a strip, `count` how many strips."""
    tags = {256: width, 257: height, 258: 8, 259: 5, 262: 2, 277: 3}
    data = random.Random(0).randbytes(500)
    if "tile" in more:
        tags |= {322: more["tile"], 323: more["tile"], 324: 8, 325: len(data)}
    else:
        tags |= {273: 8, 278: more.get("rows", height), 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    if "count" in more:
        entries = entries.replace(struct.pack("<HHI", 273, 4, 1), struct.pack("<HHI", 273, 4, more["count"]))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def gif(width: int, height: int) -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\0;"


def bmp(width: int, height: int, bits: int = 24, compression: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 100, 0, 0, 54) + head + bytes(100)


def jpeg(width: int, height: int, **options: object) -> bytes:
    """A JPEG of 64 by 64 pixels whose header claims another size."""
    content = bytearray(saved(Image.new("RGB", (64, 64), "red"), "JPEG", **options))
    frame = content.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def jpeg_2000(width: int, height: int, tile: int) -> bytes:
    """A JPEG 2000 whose header claims a size and a size of tiles."""
    content = bytearray(saved(Image.new("RGB", (64, 64), "red"), "JPEG2000", no_jp2=True))
    at = content.index(b"\xff\x51") + 6
    content[at : at + 24] = struct.pack(">IIIIII", width, height, 0, 0, tile, tile)
    return bytes(content)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def greedy() -> dict[str, bytes]:
    """Small files that would take 400 MB or more, each in its own way."""
    return {
        "PNG": png(13_000, 13_000),
        "PNG of 16 bits": png(13_000, 13_000, depth=16, colour=6),
        "WebP": webp(16_000, 11_000),
        "TIFF": tiff(12_000, 12_000),
        "TIFF tile": tiff(4_000, 4_000, tile=32_752),
        "TIFF strip": tiff(40_000, 4_000, rows=4_000),
        "TIFF numbers": tiff(4_000, 4_000, count=200_000_000),
        "GIF": gif(13_000, 13_000),
        "BMP": bmp(13_000, 13_000),
        "BMP runs": bmp(13_000, 13_000, 8, 1),
        "PPM": b"P6 13000 13000 255\n",
        "PPM in words": b"P3 13000 13000 255\n" + b"1 " * 100,
        "JPEG": jpeg(13_000, 13_000),
        "progressive JPEG": jpeg(13_000, 13_000, progressive=True),
        "JPEG 2000": jpeg_2000(13_000, 13_000, 13_000),
        "JPEG 2000 tiles": jpeg_2000(13_000, 13_000, 8),
    }


def good() -> dict[str, bytes]:
    """A picture in each format and mode: what is to be read, and what damaged ones are made of."""
    y, x = np.mgrid[0:240, 0:200]
    image = Image.fromarray(np.stack([x, y, (x * y) % 251], axis=2).astype(np.uint8))
    gray, clear = image.convert("L"), image.convert("RGBA")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    clear.putalpha(gray)
    made = {f"{form} {picture.mode}": saved(picture, form) for form in ("PNG", "TIFF") for picture in (
        image, gray, clear, deep, image.convert("P"), image.convert("1"), clear.convert("LA"))}  # fmt: skip
    made |= {f"{form} RGB": saved(image, form) for form in ("JPEG", "WEBP", "GIF", "BMP", "PPM", "JPEG2000")}
    made |= {
        "JPEG L": saved(gray, "JPEG"),
        "JPEG CMYK": saved(image.convert("CMYK"), "JPEG"),
        "JPEG progressive": saved(image, "JPEG", progressive=True),
        "JPEG 4:4:4": saved(image, "JPEG", subsampling=0),
        "TIFF LZW": saved(image, "TIFF", compression="tiff_lzw"),
        "TIFF JPEG": saved(image, "TIFF", compression="jpeg"),
        "TIFF big": saved(image, "TIFF", big_tiff=True),
        "WEBP lossless": saved(clear, "WEBP", lossless=True),
        "WEBP animated": saved(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        "GIF animated": saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "JPEG2000 tiled": saved(image, "JPEG2000", tile_size=(64, 64)),
        "PPM L": saved(gray, "PPM"),
        "BMP P": saved(image.convert("P"), "BMP"),
    }
    return made


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes changed, left out, repeated, or its end cut off; more often at its beginning."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(min(len(made), rng.choice((40, 400, len(made)))) or 1)
        kind = rng.randrange(6)
        if kind == 0:
            del made[at:]
        elif kind == 1:
            made[at : at + rng.randrange(1, 9)] = b""
        elif kind == 2:
            made[at:at] = made[at : at + rng.randrange(1, 65)]
        elif kind == 3:
            made[at : at + 4] = struct.pack(
                rng.choice("<>") + "I", rng.choice((0, 1, 255, 65_535, 2**31 - 1, 2**32 - 1))
            )
        elif at < len(made):
            made[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        if not made:
            break
    return bytes(made)

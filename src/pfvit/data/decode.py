"""One decoder for training, validation, calibration and measuring: the pixels that `pfvit predict` sees, at one size.

`pfvit.data.images` decides what a picture looks like: turned as its EXIF says, more than eight bits scaled to eight,
transparency over white. Plain 8-bit JPEG and PNG, which data sets are made of, take a short way to the same pixels.
"""

import io
from contextlib import nullcontext, suppress

import numpy as np
from PIL import ExifTags, Image

from pfvit.data import images, picture_cost
from pfvit.data.images import Pixels

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
EXIF, HEAD = b"Exif", 64
#: What these files may say that turns a picture or makes it transparent; Pillow looks for the orientation in them.
TURNED = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}


def decode_square(encoded: bytes, side: int, channels: int, name: str = "the picture") -> Pixels:
    """Return a picture file's pixels as uint8 [channels, side, side], gray (BT.601) if there is 1 channel.

    Other sizes are resampled (bilinear, antialiased), as the exported graph does. A JPEG of twice the size or more is
    decoded at a half, a quarter or an eighth of it, which costs as much less. PictureError that begins with `name` if
    it cannot be decoded.
    """
    mode = "L" if channels == 1 else "RGB"
    picture = _plain(encoded, side, mode)
    if picture is None:
        picture = Image.fromarray(images.decode(encoded, name)).convert(mode)
    return _resampled(picture, side, channels)


def square(pixels: Pixels, side: int, channels: int) -> Pixels:
    """Return pixels [height, width, 3] as `decode_square` does."""
    return _resampled(Image.fromarray(pixels).convert("L" if channels == 1 else "RGB"), side, channels)


def _resampled(picture: Image.Image, side: int, channels: int) -> Pixels:
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _plain(encoded: bytes, side: int, mode: str) -> Image.Image | None:
    """Decode an upright, opaque 8-bit JPEG or PNG; None for all else, and for what is damaged."""
    kind = "JPEG" if encoded.startswith(JPEG) else "PNG" if encoded.startswith(PNG) else None
    if kind is None:
        return None
    # Damaged EXIF makes Pillow warn. To leave that out takes a tenth of decoding a small picture: only where it may be.
    quiet = images.QUIET if EXIF in encoded[:HEAD] else nullcontext()
    try:
        file = io.BytesIO(encoded)
        picture_cost.check(file, "the picture")  # before a decoder runs
        with quiet, Image.open(file, formats=(kind,)) as picture:
            images.check_size(*picture.size, "the picture")
            picture.draft(mode, (side, side))
            if not is_plain(picture):
                return None
            return picture if picture.mode == mode else picture.convert(mode)
    except Exception:  # `images.decode` says what is wrong with it
        return None


def is_plain(picture: Image.Image) -> bool:
    """Load a picture, and return whether readers that know neither turns nor transparency see what we do."""
    if picture.mode not in ("L", "RGB") or "transparency" in picture.info:
        return False
    picture.load()  # PNG files may have their EXIF at the end
    return not (TURNED & picture.info.keys() and _is_turned(picture))


def _is_turned(picture: Image.Image) -> bool:
    with suppress(Exception):  # damaged metadata turns nothing
        return picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return False

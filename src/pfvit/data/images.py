"""Pictures in: any JPEG, PNG, WebP, GIF, TIFF or BMP -> uint8 RGB as a person would see it, or a clear refusal."""

import io
import warnings
from contextlib import suppress
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pfvit.errors import InputError

#: Most pixels that are decoded: Pillow's own limit, 0.5 GB as RGB. Larger ones are refused from their header.
MOST_PIXELS = 178_956_970
#: Smaller pictures hold no face that anyone could read.
SMALLEST_SIDE = 8
#: Only formats that Pillow decodes itself: its EPS reader, for one, starts Ghostscript on the file.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
SIXTEEN_TO_EIGHT = 257  # 65535 / 255
PAPER = (255, 255, 255)  # what shows through where a picture is transparent
Pixels = NDArray[np.uint8]


def decode(image: bytes | BinaryIO, name: str = "the picture") -> Pixels:
    """Return a picture file's pixels as uint8 [height, width, 3], RGB, upright, transparency over white.

    Of an animation or a stack it is the first frame. Sixteen bits are scaled to eight. Raise InputError, beginning
    with `name`, for anything that is no picture, is damaged, too large (before decoding it) or too small.
    """
    file = io.BytesIO(image) if isinstance(image, bytes) else image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes and stray metadata; the limit is ours, below
            with Image.open(file, formats=FORMATS) as picture:
                _check_size(*picture.size, name)
                return as_rgb(picture)
    except InputError:
        raise
    except Image.DecompressionBombError as problem:
        raise InputError(f"{name} is too large, more than {MOST_PIXELS / 1e6:.0f} million pixels") from problem
    except UnidentifiedImageError as problem:
        raise InputError(f"{name} is not a picture that can be read ({', '.join(FORMATS)})") from problem
    except MemoryError as problem:
        raise InputError(f"{name} does not fit in memory") from problem
    except Exception as problem:  # Pillow's decoders raise nearly every built-in kind on damaged files
        raise InputError(f"{name} is damaged or cut short: {problem}") from problem


def decode_cell(cell: object, name: str) -> Pixels:
    """Return the pixels in a cell of an image column: bytes, or the struct that Hugging Face `datasets` writes."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise InputError(f"{name} has no picture bytes")
    return decode(content, name)


def as_rgb(picture: Image.Image) -> Pixels:
    """Return any Pillow image as uint8 [height, width, 3], turned as its EXIF says."""
    picture.load()
    with suppress(Exception):  # damaged metadata does not make the pixels unreadable
        if (picture.info or picture.format == "TIFF") and picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        gray = np.clip(np.rint(np.asarray(picture, dtype=np.float32) / SIXTEEN_TO_EIGHT), 0, 255)
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture))
        scale = 255 if values.max(initial=0) <= 1 else 1
        gray = np.clip(np.rint(values * scale), 0, 255)
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
        cut_out = picture.convert("RGBA")
        picture = Image.new("RGBA", cut_out.size, (*PAPER, 255))
        picture.alpha_composite(cut_out)
    if picture.mode == "L":
        return np.repeat(np.asarray(picture)[:, :, None], 3, axis=2)
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def from_array(pixels: np.ndarray, name: str = "the array") -> Pixels:
    """Check an array of pixels and return it as uint8 [height, width, 3]; gray [height, width] is repeated.

    Raise InputError for other shapes or types: floats have no range that could be guessed safely.
    """
    if pixels.dtype != np.uint8:
        raise InputError(f"{name} has {pixels.dtype} pixels; give uint8 from 0 to 255")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(f"{name} has shape {pixels.shape}; give [height, width, 3] in RGB, or [height, width]")
    _check_size(pixels.shape[1], pixels.shape[0], name)
    return np.ascontiguousarray(pixels)


def small(pixels: Pixels, side: int, channels: int) -> NDArray[np.float32]:
    """Return a picture as a model sees it: float32 [side, side, channels] in [0, 1], gray (BT.601) if 1 channel."""
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    shown = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    return shown.reshape(side, side, channels) / np.float32(255)


def at_size(crop: Pixels, side: int) -> Pixels:
    """Return a crop at the model's size, as its file would resample it: faces of one size are read together."""
    if crop.shape[:2] == (side, side):
        return crop
    return np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR))


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(f"{name} is too large, more than {MOST_PIXELS / 1e6:.0f} million pixels")
    if min(width, height) < SMALLEST_SIDE:
        raise InputError(f"{name} is {width}x{height} pixels: too small to hold a face (at least {SMALLEST_SIDE})")

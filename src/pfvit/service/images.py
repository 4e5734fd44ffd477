"""Pictures in, from their bytes; and out: the views of a face, in the format that the caller accepts."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from pfvit.config import Limits
from pfvit.data import images
from pfvit.data.images import SMALLEST_SIDE, Metadata, Photo, Pixels
from pfvit.inference.reading import Reading
from pfvit.rendering import heat
from pfvit.service.errors import Problem

View = Literal["face", "reconstruction", "poker", "map", "photo"]
Which = int | Literal["all"]

#: Media type -> Pillow's format and how to save it: quickly, as a dial waits for it. Earlier ones win ties.
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "image/png": ("PNG", {"compress_level": 1}),
    "image/webp": ("WEBP", {"quality": 90, "method": 0}),
    "image/jpeg": ("JPEG", {"quality": 92}),
}
MEGA = 1_000_000
#: Each scan of a JPEG is a pass over all its pixels, at the price of a few bytes; progressive ones have about ten.
START_OF_SCAN, MOST_SCANS = b"\xff\xda", 32
#: Millions of pixels of a face that is drawn: the change is added in floats, some 40 bytes for each.
MOST_DRAWN = 16
WEBP_SIDE = 16383  # the format has 14 bits for it


def decoded(content: bytes, limits: Limits) -> Photo:
    """Return a picture's pixels and metadata; Problem for what is none, from its header where that is enough."""
    try:
        with Image.open(io.BytesIO(content), formats=images.FORMATS) as image:
            width, height = image.size
            if width * height > limits.megapixels * MEGA:
                raise _too_many_pixels(limits)
            if min(width, height) < SMALLEST_SIDE:
                raise Problem("image-too-small", f"{width}x{height} pixels; at least {SMALLEST_SIDE} a side are needed")
            if image.format in ("JPEG", "MPO") and content.count(START_OF_SCAN) > MOST_SCANS:
                raise Problem("damaged-image", "it is drawn in far too many passes")
            return images.as_photo(image)
    except Problem:
        raise
    except UnidentifiedImageError:
        raise Problem("not-an-image", f"send one of {', '.join(images.FORMATS)}") from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(limits) from None
    except Exception:  # Pillow's readers raise nearly every built-in kind on damaged files
        raise Problem("damaged-image") from None


def accepted(accept: str) -> str:
    """Return the media type of ours that an Accept header prefers; Problem if it takes none of them."""
    wanted: dict[str, tuple[int, float]] = {}
    for part in (accept or "*/*").split(","):
        name, *options = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    quality = float(option[2:])
                except ValueError:
                    quality = 0.0
        for precision, pattern in enumerate(("*/*", "image/*")):
            if name == pattern:
                for ours in FORMATS:
                    wanted[ours] = max(wanted.get(ours, (precision, quality)), (precision, quality))
        if name in FORMATS:
            wanted[name] = (2, quality)
    able = [(quality, ours) for ours, (_, quality) in wanted.items() if 0 < quality <= 1]
    if not able:
        raise Problem("not-acceptable", f"choose from {', '.join(FORMATS)}")
    return max(able, key=lambda item: (item[0], wanted[item[1]][0], -list(FORMATS).index(item[1])))[1]


def drawing(view: View, which: Which, strength: float, media_type: str) -> Callable[[Photo, list[Reading]], bytes]:
    """Return what makes a picture file from a photo and the faces read in it."""

    def finish(photo: Photo, faces: list[Reading]) -> bytes:
        chosen = _chosen(faces, which)
        if max(face.crop.size for face in chosen) > MOST_DRAWN * MEGA * 3:
            raise Problem("too-many-pixels", f"a face to be drawn may have at most {MOST_DRAWN} million pixels")
        if view == "photo":
            pixels = photo.pixels
            for face in chosen:
                pixels = face.paste_back(pixels, strength)
            return encoded(pixels, media_type, photo.metadata)
        return encoded(picture(chosen[0], view, strength), media_type, photo.metadata._replace(exif=None))

    return finish


def picture(face: Reading, view: View, strength: float) -> Pixels:
    """Return one view of a face, uint8 [height, width, 3]; the map glows over the face in its own size."""
    if view == "face":
        return face.crop
    if view == "reconstruction":
        return face.reconstruction
    if view == "poker":
        return face.poker_face(strength)
    glow = Image.fromarray(heat(face.expression_map)).resize(face.crop.shape[1::-1], Image.Resampling.BICUBIC)
    under = Image.fromarray(face.crop).convert("L").convert("RGBA")
    under.alpha_composite(glow)
    return np.asarray(under.convert("RGB"))


def encoded(pixels: Pixels, media_type: str, metadata: Metadata) -> bytes:
    """Return a picture file with the colour profile and EXIF of the photo that it was made of."""
    if media_type == "image/webp" and max(pixels.shape[:2]) > WEBP_SIDE:
        raise Problem("not-acceptable", f"WebP holds at most {WEBP_SIDE} pixels a side: accept image/png")
    name, options = FORMATS[media_type]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **options, **metadata.save_options())
    return file.getvalue()


def _too_many_pixels(limits: Limits) -> Problem:
    return Problem("too-many-pixels", f"at most {limits.megapixels:g} million")


def _chosen(faces: list[Reading], which: Which) -> list[Reading]:
    if not faces:
        raise Problem("no-face", "if the image is one face already cropped, add whole=true")
    if which == "all":
        return faces
    if which >= len(faces):
        raise Problem("no-such-face", f"faces are numbered from 0, and the last is {len(faces) - 1}")
    return faces[which : which + 1]

"""Pictures in, from their bytes; and out: the views of a face, in the format that the caller accepts."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from PIL import Image

from pfvit.config import Limits
from pfvit.data import images, picture_cost
from pfvit.data.images import Metadata, Photo, Pixels
from pfvit.data.picture_cost import Limit
from pfvit.errors import PictureError, TooLargeError, TooSmallError, UnknownFormatError
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
#: Bytes that reading a picture may take: enough for a JPEG or PNG of 50 million pixels and for a telephone's WebP of
#: 12.5 million, and the service stays below 400 MB.
MOST_MEMORY = 220_000_000
#: Millions of pixels of a face that is drawn: the change is added in floats, some 40 bytes for each.
MOST_DRAWN = 16
WEBP_SIDE = 16383  # the format has 14 bits for it


def weigh(content: bytes, limits: Limits) -> int:
    """Return how many bytes a picture takes while it is read; Problem if that is too much, or for what is none."""
    with _problems(limits):
        header = picture_cost.check(io.BytesIO(content), "the image", _limit(limits))
    return 0 if header is None else header.memory


def decoded(content: bytes, limits: Limits) -> Photo:
    """Return a picture's pixels and metadata; Problem for what is none, from its header where that is enough."""
    with _problems(limits):
        return images.decode_photo(content, "the image", _limit(limits), rare=False)


def _limit(limits: Limits) -> Limit:
    return Limit(round(limits.megapixels * MEGA), MOST_MEMORY, strict=True)


@contextmanager
def _problems(limits: Limits) -> Iterator[None]:
    try:
        yield
    except TooLargeError as error:
        raise Problem("too-many-pixels", f"at most {limits.megapixels:g} million; {error}") from None
    except TooSmallError as error:
        raise Problem("image-too-small", str(error)) from None
    except UnknownFormatError:
        raise Problem("not-an-image", f"send one of {', '.join(images.FORMATS)}") from None
    except PictureError as error:
        raise Problem("damaged-image", str(error)) from None


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


def _chosen(faces: list[Reading], which: Which) -> list[Reading]:
    if not faces:
        raise Problem("no-face", "if the image is one face already cropped, add whole=true")
    if which == "all":
        return faces
    if which >= len(faces):
        raise Problem("no-such-face", f"faces are numbered from 0, and the last is {len(faces) - 1}")
    return faces[which : which + 1]

"""Pictures in, from their bytes; and the views of a face to be sent out, in the format that the caller accepts."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from PIL import Image

from pfvit.config import Limits
from pfvit.data import images, picture_cost
from pfvit.data.images import Photo, Pixels
from pfvit.data.picture_cost import Limit
from pfvit.errors import PictureError, TooLargeError, TooSmallError, UnknownFormatError
from pfvit.inference.face_edit import STRIP, drawing_memory, paste_into
from pfvit.inference.reading import Reading
from pfvit.rendering import heat
from pfvit.service.encoding import FORMATS, encoded_as_any
from pfvit.service.errors import Problem
from pfvit.utils.memory import give_back

View = Literal["face", "reconstruction", "poker", "map", "photo"]
Which = int | Literal["all"]

MEGA = 1_000_000
#: Bytes that reading a picture may take: enough for a JPEG or PNG of 50 million pixels and for a telephone's WebP of
#: 12.5 million, and the service stays below 400 MB.
MOST_MEMORY = 220_000_000
#: Millions of pixels of a face that is drawn, and bytes that the photo, its faces, the drawing and the file may take.
MOST_DRAWN, MOST_DRAWN_MEMORY = 16, 200_000_000
#: Bytes for each pixel while a picture is drawn: the photo, a face as large as it, the drawing, the encoder of WebP.
DRAWN = 18


def weigh(content: bytes, limits: Limits, draws: bool = False) -> int:
    """Return how many bytes a picture takes while it is read, and drawn if it is; Problem if reading it would be too
    much, or for what is none."""
    with _problems(limits):
        header = picture_cost.check(io.BytesIO(content), "the image", _limit(limits))
    if header is None:
        return 0
    return max(header.memory, DRAWN * header.width * header.height if draws else 0)


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


def accepted(accept: str) -> list[str]:
    """Return the media types of ours that an Accept header takes, preferred ones first; Problem if there is none."""
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
    able = [ours for ours, (_, quality) in wanted.items() if 0 < quality <= 1]
    if not able:
        raise Problem("not-acceptable", f"choose from {', '.join(FORMATS)}")
    return sorted(able, key=lambda ours: (-wanted[ours][1], -wanted[ours][0], list(FORMATS).index(ours)))


def drawing(
    view: View, which: Which, strength: float, media_types: Sequence[str]
) -> Callable[[Photo, list[Reading]], tuple[str, bytes]]:
    """Return what makes a picture file from a photo and the faces read in it, and says of which of some media types:
    the first that can hold it. It overwrites their pixels."""

    def finish(photo: Photo, faces: list[Reading]) -> tuple[str, bytes]:
        chosen = _chosen(faces, which)
        room = _room(photo, faces, chosen, changed=view in ("poker", "photo") and strength != 0)
        if view == "photo":
            drawing_with = chosen[0].generator.photo
            while chosen:  # what was drawn goes with its face
                chosen.pop(0).paste_into(photo.pixels, strength)
            if photo.pixels.nbytes > MOST_MEMORY // 2:
                if drawing_with is not None:
                    drawing_with.give_back()
                give_back()
            return encoded_as_any(photo.pixels, media_types, photo.metadata, room)
        metadata = photo.metadata._replace(exif=None, alpha=None)
        return encoded_as_any(picture(chosen[0], view, strength), media_types, metadata, room)

    return finish


def picture(face: Reading, view: View, strength: float) -> Pixels:
    """Return one view of a face, uint8 [height, width, 3]; the map glows over the face in its own size.

    The crop itself is overwritten by the poker face and the map, as those of a large face take much memory.
    """
    if view == "reconstruction":
        return face.reconstruction
    if view == "poker" and strength != 0:
        paste_into(face.crop, face.change(strength), None)
    if view == "map":
        _glow(face.crop, heat(face.expression_map))
    return face.crop


def _glow(crop: Pixels, colours: Pixels) -> None:
    """Lay colours with opacity, uint8 [size, size, 4], over a crop in gray; strip by strip, as all take 12 bytes a
    pixel."""
    height, width = crop.shape[:2]
    rows = Image.fromarray(colours)
    if rows.size != (width, height):  # Pillow resizes colours that are multiplied by their opacity, along rows first
        rows = rows.convert("RGBa").resize((width, len(colours)), Image.Resampling.BICUBIC)
    wide = max(1, STRIP // height)
    for left in range(0, width, wide):
        part = crop[:, left : left + wide]
        glow = rows.crop((left, 0, left + part.shape[1], len(colours)))
        under = Image.fromarray(part).convert("L").convert("RGBA")
        under.alpha_composite(glow.resize(under.size, Image.Resampling.BICUBIC).convert("RGBA"))
        part[:] = np.asarray(under.convert("RGB"))


def _room(photo: Photo, faces: list[Reading], chosen: list[Reading], changed: bool) -> int:
    """Return how many bytes there are beside a photo and the faces in it; Problem if those chosen cannot be `changed`
    in them."""
    if max(face.crop.size for face in chosen) > MOST_DRAWN * MEGA * 3:
        raise Problem("too-many-pixels", f"a face to be drawn may have at most {MOST_DRAWN} million pixels")
    alpha = photo.metadata.alpha
    held = photo.pixels.nbytes + (0 if alpha is None else alpha.nbytes)
    held += sum(face.crop.nbytes for face in faces if face.frame is not None)
    room = MOST_DRAWN_MEMORY - held
    if changed and max(drawing_memory(*face.crop.shape[1::-1]) for face in chosen) > room:
        raise Problem(
            "too-many-pixels", "to draw a face this large in its photo takes too much memory: send a smaller photo"
        )
    return room


def _chosen(faces: list[Reading], which: Which) -> list[Reading]:
    if not faces:
        raise Problem("no-face", "if the image is one face already cropped, add whole=true")
    if which == "all":
        return faces
    if which >= len(faces):
        raise Problem("no-such-face", f"faces are numbered from 0, and the last is {len(faces) - 1}")
    return faces[which : which + 1]

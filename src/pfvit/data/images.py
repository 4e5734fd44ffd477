"""Picture files in: any format that Pillow decodes itself -> uint8 RGB as a person would see it, or a clear refusal."""

import io
import warnings
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, features

from pfvit.data import gray_values, picture_cost, tiff
from pfvit.data.formats import HEAD, kind_of, mistaken_for
from pfvit.data.picture_cost import LIMIT, Limit
from pfvit.data.pixel_memory import BAND, PixelMemory
from pfvit.errors import PictureError, TooSmallError, UnknownFormatError, without_frames
from pfvit.utils.budget import Budget
from pfvit.utils.cores import cores
from pfvit.utils.memory import give_back_after

#: Smaller pictures hold no face that anyone could read.
SMALLEST_SIDE = 8
#: Only formats that Pillow decodes itself: its EPS reader, for one, starts Ghostscript on the file. These are tried
#: first; the others only where the first bytes say so, as Pillow loads all its formats for them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
RARE = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
#: Packages that teach Pillow HEIC, an iPhone's format; the first carries a decoder alone.
HEIF_PACKAGES = ("pi_heif", "pillow_heif")
PAPER = (255, 255, 255)  # what shows through where a picture is transparent
Pixels = NDArray[np.uint8]
#: What the decoders of all threads take together: a picture of the largest size, or one of 12 million pixels each.
ROOM = Budget(max(LIMIT.memory, cores() * 110_000_000))


class Metadata(NamedTuple):
    """What a picture file says besides its pixels: to be kept where the picture is written again."""

    icc_profile: bytes | None = None
    """The colour profile, if it is one for RGB."""
    exif: bytes | None = None
    """As it is in the file. Its orientation is applied to the pixels already."""
    alpha: Pixels | None = None
    """uint8 [height, width]: opacity, if the picture has any."""

    def save_options(self) -> dict[str, bytes]:
        """Return what Pillow's `save` takes to keep profile and EXIF; EXIF loses its orientation, and is left out if it
        is damaged."""
        options = {} if self.icc_profile is None else {"icc_profile": self.icc_profile}
        with QUIET, suppress(Exception):  # Pillow raises nearly every built-in kind
            if self.exif is not None:
                read = Image.Exif()
                read.load(self.exif)
                read.pop(ExifTags.Base.Orientation, None)
                options["exif"] = read.tobytes()
        return options


class Photo(NamedTuple):
    """A decoded picture."""

    pixels: Pixels
    """uint8 [height, width, 3], RGB, upright, what is transparent over white."""
    metadata: Metadata = Metadata()


class _Quiet:
    """Leaves out Pillow's warnings of sizes and stray metadata while any thread is in it; the limits are ours.

    `warnings.catch_warnings` is not made for threads: the last to leave could put another one's filters back for good.
    """

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pfvit\.data)\.")
            self.inside += 1

    def __exit__(self, *problem: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.filters.__exit__(None, None, None)


#: One for all threads.
QUIET = _Quiet()


def decode(image: bytes | BinaryIO, name: str = "the picture") -> Pixels:
    """Return a picture file's pixels as uint8 [height, width, 3], RGB, upright, transparency over white.

    Of an animation or a stack it is the first frame. More than eight bits are scaled to eight. Raise PictureError,
    beginning with `name`, for anything that is no picture, is damaged, too large (before decoding it) or too small.
    """
    return decode_photo(image, name).pixels


def decode_photo(image: bytes | BinaryIO, name: str = "the picture", limit: Limit = LIMIT, rare: bool = True) -> Photo:
    """Return a picture file's pixels, as `decode` does, with what else the file says.

    What it will cost is known from its header: more than `limit` is refused before a decoder runs, and pictures that
    are decoded at once in several threads wait for each other if they are large. Formats of RARE only if `rare`.
    """
    made = _photo_or_error(image, name, limit, rare)
    try:
        if isinstance(made, PictureError):
            raise made
        return made
    finally:
        del made  # an error that this frame holds, and whose traceback holds the frame, would stay in memory


def _photo_or_error(image: bytes | BinaryIO, name: str, limit: Limit, rare: bool) -> Photo | PictureError:
    """Return the error as a value, without the frames that hold what was decoded before it."""
    file, header = io.BytesIO(image) if isinstance(image, bytes) else image, None
    try:
        header = picture_cost.check(file, name, limit)
        with ROOM.take(0 if header is None else header.memory), QUIET, _opened(file, name, rare) as picture:
            if header is None:
                size = file.seek(0, io.SEEK_END)
                picture_cost.check_cost(picture_cost.opened(*picture.size, size), name, limit, size)
            check_size(*picture.size, name, limit.pixels)
            tiff.check(picture, name)
            return _photo(picture, PixelMemory.of(picture), name)
    except PictureError as problem:
        return without_frames(problem)
    except Image.DecompressionBombError:
        return picture_cost.too_large(name, limit.pixels)
    except MemoryError:
        return PictureError(f"{name} does not fit in memory")
    except Exception as problem:  # Pillow's decoders raise nearly every built-in kind on damaged files
        return PictureError(f"{name} is damaged or cut short: {problem}")
    finally:
        give_back_after(0 if header is None else header.memory)


def _opened(file: BinaryIO, name: str, rare: bool) -> Image.Image:
    start = file.tell()
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(start)
        head = file.read(HEAD)
        file.seek(start)
        if why := mistaken_for("a picture", head) if head else "is empty":
            raise UnknownFormatError(f"{name} {why}") from None
        kind = kind_of(head)
        if kind in FORMATS:
            why = "and is damaged or a kind of it that is not read (with numbers of 64 bits, say): save it as PNG"
            raise PictureError(f"{name} begins as a {kind}, {why}") from None
        if not rare:
            raise UnknownFormatError(f"{name} is not a picture that can be read: send {', '.join(FORMATS)}") from None
        return Image.open(file, formats=_rare(kind, name))


def _rare(kind: str | None, name: str) -> tuple[str, ...]:
    """Return Pillow's name of a rare format in a tuple, if it can be read here; PictureError that says what it is."""
    if kind == "HEIF":
        for package in HEIF_PACKAGES:
            with suppress(ImportError):
                __import__(package).register_heif_opener()
                return (kind,)
        raise PictureError(f'{name} is a HEIC picture: pip install "pfvit[heic]" reads it, or export it as JPEG')
    if kind in RARE:
        if features.check(RARE[kind]):
            return (kind,)
        raise PictureError(f"{name} is of the format {kind}, which this Pillow was built without: update it")
    if kind == "video":
        raise UnknownFormatError(f"{name} is a video, not a picture: `pfvit video` reads it")
    if kind is None:
        raise UnknownFormatError(f"{name} is not a picture that can be read ({', '.join((*FORMATS, *RARE))})")
    raise UnknownFormatError(f"{name} is a {kind}, not a picture that can be read: export it as JPEG or PNG")


def cell_bytes(cell: object, name: str) -> bytes:
    """Return the file in a cell of an image column: bytes, or the struct that Hugging Face `datasets` writes."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, PictureError):
        raise content
    if not isinstance(content, bytes):
        raise PictureError(f"{name} has no picture bytes")
    return content


def as_photo(picture: Image.Image, name: str = "the picture") -> Photo:
    """Return any Pillow image's pixels, turned as its EXIF says, with what else it says."""
    return _photo(picture, None, name)


def _photo(picture: Image.Image, memory: PixelMemory | None, name: str) -> Photo:
    """Return pixels and metadata of a picture that is decoded in `memory`, or in Pillow's own if that is None."""
    if memory is None:
        picture.load()
    profile, exif = picture.info.get("icc_profile"), picture.info.get("exif")
    profile = profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None
    exif = exif if isinstance(exif, bytes) else None
    turn = 1
    with suppress(Exception):  # damaged metadata does not make the pixels unreadable
        if picture.info or picture.format == "TIFF":
            turn = picture.getexif().get(ExifTags.Base.Orientation, 1)
    pixels, alpha = _upright(picture, turn if isinstance(turn, int) and 1 <= turn <= 8 else 1, memory, name)
    return Photo(pixels, Metadata(profile, exif, None if alpha is None or alpha.min() == 255 else alpha))


def _upright(picture: Image.Image, turn: int, memory: PixelMemory | None, name: str) -> tuple[Pixels, Pixels | None]:
    """Return RGB over white, and the opacity if there is any, turned by an EXIF orientation.

    Some lines are converted at a time, so that nothing beside the image and the result is as large as they are.
    """
    width, height = picture.size
    lines = max(1, BAND // (4 * width))
    tops = range(0, height, lines)

    def bands() -> Iterator[tuple[slice, Image.Image]]:
        for top in tops:
            some = slice(top, min(top + lines, height))
            yield some, picture if len(tops) == 1 else picture.crop((0, some.start, width, some.stop))

    size = (width, height) if turn >= 5 else (height, width)
    pixels = np.empty((*size, 3), np.uint8)
    shown = _as_stored(pixels, turn)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        alpha = np.empty(size, np.uint8)
        opacity = _as_stored(alpha, turn)
        if memory is not None:
            for rows, columns, part in memory.parts(turn >= 5, _with_opacity):
                shown[rows, columns], opacity[rows, columns] = part[:, :, :3], part[:, :, 3]
            return pixels, alpha
        for some, band in bands():
            shown[some], opacity[some] = _over_paper(band)
        return pixels, alpha
    if picture.mode.startswith("I") or picture.mode == "F":
        meant = tiff.meaning(picture)
        least, largest = zip(*(gray_values.extent(meant(np.asarray(band))) for _, band in bands()), strict=True)
        most = max(largest)
        gray_values.check(min(least), most, name)
        for some, band in bands():
            shown[some] = gray_values.eight_bits(meant(np.asarray(band)), most)[:, :, None]
        return pixels, None
    if memory is not None and picture.format == "PNG":
        for rows, columns, part in memory.parts(turn >= 5, lambda stored: stored[:, :, :3]):
            shown[rows, columns] = part
        return pixels, None
    if memory is not None:

        def put(rows: slice, part: Pixels) -> None:
            shown[rows] = part[:, :, :3]

        if memory.stream(picture, put):
            return pixels, None
    for some, band in bands():
        if picture.mode == "L":
            shown[some] = np.asarray(band)[:, :, None]
        else:
            shown[some] = np.asarray(band if band.mode == "RGB" else band.convert("RGB"))
    return pixels, None


def _as_stored(upright: NDArray, turn: int) -> NDArray:
    """Return a view of an upright picture that has its pixels where a file with this EXIF orientation has them."""
    seen = upright.swapaxes(0, 1) if turn >= 5 else upright
    return seen[:: -1 if turn in (3, 4, 6, 7) else 1, :: -1 if turn in (2, 3, 7, 8) else 1]


def _over_paper(picture: Image.Image) -> tuple[Pixels, Pixels]:
    """Return what is seen of a transparent picture over white, and its opacity."""
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    cut_out = picture.convert("RGBA")
    paper = Image.new("RGBA", cut_out.size, (*PAPER, 255))
    paper.alpha_composite(cut_out)
    return np.asarray(paper)[:, :, :3], np.asarray(cut_out)[:, :, 3]


def _with_opacity(stored: Pixels) -> Pixels:
    """Return RGB over white and the opacity of RGBA, uint8 [height, width, 4]."""
    seen, opacity = _over_paper(Image.fromarray(stored, "RGBA"))
    return np.dstack([seen, opacity])


def _repeated(gray: Pixels) -> Pixels:
    return np.repeat(gray[:, :, None], 3, axis=2)


def from_array(pixels: np.ndarray, name: str = "the array") -> Pixels:
    """Check an array of pixels and return it as uint8 [height, width, 3]; gray [height, width] is repeated.

    Raise PictureError for other shapes or types: floats have no range that could be guessed safely.
    """
    if pixels.dtype != np.uint8:
        raise PictureError(f"{name} has {pixels.dtype} pixels; give uint8 from 0 to 255")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        pixels = _repeated(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        hint = "; channels come last, as `permute(1, 2, 0)` puts them" if pixels.shape[:1] == (3,) else ""
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            hint = "; `[:, :, :3]` leaves the opacity out"
        raise PictureError(f"{name} has shape {pixels.shape}; give [height, width, 3] in RGB, or [height, width]{hint}")
    check_size(pixels.shape[1], pixels.shape[0], name)
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
    lines = max(1, BAND // (4 * crop.shape[1]))
    if len(crop) > lines:  # Pillow copies what it resizes; it too resizes along the rows first
        parts = [crop[top : top + lines] for top in range(0, len(crop), lines)]
        crop = np.concatenate([_resized(part, side, len(part)) for part in parts])
    return _resized(crop, side, side)


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def check_size(width: int, height: int, name: str, most: int = LIMIT.pixels) -> None:
    """Refuse a picture that is too large to decode or too small to hold a face."""
    if width * height > most:
        raise picture_cost.too_large(name, most)
    if min(width, height) < SMALLEST_SIDE:
        raise TooSmallError(f"{name} is {width}x{height} pixels: too small to hold a face (at least {SMALLEST_SIDE})")

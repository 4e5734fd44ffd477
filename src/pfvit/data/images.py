"""Picture files in: any format that Pillow decodes itself -> uint8 RGB as a person would see it, or a clear refusal."""

import io
import warnings
from contextlib import suppress
from threading import Lock
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from pfvit.data.formats import HEAD, kind_of
from pfvit.errors import InputError, PictureError

#: Most pixels that are decoded: Pillow's own limit, 0.5 GB as RGB. Larger ones are refused from their header.
MOST_PIXELS = 178_956_970
#: Smaller pictures hold no face that anyone could read.
SMALLEST_SIDE = 8
#: Only formats that Pillow decodes itself: its EPS reader, for one, starts Ghostscript on the file. These are tried
#: first; the others only where the first bytes say so, as Pillow loads all its formats for them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
RARE = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
#: Packages that teach Pillow HEIC, an iPhone's format; the first carries a decoder alone.
HEIF_PACKAGES = ("pi_heif", "pillow_heif")
#: Bits of gray values: cameras and scanners put 10 or 12 of them in 16, and measurements 8 in 32.
DEPTHS = (8, 10, 12, 14, 16, 24, 32)
PAPER = (255, 255, 255)  # what shows through where a picture is transparent
Pixels = NDArray[np.uint8]


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
        with suppress(Exception):  # Pillow raises nearly every built-in kind
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


_QUIET = _Quiet()


def decode(image: bytes | BinaryIO, name: str = "the picture") -> Pixels:
    """Return a picture file's pixels as uint8 [height, width, 3], RGB, upright, transparency over white.

    Of an animation or a stack it is the first frame. More than eight bits are scaled to eight. Raise PictureError,
    beginning with `name`, for anything that is no picture, is damaged, too large (before decoding it) or too small.
    """
    return decode_photo(image, name).pixels


def decode_photo(image: bytes | BinaryIO, name: str = "the picture") -> Photo:
    """Return a picture file's pixels, as `decode` does, with what else the file says."""
    file = io.BytesIO(image) if isinstance(image, bytes) else image
    try:
        with _QUIET, _opened(file, name) as picture:
            check_size(*picture.size, name)
            return as_photo(picture)
    except InputError:
        raise
    except Image.DecompressionBombError as problem:
        raise PictureError(f"{name} is too large, more than {MOST_PIXELS / 1e6:.0f} million pixels") from problem
    except MemoryError as problem:
        raise PictureError(f"{name} does not fit in memory") from problem
    except Exception as problem:  # Pillow's decoders raise nearly every built-in kind on damaged files
        raise PictureError(f"{name} is damaged or cut short: {problem}") from problem


def _opened(file: BinaryIO, name: str) -> Image.Image:
    start = file.tell()
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(start)
        kind = kind_of(file.read(HEAD))
        file.seek(start)
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
        raise PictureError(f"{name} is a video, not a picture: `pfvit video` reads it")
    if kind is None or kind in FORMATS:
        raise PictureError(f"{name} is not a picture that can be read ({', '.join((*FORMATS, *RARE))})")
    raise PictureError(f"{name} is a {kind}, not a picture that can be read: export it as JPEG or PNG")


def decode_cell(cell: object, name: str) -> Pixels:
    """Return the pixels in a cell of an image column; PictureError if it holds no picture."""
    return decode(cell_bytes(cell, name), name)


def cell_bytes(cell: object, name: str) -> bytes:
    """Return the file in a cell of an image column: bytes, or the struct that Hugging Face `datasets` writes."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes):
        raise PictureError(f"{name} has no picture bytes")
    return content


def as_rgb(picture: Image.Image) -> Pixels:
    """Return any Pillow image as uint8 [height, width, 3], turned as its EXIF says."""
    return as_photo(picture).pixels


def as_photo(picture: Image.Image) -> Photo:
    """Return any Pillow image's pixels, turned as its EXIF says, with what else it says."""
    picture.load()
    profile, exif = picture.info.get("icc_profile"), picture.info.get("exif")
    profile = profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None
    exif = exif if isinstance(exif, bytes) else None
    with suppress(Exception):  # damaged metadata does not make the pixels unreadable
        if (picture.info or picture.format == "TIFF") and picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    alpha = None
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
        cut_out = picture.convert("RGBA")
        alpha = np.asarray(cut_out)[:, :, 3].copy()
        picture = Image.new("RGBA", cut_out.size, (*PAPER, 255))
        picture.alpha_composite(cut_out)
    return Photo(_rgb(picture), Metadata(profile, exif, None if alpha is None or alpha.min() == 255 else alpha))


def _rgb(picture: Image.Image) -> Pixels:
    if picture.mode == "L":
        return _repeated(np.asarray(picture))
    if picture.mode.startswith("I") or picture.mode == "F":
        return _repeated(eight_bits(np.asarray(picture)))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def eight_bits(values: NDArray) -> Pixels:
    """Scale gray values of another type to 0 ... 255: floats up to 1 from there, others from the bits that hold them.

    Those are the fewest of DEPTHS that hold the largest value, so that 12 bits kept in 16 are not nearly black.
    """
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float32))
    most = float(numbers.max(initial=0))
    if values.dtype.kind == "f" and most <= 1:
        scale = 255.0
    else:
        scale = 255 / (2 ** next((bits for bits in DEPTHS if round(most) < 2**bits), DEPTHS[-1]) - 1)
    return np.clip(np.rint(numbers * np.float32(scale)), 0, 255).astype(np.uint8)


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
        turned = "; channels come last, as `permute(1, 2, 0)` puts them" if pixels.shape[:1] == (3,) else ""
        raise PictureError(
            f"{name} has shape {pixels.shape}; give [height, width, 3] in RGB, or [height, width]{turned}"
        )
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
    return np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR))


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture that is too large to decode or too small to hold a face."""
    if width * height > MOST_PIXELS:
        raise PictureError(f"{name} is too large, more than {MOST_PIXELS / 1e6:.0f} million pixels")
    if min(width, height) < SMALLEST_SIDE:
        raise PictureError(f"{name} is {width}x{height} pixels: too small to hold a face (at least {SMALLEST_SIDE})")

"""Whatever may stand for a picture in Python: a path, bytes, an open file, a Pillow image, an array, a tensor."""

import errno
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.data import images, tiff
from pfvit.data.formats import RAW, is_address
from pfvit.data.images import Photo
from pfvit.errors import InputError, PictureError

#: Most bytes that are read from what does not say its size: pipes and sockets.
MOST_BYTES = 1_000_000_000
SHOWN = 20  # characters of what stands for a picture in text
KINDS = "a path, bytes, an open file, a Pillow image, or a uint8 array [height, width, 3]"


class Array(Protocol):
    """What numpy makes an array of: a tensor of PyTorch, for one."""

    def __array__(self) -> NDArray: ...


Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray | Array


class Item(NamedTuple):
    """A picture to read, with a name for its results."""

    source: str
    """Its name in results."""
    picture: Picture | PictureError
    """The picture, or why there is none."""
    name: str = ""
    """Its name in messages, if it should differ from `source`."""
    key: Any = None
    """Anything; it is returned with the result."""


def load(picture: Picture, name: str | None = None) -> Photo:
    """Decode one picture, whatever stands for it; PictureError that begins with `name` if it cannot be."""
    name = name_of(picture) if name is None else name
    try:
        return _load(picture, name)
    except InputError:
        raise
    except MemoryError as problem:
        raise PictureError(f"{name} does not fit in memory") from problem
    except Exception as problem:  # anything may stand behind `__array__` or `read`
        raise PictureError(f"{name} cannot be read: {str(problem) or type(problem).__name__}") from problem


def name_of(picture: object) -> str:
    """Return a name to call a picture by: its path, or what it says of itself."""
    if isinstance(picture, (str, os.PathLike)):
        return os.fsdecode(picture)
    name = getattr(picture, "filename", None) or getattr(picture, "name", None)
    return name if isinstance(name, str) else "the picture"


def _load(picture: object, name: str) -> Photo:
    if isinstance(picture, Image.Image):
        return _of_pillow(picture, name)
    if isinstance(picture, (str, os.PathLike)):
        return _of_path(os.fsdecode(picture), name)
    if isinstance(picture, memoryview) and picture.ndim > 1:  # of an array
        picture = np.asarray(picture)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return images.decode_photo(bytes(picture), name)
    if hasattr(picture, "read"):
        return _of_file(picture, name)
    if hasattr(picture, "__array__") or hasattr(picture, "__array_interface__"):
        return Photo(images.from_array(np.asarray(picture), name))
    with suppress(TypeError):  # array.array, and whatever else shows its bytes
        view = memoryview(cast(Any, picture))
        return images.decode_photo(bytes(view), name)
    many = "; `read_each` takes many pictures" if isinstance(picture, (list, tuple, set)) else ""
    raise PictureError(f"give {KINDS}, not {type(picture).__name__}{many}")


def _of_pillow(picture: Image.Image, name: str) -> Photo:
    images.check_size(*picture.size, name)
    tiff.check(picture, name)
    try:
        return images.as_photo(picture, name)
    except (AssertionError, ValueError) as problem:  # what Pillow raises for a file that is gone
        file = getattr(picture, "fp", None)
        if file is None or getattr(file, "closed", False):
            raise PictureError(f"{name} was closed before it was read: read it inside its `with`") from problem
        raise PictureError(f"{name} is damaged or cut short: {problem}") from problem
    except OSError as problem:
        raise PictureError(f"{name} is damaged or cut short: {problem}") from problem


def _of_path(path: str, name: str) -> Photo:
    if not path:
        raise PictureError(f"give {KINDS}, not an empty name")
    if path.startswith("data:"):
        hint = "base64.b64decode(address.partition(',')[2])"
        raise PictureError(f"an address that begins with {path[:SHOWN]!r} holds the picture as text: give {hint}")
    if os.path.isdir(path):  # noqa: PTH112 (which raises for names that no file can have)
        raise PictureError(f"{name} is a folder: give a picture, or the files in it to `Reader.stream`")
    if Path(path).suffix.lower() in RAW:
        raise PictureError(f"{name} is a camera's raw file: develop it to JPEG or TIFF first")
    try:
        with Path(path).open("rb") as file:
            return _of_file(file, name)
    except (OSError, ValueError) as problem:  # ValueError: a name with a NUL in it
        if is_address(path):
            raise PictureError(f"{path} is an address: download it first") from problem
        if getattr(problem, "errno", None) == errno.ENAMETOOLONG:  # as base64 text is
            told = f"{path[:SHOWN]!r}... is too long to be the name of a file: give base64.b64decode(text) of base64"
            raise PictureError(told) from problem
        raise PictureError(f"{name} cannot be opened: {getattr(problem, 'strerror', None) or problem}") from problem


def _of_file(file: Any, name: str) -> Photo:
    """Read an open file; a pipe, a socket or an answer over HTTP is taken in whole first, as decoders jump about."""
    if not (hasattr(file, "seekable") and file.seekable()):
        content = file.read(MOST_BYTES + 1)
        if not isinstance(content, bytes):
            raise PictureError(f"{name} is open as text: open it with mode 'rb'")
        if len(content) > MOST_BYTES:
            raise PictureError(f"{name} is too large, more than {MOST_BYTES / 1e6:.0f} MB")
        file = io.BytesIO(content)
    elif isinstance(file, io.TextIOBase):
        raise PictureError(f"{name} is open as text: open it with mode 'rb'")
    return images.decode_photo(file, name)

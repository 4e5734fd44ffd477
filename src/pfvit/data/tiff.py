"""What the tags of a TIFF file say of its numbers, where Pillow passes it over."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.errors import PictureError

BITS, PHOTOMETRIC, PLANES, SAMPLES = 258, 262, 284, 339
WHITE_IS_ZERO, SEPARATE, UNSIGNED = 0, 2, 1
WHITE = 65535


def check(picture: Image.Image, name: str) -> None:
    """Raise PictureError for what Pillow would read wrongly: colours of more than eight bits in planes of their own."""
    tags = _tags(picture)
    if (
        picture.mode in ("RGB", "RGBA", "RGBX")
        and tags.get(PLANES) == SEPARATE
        and max(_several(tags.get(BITS, 8))) > 8
    ):
        raise PictureError(
            f"{name}: its colours have more than 8 bits, each colour in a plane of its own: save it as PNG"
        )


def meaning(picture: Image.Image) -> Callable[[NDArray], NDArray]:
    """Return what makes brightnesses of the numbers that Pillow gives of a gray picture."""
    tags = _tags(picture)
    if tags and picture.mode == "I" and {*_several(tags.get(SAMPLES, UNSIGNED))} == {UNSIGNED}:
        return lambda values: values.view(np.uint32)  # Pillow's are signed
    if picture.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        return lambda values: WHITE - values
    return lambda values: values


def _tags(picture: Image.Image) -> Any:
    return getattr(picture, "tag_v2", None) or {}


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)

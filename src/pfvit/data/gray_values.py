"""Gray values that are not bytes: how bright they are."""

import numpy as np
from numpy.typing import NDArray

from pfvit.errors import PictureError

#: Bits of gray values: cameras and scanners put 10 or 12 of them in 16, and measurements 8 in 32; numbers with a sign
#: have one less.
DEPTHS = (8, 10, 12, 14, 15, 16, 24, 31, 32)
#: Floats up to 1 are shares of white. Resampled ones go a little beyond it, pictures of a high dynamic range some way;
#: what has only values below this, counted from 0 to 255, would be black.
MOST_SHARE = 16
#: Resampling takes some values a little below 0, in terms of the largest; what goes further has its black elsewhere.
MOST_BELOW = 1 / 8


def eight_bits(values: NDArray, most: float | None = None) -> NDArray[np.uint8]:
    """Scale gray values of another type to 0 ... 255: floats from 0 ... 1 or, far beyond it, as integers, from the bits
    that hold them.

    Those are the fewest of DEPTHS that hold the largest value, so that 12 bits kept in 16 are not nearly black; `most`
    is that value, if these are a part of the picture.
    """
    numbers = _numbers(values)
    most = extent(values)[1] if most is None else most
    if values.dtype.kind == "f" and most < MOST_SHARE:
        scale = 255.0
    else:
        scale = 255 / (2 ** next((bits for bits in DEPTHS if round(most) < 2**bits), DEPTHS[-1]) - 1)
    return np.clip(np.rint(numbers * np.float32(scale)), 0, 255).astype(np.uint8)


def _numbers(values: NDArray) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(values, dtype=np.float32), posinf=np.inf, neginf=-np.inf)


def extent(values: NDArray) -> tuple[float, float]:
    """Return the least and the largest finite value, or 0 if that is nearer: what is infinite is black or white."""
    numbers = _numbers(values)
    finite = np.isfinite(numbers)
    return float(numbers.min(initial=0, where=finite)), float(numbers.max(initial=0, where=finite))


def check(least: float, most: float, name: str) -> None:
    """Raise PictureError if 0 can't be black: in faces normalised to -1 ... 1, for one, the darker half is below it."""
    if least < -MOST_BELOW * max(most, 1):
        raise PictureError(
            f"{name} has gray values from {least:.4g} to {most:.4g}, as pictures normalised for a network have, and 0 "
            "should be black: scale them to 0 to 255, and save it as PNG"
        )

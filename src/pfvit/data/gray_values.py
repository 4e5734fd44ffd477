"""Gray values that are not bytes: how bright they are."""

import numpy as np
from numpy.typing import NDArray

#: Bits of gray values: cameras and scanners put 10 or 12 of them in 16, and measurements 8 in 32; numbers with a sign
#: have one less.
DEPTHS = (8, 10, 12, 14, 15, 16, 24, 31, 32)
#: Floats up to 1 are shares of white. Resampled ones go a little beyond it, pictures of a high dynamic range some way;
#: what has only values below this, counted from 0 to 255, would be black.
MOST_SHARE = 16


def eight_bits(values: NDArray, most: float | None = None) -> NDArray[np.uint8]:
    """Scale gray values of another type to 0 ... 255: floats from 0 ... 1 or, far beyond it, as integers, from the bits
    that hold them.

    Those are the fewest of DEPTHS that hold the largest value, so that 12 bits kept in 16 are not nearly black; `most`
    is that value, if these are a part of the picture.
    """
    numbers = _numbers(values)
    most = largest(values) if most is None else most
    if values.dtype.kind == "f" and most < MOST_SHARE:
        scale = 255.0
    else:
        scale = 255 / (2 ** next((bits for bits in DEPTHS if round(most) < 2**bits), DEPTHS[-1]) - 1)
    return np.clip(np.rint(numbers * np.float32(scale)), 0, 255).astype(np.uint8)


def _numbers(values: NDArray) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(values, dtype=np.float32), posinf=np.inf)


def largest(values: NDArray) -> float:
    """Return the largest finite value: what is infinite is white."""
    numbers = _numbers(values)
    return float(numbers.max(initial=0, where=np.isfinite(numbers)))

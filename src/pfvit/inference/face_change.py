"""How a face changes: a handful of small maps over it.

They say where each pixel is read from (a flow), what light is added, and where detail is smoothed. They come from the
photo model (`movement_change`), or, for faces that only a small drawing model knows, from two drawings
(`pfvit.inference.drawn_change`). `pfvit.inference.face_edit` applies them to photos.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

#: The order of the photo model's maps, and how many channels each has (`pfvit.model.movement.CHANNELS`).
MAPS = {"base": 2, "split": 2, "height": 1, "gate": 1, "light": 3}
#: Where lips part by more, in shares of the side, is the mouth, which is not exaggerated.
PARTED = 0.005
#: Detail is finest if a blur of this standard deviation takes it away, in shares of the face's side.
FINEST = 0.7 / 112


class FaceChange(NamedTuple):
    """How a face changes. All maps have `size` x `size` places over the face's square; x goes right, y down."""

    base: Array
    """[size, size, 2]: from where, relative to itself, a pixel is read, in shares of the face's side."""
    split: Array
    """[size, size, 2]: added to the base above the lip line, subtracted below it; zero away from the mouth."""
    height: Array
    """[size, size]: signed height above the line of the closed lips, in shares of the side; positive above."""
    light: Array
    """[size, size, channels]: added after moving, 1 from black to white; 1 channel is added to all colours alike."""
    smooth: Array | None = None
    """[size, size]: the share of the finest detail that is taken away in the end, from 0 to 1; None takes none."""

    def times(self, share: float) -> "FaceChange":
        """Return this share of the change; the lip line stays where it is.

        Less than 0 gives the opposite, but that lips part no further and stay as bright: there is nothing to see behind
        them, and teeth would show twice.
        """
        factor = np.float32(share)
        if share < 0:
            shut = (1 - np.abs(self.split).max(axis=2, keepdims=True) / np.float32(PARTED)).clip(0, 1)
            light = self.light * enlarged(shut, len(self.light)).clip(0, 1) * factor
            return self._replace(base=self.base * factor, split=np.zeros_like(self.split), light=light, smooth=None)
        smooth = None if self.smooth is None else self.smooth * factor
        return self._replace(
            base=self.base * factor, split=self.split * factor, light=self.light * factor, smooth=smooth
        )


def movement_change(maps: Array) -> FaceChange:
    """Return the change that the photo model's maps [9, size, size] describe.

    The model counts flows in halves of the side, and light on a scale from -1 (black) to 1 (white).
    """
    parts = dict(zip(MAPS, np.split(maps, np.cumsum(list(MAPS.values()))[:-1]), strict=True))
    base, split, light = (np.moveaxis(parts[name], 0, 2) * np.float32(0.5) for name in ("base", "split", "light"))
    return FaceChange(base, split, parts["height"][0], light)


def enlarged(layers: Array, size: int) -> Array:
    """Return maps [own, own, channels] at another size, [size, size, channels], bicubic: a copy."""
    if len(layers) == size:
        return layers.astype(np.float32)
    planes = [
        Image.fromarray(np.ascontiguousarray(layers[..., c])).resize((size, size), Image.Resampling.BICUBIC)
        for c in range(layers.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)

"""A change of expression from two drawings of a face, with and without it: for faces as small as the drawings.

The generator of the 48 px model draws a face; it does not say how the face moves. So the movement is estimated from two
drawings (`pfvit.inference.optical_flow`), and what movement cannot explain, such as teeth that go, is added as light.
On photographs the photo model does better (`pfvit.inference.face_edit.movement_change`).
"""

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels, small
from pfvit.inference.face_change import FaceChange
from pfvit.inference.optical_flow import bend, flow_between, soften

#: A mean change of light of so much, from 0 (none) to 1 (black to white), and the drawing takes over.
TAKE_OVER = 0.04
#: From this probability of neutral on a face is changed less.
CALM = 0.2
SOFTNESS = 5  # binomial smoothings of that mean: nearly a Gaussian of 1.6 pixels


def drawn_change(
    crop: Pixels, before: NDArray[np.float32], after: NDArray[np.float32], gain: float = 1.0
) -> FaceChange:
    """Return how to change a crop, uint8 [height, width, 3], as the drawing `before` changes to `after`.

    Drawings are float32 [size, size, channels] in [0, 1]. Where movement explains little of the change, the crop's own
    fine lines would show through (teeth behind a closed mouth), so there the drawing takes over: what it left out of
    the crop goes too. Generators change too little; `gain` multiplies their change.
    """
    flow = np.float32(gain) * flow_between(before, after)
    bent, wanted = bend(before, flow), before + gain * (after - before)
    left = wanted - bent
    taken = (soften(np.abs(left).mean(axis=2, keepdims=True), SOFTNESS) / TAKE_OVER).clip(0, 1)
    light = left + taken * (bent - bend(small(crop, *before.shape[1:]), flow))
    size = len(before)
    still = np.zeros((size, size, 2), np.float32)
    return FaceChange(flow, still, np.ones((size, size), np.float32), light.astype(np.float32))


def neutral_damping(neutral: float) -> float:
    """Return the share of the change that a face gets, from 0 to 1, by the probability that it is neutral.

    A drawing generator changes every face a little. One that may be neutral has less to take off: the share falls from
    a probability of `CALM` on. Start and power were chosen on training faces: docs/lab-book.md, "Small gray faces".
    """
    return min(1.0, (1 - neutral) / (1 - CALM)) ** 4

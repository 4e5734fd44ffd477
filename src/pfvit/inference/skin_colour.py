"""Give the light of a change the colour of the skin that it falls on.

The photo model adds light that is nearly gray, whatever the skin. On dark and on tinted skin that is a veil of ash:
skin that is lit more is a brighter brown, not a grayer one. So light keeps its brightness, and takes much of its colour
from the face around it: docs/lab-book.md, "Light in the colour of the skin".
"""

import numpy as np

from pfvit.data.contrast import in_good_light
from pfvit.data.images import Pixels, at_size
from pfvit.inference.face_change import FaceChange, enlarged

#: The colour is that of the crop at so many pixels a side.
PLACES = 14
#: So far light goes from gray to that colour, as all of it makes cheeks red; so much of the model's own colour stays.
SHARE, OWN = 0.7, 0.5
#: The least and the most of a colour, in means of all three.
LEAST, MOST = 0.4, 2.0


def in_colour_of_skin(crop: Pixels, change: FaceChange) -> FaceChange:
    """Return a change of a crop, uint8 [height, width, 3], whose light has the colour of the skin."""
    skin = in_good_light(at_size(crop, PLACES)).astype(np.float32) + 1
    skin = (skin / skin.mean(axis=2, keepdims=True)).clip(LEAST, MOST)
    colour = 1 - np.float32(OWN) + np.float32(SHARE) * (enlarged(skin, len(change.light)) - 1)
    light = change.light.mean(axis=2, keepdims=True) * colour + np.float32(OWN) * change.light
    return change._replace(light=light.astype(np.float32, copy=False))

"""Give the light of a change the colour of the skin that it falls on.

The photo model adds light that is nearly gray, whatever the skin. On dark skin that is a veil of ash: skin that is lit
more is a brighter brown, not a grayer one. So light keeps its brightness there, and takes much of its colour from the
face around it: docs/lab-book.md, "Light in the colour of the skin". On pale skin it would be orange, and stays.
"""

import numpy as np

from pfvit.data.contrast import in_good_light
from pfvit.data.images import Pixels, at_size
from pfvit.inference.face_change import FaceChange, enlarged

#: The colour is that of the crop at so many pixels a side.
PLACES = 14
#: So far light goes from gray to that colour, as all of it makes cheeks red; so much of the model's own colour stays.
SHARE, OWN = 0.7, 0.5
#: Skin of this brightness, of 255, is dark; from the second on it is pale.
DARK, PALE = 90, 150
#: The least and the most of a colour, in means of all three.
LEAST, MOST = 0.4, 2.0


def in_colour_of_skin(crop: Pixels, change: FaceChange) -> FaceChange:
    """Return a change of a crop, uint8 [height, width, 3], whose light has the colour of the skin."""
    skin = in_good_light(at_size(crop, PLACES)).astype(np.float32) + 1
    bright = skin.mean(axis=2, keepdims=True)
    skin = np.dstack([(skin / bright).clip(LEAST, MOST), ((PALE - bright) / (PALE - DARK)).clip(0, 1)])
    skin = enlarged(skin, len(change.light))
    colour, dark = 1 - np.float32(OWN) + np.float32(SHARE) * (skin[..., :3] - 1), skin[..., 3:].clip(0, 1)
    coloured = change.light.mean(axis=2, keepdims=True) * colour + np.float32(OWN) * change.light
    return change._replace(light=(change.light + dark * (coloured - change.light)).astype(np.float32, copy=False))

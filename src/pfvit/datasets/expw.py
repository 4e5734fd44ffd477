"""ExpW, Expression in the Wild: `label/label.lst` with boxes, and `image/origin/*.jpg`. It has no official split."""

import math
from pathlib import Path

from pfvit.config import Prepare
from pfvit.datasets.base import Bad, Item, Layout, Listed, Listing, leaves, lines, need, share
from pfvit.emotions import ORDERS, SEVEN

LABELS = {str(number): name for number, name in enumerate(ORDERS["expw"])}
HINT = "SOURCE is the folder with label/label.lst and, unpacked, image/origin/"


def listing(source: Path, config: Prepare) -> Listing:
    """List the faces in the order of the label file: name, number, top, left, right, bottom, confidence, label."""
    file = need(source, ("label/label.lst", "data/label/label.lst", "label.lst"), HINT)
    photos = need(source, ("image/origin", "data/image/origin", "origin"), HINT)
    listed = Listed()
    for number, line in lines(file):
        words = line.split()
        try:
            name, face, label = words[0], int(words[1]), words[7]
            top, left, right, bottom = map(float, words[2:6])
        except (ValueError, IndexError):
            yield Bad(file.name, number, f"{line!r} is not: name face top left right bottom confidence label")
            continue
        if label not in LABELS:
            yield Bad(file.name, number, f"labels are 0 to 6, not {label!r}; take the row from the original file")
        elif outside := leaves(name):
            yield Bad(file.name, number, outside)
        elif not (0 < right - left < math.inf and 0 < bottom - top < math.inf):
            yield Bad(file.name, number, f"the box of {name} is empty; correct it")
        elif twice := listed.again(f"{name}#{face}", LABELS[label], file.name, number):
            yield twice
        else:
            split = "test" if share(name) < config.held_out else "train"
            box = left, top, right - left, bottom - top
            place = f"{file.name}, row {number}"
            yield Item(
                split, number, f"{name}#{face}", place, photos / name, LABELS[label], label, "box", box, group=name
            )


SET = Layout(
    "expw",
    "ExpW, Expression in the Wild",
    "Zhang, Luo, Loy, Tang, IJCV 2018 (arXiv 1609.06426); http://mmlab.ie.cuhk.edu.hk/projects/socialrelation",
    "Web photos whose rights stay with their owners: non-commercial research only.",
    SEVEN,
    listing,
    # 91,793 faces in all (the paper); by emotion as the literature gives them.
    {"all": dict(zip(ORDERS["expw"], (3671, 3995, 1088, 30537, 10559, 7060, 34883), strict=True))},
    "there is no official split: the test part is a share of the photos (--held-out), chosen by a hash of their names",
    LABELS,
)

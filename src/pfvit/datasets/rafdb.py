"""RAF-DB, basic emotions, aligned faces: `EmoLabel/list_patition_label.txt` (its own spelling) and `Image/aligned`."""

import re
from pathlib import Path

from pfvit.config import Prepare
from pfvit.datasets.base import Bad, Item, Layout, Listed, Listing, lines, need
from pfvit.emotions import ORDERS, SEVEN

NAMES = ORDERS["rafdb"]
LABELS = {str(number): name for number, name in enumerate(NAMES, 1)}
NAME = re.compile(r"(train|test)_\d+\.jpg")


def listing(source: Path, config: Prepare) -> Listing:
    """List the faces in the order of the label file."""
    hint = "SOURCE is the folder that RAF-DB's basic part unpacks to, with EmoLabel/ and Image/ in it"
    file = need(source, ("EmoLabel/list_patition_label.txt", "basic/EmoLabel/list_patition_label.txt"), hint)
    aligned = need(file.parent.parent, ("Image/aligned",), f"unpack Image/aligned.zip there; {hint}")
    listed = Listed()
    for number, line in lines(file):
        words = line.split()
        match = NAME.fullmatch(words[0])
        if len(words) != 2 or match is None:
            yield Bad(file.name, number, f"{line!r} is not a name like train_00001.jpg and a label")
        elif words[1] not in LABELS:
            yield Bad(file.name, number, f"labels are 1 to 7, not {words[1]!r}; take the row from the original file")
        elif twice := listed.again(words[0], LABELS[words[1]], file.name, number):
            yield twice
        else:
            path = aligned / f"{Path(words[0]).stem}_aligned.jpg"
            emotion = LABELS[words[1]]
            yield Item(match[1], number, path.name, f"{file.name}, row {number}", path, emotion, words[1])


def _counts(*values: int) -> dict[str, int]:
    return dict(zip(NAMES, values, strict=True))


SET = Layout(
    "rafdb",
    "RAF-DB, basic emotions",
    "Li, Deng, Du, CVPR 2017; http://www.whdeld.cn/RAF/model1.html, on application",
    "Non-commercial research only, by people who signed its agreement; the pictures must not be passed on.",
    SEVEN,
    listing,
    # The label files in the authors' repository MSA-LMC/MAE-SFER.
    {"train": _counts(1290, 281, 717, 4772, 1982, 705, 2524), "test": _counts(329, 74, 160, 1185, 478, 162, 680)},
    labels=LABELS,
)

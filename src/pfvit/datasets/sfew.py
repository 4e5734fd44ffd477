"""SFEW 2.0: folders `Train/EMOTION` and `Val/EMOTION`, or their aligned faces. Its test labels are not public."""

from pathlib import Path

from pfvit.config import Prepare
from pfvit.data.formats import PICTURES
from pfvit.datasets.base import Bad, Item, Layout, Listing, below, need
from pfvit.emotions import SEVEN, named

HINT = "SOURCE is the folder with Train/ and Val/, or Train_Aligned_Faces/ and Val_Aligned_Faces/, unpacked"
SPLITS = {"train": "Train", "test": "Val"}


def listing(source: Path, config: Prepare) -> Listing:
    """List the aligned faces if they are there, else the film frames, in which the largest face is looked for."""
    row = 0
    for split, part in SPLITS.items():
        aligned = tuple(f"{part}{end}" for end in ("_Aligned_Faces", "_Aligned_Faces_new"))
        folder = need(source, (*aligned, part), HINT)
        crop = "align" if folder.name == part else "given"
        if (folder / part).is_dir():  # some archives repeat the name
            folder = folder / part
        for emotion_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
            emotion = named(emotion_folder.name)
            if emotion not in SEVEN:
                yield Bad(f"{folder.name}/{emotion_folder.name}", None, f"it is none of {', '.join(SEVEN)}")
                continue
            for path in below(emotion_folder, PICTURES):
                name = str(path.relative_to(folder))
                yield Item(split, row, name, f"{part}/{name}", path, emotion, emotion_folder.name, crop)
                row += 1


#: Order of the two counts below.
_ORDER = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

SET = Layout(
    "sfew",
    "SFEW 2.0",
    "Dhall et al., ICCV workshops 2011 and ICMI 2015; https://cs.anu.edu.au/few, on application",
    "Stills of commercial films: non-commercial research only, under a signed agreement.",
    SEVEN,
    listing,
    # As the literature gives them for the frames; the aligned faces are fewer (891 and 431).
    {
        "train": dict(zip(_ORDER, (178, 66, 98, 198, 150, 172, 96), strict=True)),
        "test": dict(zip(_ORDER, (77, 23, 47, 73, 86, 73, 57), strict=True)),
    },
    "the official validation part is the test part here, as its test labels are not public; counts are those of the "
    "film frames, the aligned faces are 891 and 431",
)

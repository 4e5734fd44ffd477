"""CK+, the extended Cohn-Kanade set: `cohn-kanade-images/S005/001/*.png` and `Emotion/S005/001/*_emotion.txt`."""

from pathlib import Path

from pfvit.config import Prepare
from pfvit.datasets.base import Bad, Item, Layout, Listing, need
from pfvit.emotions import EIGHT, NEUTRAL, ORDERS
from pfvit.utils.files import read_file

LABELS = {str(number): name for number, name in enumerate(ORDERS["ckplus"]) if number}
HINT = "SOURCE is the folder with cohn-kanade-images/ and Emotion/ (or Emotion_labels/Emotion/), unpacked"
#: The literature's way: the last three frames of a labelled sequence, and its first as neutral; ten folds of people.
PEAK, FOLDS = 3, 10


def listing(source: Path, config: Prepare) -> Listing:
    """List the frames of the labelled sequences; every tenth person is for testing."""
    photos = need(source, ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images"), HINT)
    labels = need(source, ("Emotion", "Emotion_labels/Emotion"), HINT)
    people = sorted(path.name for path in labels.iterdir() if path.is_dir())
    row = 0
    for place, person in enumerate(people):
        split = "train" if place % FOLDS else "test"
        for sequence in sorted(path for path in (labels / person).iterdir() if path.is_dir()):
            for file in sorted(sequence.glob("*_emotion.txt")):
                name = str(file.relative_to(source))
                try:
                    text = read_file(file).decode(errors="replace").strip()
                except OSError as problem:
                    yield Bad(name, None, f"it cannot be read: {problem.strerror}")
                    continue
                label = text.split(".")[0]
                if label not in LABELS:
                    yield Bad(name, None, f"emotions are 1 to 7, not {text!r}; take the file from the original archive")
                    continue
                folder = photos / person / sequence.name
                frames = sorted(folder.glob("*.png")) if folder.is_dir() else []
                if len(frames) <= PEAK:
                    yield Bad(name, None, f"{folder.relative_to(source)} has {len(frames)} pictures; unpack them again")
                    continue
                for frame in (frames[0], *frames[-PEAK:]):
                    first = frame == frames[0]
                    emotion, own = (NEUTRAL, "0") if first else (LABELS[label], label)
                    yield Item(split, row, frame.name, name, frame, emotion, own, "align", group=person)
                    row += 1


#: Sequences of each emotion: Lucey et al., 2010, table 4.
_SEQUENCES = {
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happiness": 69,
    "sadness": 28,
    "surprise": 83,
}

SET = Layout(
    "ckplus",
    "CK+, extended Cohn-Kanade",
    "Lucey et al., CVPR workshops 2010; http://www.jeffcohn.net/Resources, on application",
    "Non-commercial research only, under a signed agreement; only people who agreed may be shown in print.",
    EIGHT,
    listing,
    {"all": {NEUTRAL: sum(_SEQUENCES.values()), **{name: PEAK * count for name, count in _SEQUENCES.items()}}},
    "there is no official split: `group` is the person, and every tenth person is for testing",
    {"0": NEUTRAL, **LABELS},
)

"""Label sets of seven and eight emotions, and the order in which each data set counts them.

Orders are those of the published label files: FER+ (Barsoum et al., ICMI 2016), FER2013 (Goodfellow et al.,
2013), RAF-DB (labels 1 to 7), AffectNet (labels 0 to 7), ExpW (Zhang et al., 2018), CK+ (Lucey et al., 2010).
"""

import re
from collections.abc import Iterable

NEUTRAL = "neutral"
HAPPINESS = "happiness"

#: The eight emotions in FER+'s order, which is ours everywhere.
EIGHT = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
#: The classic seven: the eight without contempt.
SEVEN = EIGHT[:7]

#: Columns of the ten annotators' votes in FER+; the last two are not emotions.
FERPLUS_VOTES = (*EIGHT, "unknown", "NF")

#: What label 0, 1, 2, ... means in each data set.
ORDERS = {
    "ferplus": EIGHT,
    "fer2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "rafdb": ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"),
    "affectnet7": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"),
    "affectnet8": ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"),
    "expw": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
    "ckplus": ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
}

#: Where a Parquet file of `pfvit prepare` says (as JSON) which emotions its labels, in our order, tell apart.
EMOTIONS_KEY = "pfvit.emotions"

#: Stands for no class, among the names of numbers (AffectNet's 8 to 10, say).
NONE = ""

#: How data sets name their folders, beside our own names.
SYNONYMS = {
    "afraid": "fear", "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear",
    "happy": "happiness", "joy": "happiness", "sad": "sadness", "scared": "fear", "suprise": "surprise",
    "suprised": "surprise", "surprised": "surprise",
}  # fmt: skip
#: Words beside it that change nothing.
BESIDE = {"class", "emotion", "expression", "face", "faces", "label"}


def label_set(classes: int) -> tuple[str, ...]:
    """Return the names of a set of 7 or 8 emotions; any other number raises ValueError."""
    if classes not in (7, 8):
        raise ValueError(f"label sets have 7 or 8 emotions, not {classes}")
    return EIGHT[:classes]


def named(word: str) -> str | None:
    """Return the emotion that a name stands for in any case ("Happy", "AN_anger", "3_surprise"), or None.

    Exactly one of its words must name an emotion, and the others be numbers, the beginning of that word, or words like
    "face": "not_happy", "sadly_fearful" and "contempt_or_disgust" are names of something else.
    """
    words = re.findall(r"[^\W_]+", word.casefold())
    found = [(name, part) for part in words if (name := SYNONYMS.get(part, part)) in EIGHT]
    if len(found) != 1:
        return None
    (name, part), others = found[0], [other for other in words if other != found[0][1]]
    fits = all(o.isdecimal() or o in BESIDE or name.startswith(o) or part.startswith(o) for o in others)
    return name if fits else None


def in_our_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different names of classes, the eight emotions first and in our order, others as they come."""
    different = list(dict.fromkeys(names))
    return (*(name for name in EIGHT if name in different), *(name for name in different if name not in EIGHT))

"""Label sets of seven and eight emotions, and the order in which each data set counts them.

Orders are those of the published label files: FER+ (Barsoum et al., ICMI 2016), FER2013 (Goodfellow et al.,
2013), RAF-DB (labels 1 to 7), AffectNet (labels 0 to 7), ExpW (Zhang et al., 2018), CK+ (Lucey et al., 2010).
"""

NEUTRAL = "neutral"

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

#: How data sets name their folders, beside our own names.
SYNONYMS = {
    "afraid": "fear", "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear",
    "happy": "happiness", "joy": "happiness", "sad": "sadness", "scared": "fear", "surprised": "surprise",
}  # fmt: skip


def label_set(classes: int) -> tuple[str, ...]:
    """Return the names of a set of 7 or 8 emotions; any other number raises ValueError."""
    if classes not in (7, 8):
        raise ValueError(f"label sets have 7 or 8 emotions, not {classes}")
    return EIGHT[:classes]


def named(word: str) -> str | None:
    """Return the emotion that a word names in any case ("Happy", "AN_anger", "3_surprise"), or None."""
    plain = word.casefold().strip()
    for part in (plain, *plain.replace("-", "_").replace(" ", "_").split("_")):
        if (name := SYNONYMS.get(part, part)) in EIGHT:
            return name
    return None

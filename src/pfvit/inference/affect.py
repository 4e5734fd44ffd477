"""An index of valence and arousal from the probabilities of emotions."""

from collections.abc import Mapping
from typing import NamedTuple


class Affect(NamedTuple):
    """Valence and arousal of a mixture of emotions.

    It is an index computed from the probabilities, not a measurement: nobody rated these faces, and two faces with the
    same probabilities have the same index.
    """

    valence: float
    """From -1, unpleasant, to 1, pleasant."""
    arousal: float
    """From -1, sleepy, to 1, excited."""


#: Mean pleasure and arousal of words for emotions, rated from -1 to 1 by people who described situations in these
#: words: Russell and Mehrabian, Evidence for a three-factor theory of emotions, J. Research in Personality 11 (1977),
#: table 4 (happy, surprised, sad, angry, disgusted, fearful). Neutral is the scales' origin. Contempt has no row of
#: its own there; it is counted as disgust, as FER2013's annotators did.
OF_EMOTIONS = {
    "neutral": Affect(0.0, 0.0),
    "happiness": Affect(0.81, 0.51),
    "surprise": Affect(0.40, 0.67),
    "sadness": Affect(-0.63, -0.27),
    "anger": Affect(-0.51, 0.59),
    "disgust": Affect(-0.60, 0.35),
    "fear": Affect(-0.64, 0.60),
    "contempt": Affect(-0.60, 0.35),
}


def affect_of(probabilities: Mapping[str, float]) -> Affect | None:
    """Return the mean over the emotions, weighted by {emotion: probability}; None if one of the names is not known."""
    if not probabilities.keys() <= OF_EMOTIONS.keys():
        return None
    values = [OF_EMOTIONS[name] for name in probabilities]
    total = sum(probabilities.values())
    valence, arousal = (
        sum(share * value[k] for share, value in zip(probabilities.values(), values, strict=True)) / total
        for k in range(2)
    )
    return Affect(valence, arousal)

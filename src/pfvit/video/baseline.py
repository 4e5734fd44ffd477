"""A person's own neutral as the baseline: some faces look sad, angry or pleased when they are at rest."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pfvit.emotions import NEUTRAL

Shares = NDArray[np.float64]

#: The calmest frames of a person: this share of all, those with the highest probability of neutral.
CALM = 0.2
#: A person is given a baseline from so many frames on, and if neutral is at least this probable in the calmest of them:
#: of someone who is never calm, no baseline is known.
FRAMES, LEAST_NEUTRAL = 10, 0.2
#: After the correction, no emotion is more than so probable beside neutral in the calmest frames, on average.
AT_REST = 0.05


class Baseline:
    """What is taken off a person's logits. Frames are added first, then asked about."""

    def __init__(self, labels: Sequence[str]):
        """`labels` are the names of the probabilities; without neutral among them nothing is ever taken off."""
        self.neutral = labels.index(NEUTRAL) if NEUTRAL in labels else None
        self._seen: dict[int, list[Shares]] = defaultdict(list)
        self._offsets: dict[int, Shares | None] = {}

    def add(self, person: int, shares: Shares) -> None:
        """Add the probabilities [labels] of a person in one frame."""
        self._seen[person].append(np.asarray(shares, np.float64))
        self._offsets.pop(person, None)

    def of(self, person: int) -> Shares | None:
        """Return what is subtracted from the person's logits, [labels], 0 or more; None if no baseline is known."""
        if person not in self._offsets:
            self._offsets[person] = self._measured(self._seen.get(person, []))
        return self._offsets[person]

    def correct(self, person: int, shares: Shares) -> Shares:
        """Return probabilities [labels] as they would be if the person's face at rest looked neutral."""
        offset = self.of(person)
        if offset is None:
            return shares
        corrected = shares * np.exp(-offset)
        return corrected / corrected.sum()

    def _measured(self, seen: list[Shares]) -> Shares | None:
        if self.neutral is None or len(seen) < FRAMES:
            return None
        shares = np.array(seen)
        order = np.argsort(shares[:, self.neutral])[::-1]
        calm = shares[order[: max(FRAMES // 2, round(CALM * len(shares)))]]
        if calm[:, self.neutral].mean() < LEAST_NEUTRAL:
            return None
        logits = np.log(calm.clip(1e-6)).mean(0)
        beside_neutral = logits - logits[self.neutral] - np.log(AT_REST)
        beside_neutral[self.neutral] = 0
        return beside_neutral.clip(0)

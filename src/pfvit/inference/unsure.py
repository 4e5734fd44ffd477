"""When an answer is no name for an expression: a rule on the probabilities, which a weight file may set."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Where a recogniser's file holds its rule, as JSON with the fields of `UnsureRule`.
KEY = "pfvit.unsure"


class UnsureRule(NamedTuple):
    """An answer is unsure if its probability is below `below`, or less than `gap` above the second best.

    The plain values are for files that do not say any.
    """

    below: float = 0.4
    gap: float = 0.1

    def marks(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which answers are unsure, bool [...], given probabilities [..., labels]."""
        second, best = np.moveaxis(np.partition(probabilities, -2, axis=-1)[..., -2:], -1, 0)
        return (best < self.below) | (best - second < self.gap)


PLAIN_RULE = UnsureRule()


def rule_of(about: Mapping[str, str]) -> UnsureRule:
    """Return the rule that a file says of itself; ValueError or TypeError if it is none."""
    said = json.loads(about.get(KEY, "{}"))
    rule = UnsureRule(**said)
    if not all(0 <= value <= 1 for value in rule):
        raise ValueError(f"{KEY} is {said}")
    return rule

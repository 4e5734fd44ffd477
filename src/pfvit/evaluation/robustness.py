"""How well faces are recognised that look otherwise than their crops, and what is gained by leaving answers out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.data.images import Pixels
from pfvit.data.views import PARTS, compress, cover, darken, reframe, shrink, turn
from pfvit.evaluation import metrics

#: Framings, in percent of the crop's side that are shown in addition. Users' crops are within these.
FRAMINGS = (-12, -6, 6, 12, 20, 30)
#: Name -> a view of a face.
VIEWS: Mapping[str, Callable[[Pixels], Pixels]] = {
    **{f"framed {percent:+d}%": partial(reframe, share=1 + percent / 100) for percent in FRAMINGS},
    **{f"turned {degrees}°": partial(turn, degrees=degrees) for degrees in (15, 30)},
    **{f"covered: {part}": partial(cover, part=part) for part in PARTS},
    "20 px wide": partial(shrink, side=20),
    "JPEG, quality 15": partial(compress, quality=15),
    "a third of the light": partial(darken, share=1 / 3),
}
#: Shares of the answers, the surest first, whose accuracy is reported.
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


def figures(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    marked: NDArray[np.bool_],
    agreed: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """Return accuracy, mean recall, calibration error, and how good the answers are that are not marked unsure.

    `agreed` are the faces of the papers' protocol, whose figures stand under `majority`; None where it does not apply.
    """
    confusion = metrics.confusion_matrix(truth, probabilities.argmax(1), probabilities.shape[1])
    report: dict[str, Any] = {
        "n": len(truth),
        "war": metrics.war(confusion),
        "uar": metrics.uar(confusion),
        "ece": metrics.calibration_error(probabilities, truth),
        **unsure_figures(probabilities.argmax(1) == truth, marked),
    }
    if agreed is not None and agreed.any():
        report["majority"] = figures(probabilities[agreed], truth[agreed], marked[agreed], None)
    return report


def mean_of_framings(plain: float, views: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the mean accuracy over the crops as they are and all FRAMINGS."""
    return float(np.mean([plain, *(views[f"framed {percent:+d}%"]["war"] for percent in FRAMINGS)]))


def unsure_figures(right: NDArray[np.bool_], marked: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of answers that are marked unsure, and the shares of right ones among the others and these."""
    return {
        "unsure": float(marked.mean()),
        "right_if_sure": float(right[~marked].mean()) if not marked.all() else None,
        "right_if_unsure": float(right[marked].mean()) if marked.any() else None,
    }


def selective(right: NDArray[np.bool_], reliability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the accuracy of the 1, 2, ..., all most reliable answers (El-Yaniv and Wiener, 2010)."""
    order = np.argsort(-reliability, kind="stable")
    return right[order].cumsum() / np.arange(1, len(right) + 1)


def selective_figures(right: NDArray[np.bool_], reliability: NDArray[np.floating]) -> dict[str, float]:
    """Return the accuracy at each of COVERAGES."""
    curve = selective(right, reliability)
    return {f"{share:g}": float(curve[max(1, round(share * len(curve))) - 1]) for share in COVERAGES}


def seen(images: Sequence[Pixels], name: str) -> list[Pixels]:
    """Return one of VIEWS of each picture."""
    return [VIEWS[name](image) for image in images]

"""Learning curves of a training run, drawn from its log."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from pfvit.rendering import ACCENT, GAP, INK, PAPER, SIDE, SOFT, TEXT, font_of

Lines = Sequence[Mapping[str, float]]
Curve = tuple[str, str, tuple[int, int, int]]
#: Key in the log, name in the picture, colour; what a log lacks is left out.
LOSSES: tuple[Curve, ...] = (
    ("loss", "training", SOFT),
    ("classification", "training", SOFT),
    ("validation_loss", "validation", ACCENT),
)
SHARES: tuple[Curve, ...] = (("validation_war", "WAR", ACCENT), ("validation_uar", "UAR", INK))
WIDE, HIGH = 2 * SIDE, SIDE
POINTS = 120  # of a curve: means of as many stretches of the run


def learning_curves(lines: Lines) -> Image.Image:
    """Return the classification (or reconstruction) loss over the steps, and beside it WAR and UAR if they are there.

    `lines` are those of metrics.jsonl. Training losses are means over stretches of the run.
    """
    panels = [("loss", LOSSES)] + ([("validation", SHARES)] if any(SHARES[0][0] in line for line in lines) else [])
    sheet = Image.new("RGB", (len(panels) * (WIDE + 5 * GAP) + GAP, HIGH + 7 * GAP), PAPER)
    last = max((line["step"] for line in lines), default=1)
    for place, (title, curves) in enumerate(panels):
        points = [(name, colour, _points(lines, key)) for key, name, colour in curves]
        points = [(name, colour, some) for name, colour, some in points if len(some)]
        top = 1.0 if curves is SHARES else max((some[:, 1].max() for *_, some in points), default=1.0)
        _panel(sheet, place * (WIDE + 5 * GAP) + 4 * GAP, title, points, last, top or 1.0)
    return sheet


def _points(lines: Lines, key: str) -> np.ndarray:
    """Return steps and values of a column, [points, 2]; what is not finite is left out."""
    found = np.array([(line["step"], line[key]) for line in lines if key in line], dtype=np.float64).reshape(-1, 2)
    found = found[np.isfinite(found).all(1)]
    if len(found) <= POINTS or key.startswith("validation"):
        return found
    return np.array([some.mean(0) for some in np.array_split(found, POINTS)])


def _panel(
    sheet: Image.Image,
    left: int,
    title: str,
    curves: Sequence[tuple[str, tuple[int, int, int], np.ndarray]],
    last: float,
    top: float,
) -> None:
    """Draw curves into a box whose axes run from 0 to `last` steps and from 0 to `top`."""
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    ceiling = 3 * GAP
    floor = ceiling + HIGH
    for share in (0.0, 0.5, 1.0):
        y, x = floor - share * HIGH, left + share * WIDE
        pen.line((left, y, left + WIDE, y), SOFT)
        pen.text((left - GAP // 2, y), f"{share * top:.3g}", INK, font, anchor="rm")
        pen.text((x, floor + GAP), f"{share * last:.0f}", INK, font, anchor="mm")
    pen.text((left + WIDE // 2, floor + 2 * GAP + GAP // 2), "steps", INK, font, anchor="mm")
    pen.text((left, ceiling // 2), title, INK, font, anchor="lm")
    name_at = left + WIDE
    for name, colour, points in reversed(curves):
        at = [(left + x / last * WIDE, floor - min(y / top, 1) * HIGH) for x, y in points.tolist()]
        pen.line(at, colour, 2)
        for x, y in at if len(at) < POINTS // 4 else ():
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
        pen.text((name_at, ceiling // 2), name, colour, font, anchor="rm")
        name_at -= round(pen.textlength(name, font)) + GAP

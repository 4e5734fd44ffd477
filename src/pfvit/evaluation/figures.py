"""Figures of an evaluation."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pfvit.evaluation.metrics import confidence_bins
from pfvit.evaluation.robustness import selective
from pfvit.rendering import ACCENT, GAP, INK, PAPER, SIDE, SOFT, TEXT, font_of


def reliability(probabilities: NDArray[np.floating], truth: NDArray[np.integer], error: float) -> Image.Image:
    """Return a reliability diagram of answers [faces, classes]: how often the model is right when it is so sure.

    Bars on the diagonal are calibrated; the gray strip below shows how many answers each bar stands for.
    """
    count, _, accuracy = confidence_bins(probabilities, truth)
    side, left, top, strip = 2 * SIDE, 4 * GAP, 3 * GAP, 3 * GAP
    sheet = Image.new("RGB", (left + side + GAP, top + side + strip + 4 * GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    bottom, floor = top + side, top + side + strip
    step = side / len(count)
    for place, (faces, share) in enumerate(zip(count, accuracy, strict=True)):
        if faces:
            near, far = left + place * step + 1, left + (place + 1) * step - 1
            pen.rectangle((near, bottom - share * side, far, bottom), ACCENT)
            pen.rectangle((near, floor - max(1, faces / count.max() * (strip - GAP)), far, floor), SOFT)
    pen.line((left, bottom, left + side, top), INK, 2)
    pen.rectangle((left, top, left + side, bottom), outline=SOFT)
    for share in (0, 0.5, 1):
        pen.text((left - GAP // 2, bottom - share * side), f"{share:.0%}", INK, font, anchor="rm")
        pen.text((left + share * side, floor + GAP), f"{share:.0%}", INK, font, anchor="mm")
    pen.text((left, top // 2), f"right answers, by how sure; calibration error {error:.3f}", INK, font, anchor="lm")
    pen.text(
        (left + side // 2, floor + 2 * GAP + GAP // 2), "confidence; how many faces in gray", INK, font, anchor="mm"
    )
    return sheet


def selective_curve(
    right: NDArray[np.bool_], reliability: NDArray[np.floating], marked: NDArray[np.bool_]
) -> Image.Image:
    """Return the curve of selective prediction: accuracy among the most reliable answers [faces].

    The dot is where answers begin to be `marked` unsure.
    """
    curve, sure = selective(right, reliability), ~marked
    lowest = np.floor(min(curve[len(curve) // 20 :].min(), 0.95) * 10) / 10
    side, left, top = 2 * SIDE, 5 * GAP, 3 * GAP
    sheet = Image.new("RGB", (left + side + 2 * GAP, top + side + 4 * GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), font_of(TEXT)
    bottom = top + side

    def at(share: float, accuracy: float) -> tuple[float, float]:
        return left + share * side, bottom - (max(accuracy, lowest) - lowest) / (1 - lowest) * side

    for step in range(round((1 - lowest) * 10) + 1):
        accuracy = lowest + step / 10
        pen.line((*at(0, accuracy), *at(1, accuracy)), SOFT)
        pen.text((left - GAP // 2, at(0, accuracy)[1]), f"{accuracy:.0%}", INK, font, anchor="rm")
    pen.rectangle((left, top, left + side, bottom), outline=SOFT)
    pen.line([at((place + 1) / len(curve), value) for place, value in enumerate(curve)], ACCENT, 2)
    if sure.any():
        share = float(right[sure].mean())
        x, y = at(float(sure.mean()), share)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), INK)
        pen.text(
            (left + GAP, bottom - GAP),
            f"marked sure: {sure.mean():.0%}, of them right: {share:.1%}",
            INK,
            font,
            anchor="ls",
        )
    for share in (0, 0.5, 1):
        pen.text((left + share * side, bottom + GAP), f"{share:.0%}", INK, font, anchor="mm")
    pen.text((left, top // 2), "right answers among the surest", INK, font, anchor="lm")
    pen.text((left + side // 2, bottom + 2 * GAP + GAP // 2), "share of faces answered", INK, font, anchor="mm")
    return sheet

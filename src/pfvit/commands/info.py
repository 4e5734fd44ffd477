"""`pfvit info`: the size and cost of a preset; without torch only the list of presets."""

import json

from rich.table import Table

from pfvit.config import Info
from pfvit.config.presets import SUMMARIES
from pfvit.utils.console import emit, show


def info(config: Info) -> None:
    """Print a preset's parts with parameters and FLOP, or all presets."""
    if config.preset == "list":
        if config.json:
            emit(json.dumps(SUMMARIES))
        else:
            show("\n".join(f"{name:<16}{summary}" for name, summary in SUMMARIES.items()))
        return
    from pfvit.training.cost import cost, training_cost

    table, training = cost(config.preset), training_cost(config.preset)
    if config.json:
        emit(json.dumps({"preset": config.preset, "parts": table, "training": training}))
        return
    shown = Table(title=f"{config.preset}: {SUMMARIES[config.preset]}")
    shown.add_column("part")
    shown.add_column("parameters", justify="right")
    shown.add_column("GFLOP per face", justify="right")
    for part, row in table.items():
        shown.add_row(part, f"{row['parameters']:,}", f"{row['flops'] / 1e9:.3f}")
    stages = ", ".join(f"{stage} {flops / 1e9:.3f}" for stage, flops in training.items())
    show(
        shown,
        f"Training, GFLOP per face, forward and backward: {stages}.",
        "One multiply-add counts as two FLOP, in the table forward only; reading a face takes the recogniser alone.",
    )

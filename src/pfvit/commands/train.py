"""`pfvit train`: stage two, recognition, separation and generation."""

from collections.abc import Sequence

import tyro

from pfvit.config import Train
from pfvit.config.presets import ARCHITECTURES, SUMMARIES
from pfvit.training.trainer import train


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit train`."""
    presets = {
        name: (SUMMARIES[name], Train(data=tyro.MISSING, out=tyro.MISSING, model=model))
        for name, model in ARCHITECTURES.items()
    }
    train(tyro.extras.overridable_config_cli(presets, prog="pfvit train", args=arguments))
    return 0

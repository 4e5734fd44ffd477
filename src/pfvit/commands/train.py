"""`pfvit train`: stage two, recognition, separation and generation."""

from collections.abc import Sequence
from dataclasses import replace

import tyro

from pfvit.config import Train
from pfvit.config.presets import SUMMARIES
from pfvit.config.recipes import defaults
from pfvit.training.trainer import train


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit train`."""
    presets = {
        name: (summary, replace(defaults(Train, name), data=tyro.MISSING, out=tyro.MISSING))
        for name, summary in SUMMARIES.items()
    }
    train(tyro.extras.overridable_config_cli(presets, prog="pfvit train", args=arguments))
    return 0

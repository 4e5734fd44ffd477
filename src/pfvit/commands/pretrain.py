"""`pfvit pretrain`: stage one, masked autoencoding of unlabelled faces."""

from collections.abc import Sequence
from dataclasses import replace

import tyro

from pfvit.config import Pretrain
from pfvit.config.presets import SUMMARIES
from pfvit.config.recipes import defaults
from pfvit.training.pretrainer import pretrain


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit pretrain`."""
    presets = {
        name: (summary, replace(defaults(Pretrain, name), data=tyro.MISSING, out=tyro.MISSING))
        for name, summary in SUMMARIES.items()
    }
    pretrain(tyro.extras.overridable_config_cli(presets, prog="pfvit pretrain", args=arguments))
    return 0

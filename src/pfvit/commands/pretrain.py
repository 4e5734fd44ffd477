"""`pfvit pretrain`: stage one, masked autoencoding of unlabelled faces."""

from collections.abc import Sequence

import tyro

from pfvit.config import Pretrain
from pfvit.config.presets import ARCHITECTURES, SUMMARIES
from pfvit.training.pretrainer import pretrain


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit pretrain`."""
    presets = {
        name: (SUMMARIES[name], Pretrain(data=tyro.MISSING, out=tyro.MISSING, model=model))
        for name, model in ARCHITECTURES.items()
    }
    pretrain(tyro.extras.overridable_config_cli(presets, prog="pfvit pretrain", args=arguments))
    return 0

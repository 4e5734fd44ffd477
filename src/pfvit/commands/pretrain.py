"""`pfvit pretrain`: stage one, masked autoencoding of unlabelled faces."""

from pfvit.config import Pretrain
from pfvit.training import distributed, pretrainer


def pretrain(config: Pretrain) -> None:
    """Train an autoencoder; a process that is one of several ends here."""
    pretrainer.pretrain(config)
    distributed.end_process()

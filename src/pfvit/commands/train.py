"""`pfvit train`: stage two, recognition, separation and generation."""

from pfvit.config import Train
from pfvit.training import distributed, trainer


def train(config: Train) -> None:
    """Train a PF-ViT; a process that is one of several ends here."""
    trainer.train(config)
    distributed.end_process()

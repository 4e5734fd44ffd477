"""The settings of every verb as frozen dataclasses: they are the command line, its help and the record of a run."""

from pfvit.config.reading import Evaluate, Info, Poker, Predict, Video
from pfvit.config.scale import Convert
from pfvit.config.training import Architecture, Export, Game, Hardware, Precision, Pretrain, Train

__all__ = [
    "Architecture",
    "Convert",
    "Evaluate",
    "Export",
    "Game",
    "Hardware",
    "Info",
    "Poker",
    "Precision",
    "Predict",
    "Pretrain",
    "Train",
    "Video",
]

"""The settings of every verb as frozen dataclasses: they are the command line, its help and the record of a run."""

from pfvit.config.architecture import Architecture
from pfvit.config.data import Prepare, Reproduce
from pfvit.config.export import Convert, Export
from pfvit.config.gan import Gan
from pfvit.config.inference import Batch, Evaluate, Info, Poker, Predict, Video
from pfvit.config.photo import PhotoWeights, TrainPhoto
from pfvit.config.report import Report
from pfvit.config.serving import Limits, Serve
from pfvit.config.training import Hardware, Precision, Pretrain, Train

__all__ = [
    "Architecture",
    "Batch",
    "Convert",
    "Evaluate",
    "Export",
    "Gan",
    "Hardware",
    "Info",
    "Limits",
    "PhotoWeights",
    "Poker",
    "Precision",
    "Predict",
    "Prepare",
    "Pretrain",
    "Report",
    "Reproduce",
    "Serve",
    "Train",
    "TrainPhoto",
    "Video",
]

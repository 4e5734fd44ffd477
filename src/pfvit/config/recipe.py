"""What a recipe is: training runs and a table of measurements, with source, expected result, hours and hardware."""

from dataclasses import dataclass
from typing import Literal

from pfvit.config.photo import TrainPhoto
from pfvit.config.training import Pretrain, Train


@dataclass(frozen=True)
class Measurement:
    """One row of a recipe's table: a training run's weights, exported and evaluated."""

    label: str
    run: str
    protocol: Literal["clean", "official"] = "clean"
    trained: Literal["classifier", "separator", "generator"] = "classifier"
    """How far the run trains the model. What it does not train is not measured: the residue probe needs a separator,
    the figures of generated faces a generator."""
    logit_adjustment: float = 0.0
    change_gain: float = 1.0
    mild_smiles: float = 0.0
    compact: bool = False
    """As for `pfvit export`."""


@dataclass(frozen=True)
class Published:
    """A row of somebody else's: accuracy on the test part, in percent."""

    label: str
    preset: str
    accuracy: float
    protocol: Literal["all", "majority"] = "all"
    """As `pfvit evaluate --protocol`: of votes, all counts every face, majority those that most annotators agree on."""


@dataclass(frozen=True)
class Recipe:
    """From the Parquet files of one data set to a table of results.

    A value: change it with `dataclasses.replace`, or write one of your own. In its training runs `out` is the run's
    name within the recipe, and `start` and `teacher` name the runs whose weights it starts from and that it learns
    from. `pfvit reproduce` fills in the data and the folders, adds its seed to the run's, and leaves out windows of
    files that are not there.
    """

    title: str
    data_set: str
    """As `pfvit prepare` calls it."""
    preset: str
    """Sizes of the model; `pfvit reproduce --preset` takes others, and keeps separator and classes."""
    runs: tuple[Pretrain | Train, ...]
    rows: tuple[Measurement, ...]
    source: str
    expected: str
    hours: float
    hardware: str
    tested_on: Literal["test", "val"] = "test"
    calibrated: bool = False
    """Look at the tested part while training, and fit the temperature on half of it."""
    seeds: int = 1
    compared: tuple[tuple[str, str], ...] = ()
    """Labels of rows: how much accuracy the first has over the second with the same seed."""
    published: tuple[Published, ...] = ()
    license: str = "as the training data allow"


@dataclass(frozen=True)
class PhotoRecipe:
    """How the photo model in the wheel is made: one training, whose data and folders `pfvit reproduce` fills in."""

    title: str
    training: TrainPhoto
    source: str
    expected: str
    hours: float
    hardware: str
    license: str = "as the training data allow"

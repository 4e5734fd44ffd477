"""Settings of `pfvit report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pfvit.config.checks import at_least, check_order
from pfvit.config.several import Paths, Words


@dataclass(frozen=True)
class Report:
    """Write the figures, tables and pictures that a paper would print, as one page and as separate files."""

    data: Paths
    """Labelled faces: Parquet files or folders of them, folders of class folders, or CSV lists. Of a folder with parts,
    the test part is measured, or else the validation part."""
    out: Path
    """Folder for report.html (which needs no other file), figures/ (SVG, PNG), numbers/ (CSV), report.json, and
    model-card.md."""
    weights: Paths = ()
    """A recogniser .onnx (its generator is taken from the same folder); the shipped weights if not given. Further
    ones are compared with the first on the same faces."""
    judge: Path | None = None
    """A separately trained recogniser .onnx that says how neutral the poker faces look."""
    pairs: Path | None = None
    """Folder of photos NAME_neutral.jpg and NAME_happiness.jpg (or any other word) of the same people: poker faces are
    then measured against their real neutral faces."""
    groups: Words = ()
    """Columns of the data that say which group a person belongs to; if not given, columns like age, gender and race."""
    order: Words = ()
    """What labels 0, 1, 2, ... mean if a file does not say it: ferplus, fer2013, rafdb, affectnet7, affectnet8, expw,
    ckplus, or the names of the classes. FER+'s order if not given."""
    protocol: Literal["clean", "official"] = "clean"
    """clean leaves out rows whose pixels are also in another split (`also_in`), official keeps them."""
    shown: int = 6
    """How many faces of each emotion the sheets show: the first ones, not selected."""
    sample: int = 200
    """How many faces, drawn at random, are changed to measure robustness."""
    batch: int = 64
    """Faces at a time."""

    def __post_init__(self) -> None:
        check_order(self)
        at_least(1, self, "shown", "sample", "batch")

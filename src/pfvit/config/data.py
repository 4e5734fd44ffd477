"""Settings of the verbs that make data ready and run recipes: prepare, reproduce."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from pfvit.config.checks import at_least, check_order, positive
from pfvit.config.presets import architecture
from pfvit.config.recipes import RECIPES
from pfvit.config.several import Paths, Words
from pfvit.errors import UsageError

#: Bits of two hashes that may differ; with more, the groups of bits that the search sorts by are too short.
MOST_DISTANCE = 31
#: Smaller pictures are refused when they are read (`pfvit.data.images`).
SMALLEST_SIZE = 8


@dataclass(frozen=True)
class Prepare:
    """Turn the official download of a data set into Parquet files that train and evaluate read, checked and marked.

    The same command goes on after a stop or a kill, and checks the files where all is done already.
    """

    name: Positional[str]
    """rafdb, affectnet7, affectnet8, ferplus, fer2013, sfew, expw, ckplus; folders: one folder per class; faces:
    unlabelled pictures of any kind, for pre-training."""
    source: Positional[Path]
    """Folder of the unpacked download."""
    out: Positional[Path]
    """Folder for SPLIT-00000.parquet ..., manifest.json, and bad.jsonl with the rows set aside."""
    crop: Literal["auto", "given", "box", "align"] = "auto"
    """given keeps pictures as they are; box cuts the published box out; align looks for the face and turns it upright
    (within the published box if there is one, else the largest). auto is what each set needs."""
    size: int = 256
    """Longest side of faces cut out here, in pixels; smaller ones are never enlarged."""
    held_out: float = 0.2
    """Share kept for testing where a set has no official split; pictures of one person or photo stay together."""
    hash_distance: Annotated[int, arg(aliases=("--near",))] = 10
    """Bits of 128 that the hashes of two near duplicates may differ in; 0: only exact ones. The search grows with
    the square of the number of faces: from some millions on use 6."""
    order: Words = ()
    """folders: what folders that are named by numbers stand for (fer2013, rafdb, affectnet7, ...), or the names of your
    own classes."""
    apart_from: Paths = ()
    """Prepared folders that this one is also compared with: what pre-training sees should not be in a test set."""
    smallest: int = 48
    """faces: drop what is smaller than so many pixels across."""
    sharpness: float = 20.0
    """faces: drop what is blurred, with a variance of the Laplacian (at 96 px) below this."""
    strict: bool = False
    """Stop at the first bad row, and where counts are not the published ones."""
    jobs: int | None = None
    """Processes; all cores if not given."""

    def __post_init__(self) -> None:
        check_order(self)
        if self.order and self.name != "folders":
            raise UsageError(f"--order is for folders: the labels of {self.name} are known")
        if not 0 <= self.hash_distance <= MOST_DISTANCE:
            raise UsageError(f"--hash-distance is 0 to {MOST_DISTANCE} bits, not {self.hash_distance}")
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out is a share between 0 and 1, not {self.held_out}")
        if self.size < SMALLEST_SIZE or (self.jobs is not None and self.jobs < 1):
            raise UsageError(f"--size must be {SMALLEST_SIZE} or more, and --jobs 1 or more")


@dataclass(frozen=True)
class Reproduce:
    """Train, export and evaluate a recipe, and print its table: what ships, the ablation, the paper's test sets.

    The same command goes on where it stopped. Recipes are typed values in `pfvit.config.recipes`.
    """

    name: Positional[str]
    """shipped: the weights in the wheel; photo: the photo model in the wheel; ablation: what each part adds; or one of
    the paper's test sets: rafdb, affectnet7, affectnet8, ferplus."""
    data: Path
    """Folder that `pfvit prepare` made of the data set, or one with NAME_train.parquet, NAME_val.parquet or
    NAME_test.parquet."""
    out: Path
    """Folder for the runs, the weights and the table."""
    faces: Paths = ()
    """Parquet files of faces for masked pre-training, whose labels are not looked at (the authors took AffectNet's);
    the training part of --data if not given. A student also learns its teachers' answers to those that are not
    in --data."""
    points: Path | None = None
    """photo: the file of mesh points of the faces in --data. shipped: of those in --faces, whose shape then has a say
    in what the teachers answer."""
    preset: str | None = None
    """Other sizes of the model than the recipe's; `pfvit info list` names them all."""
    scale: Literal["full", "try"] = "full"
    """try: a hundredth of the epochs, to see that everything works."""
    only: Words = ()
    """Runs to measure, with those that they start from: a to e2 of the ablation, baseline or gan of a test set."""
    seeds: int | None = None
    """Repeat everything with so many seeds; as many as the recipe says if not given."""
    judge: Path | None = None
    """Another recogniser's .onnx, which says how neutral the generated faces look (experiments/judge.py)."""
    minutes: float | None = None
    """Stop cleanly after so many minutes."""
    resident: bool = False
    """Keep the decoded faces in the device's memory."""
    compile: bool = False
    """Compile the models with torch.compile."""
    print_only: bool = False
    """Print what would be run, with its settings, and run nothing."""

    def __post_init__(self) -> None:
        at_least(1, self, "seeds")
        positive(self, "minutes")
        if self.name == "photo":
            if self.points is None:
                raise UsageError("photo needs the mesh points of the faces: --points FILE")
            return
        if self.name not in RECIPES:
            raise UsageError(f"there is no recipe {self.name!r}; choose from {', '.join(RECIPES)}, photo")
        known = sorted({row.run for row in RECIPES[self.name].rows})
        if unknown := [name for name in self.only if name not in known]:
            raise UsageError(f"--only {unknown[0]}: this recipe has {', '.join(known)}")
        if self.preset is not None:
            architecture(self.preset)

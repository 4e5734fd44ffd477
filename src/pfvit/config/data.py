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
    """Turn the official download of a data set into checked Parquet files that train and evaluate read.

    After a stop or a kill the same command continues. If everything is done already, it checks the files.
    """

    name: Positional[str]
    """rafdb, affectnet7, affectnet8, ferplus, fer2013, sfew, expw, ckplus; folders: one folder per class; faces:
    unlabelled pictures of any kind, for pre-training."""
    source: Positional[Path]
    """Folder of the unpacked download."""
    out: Positional[Path]
    """Folder for SPLIT-00000.parquet ..., manifest.json, and bad.jsonl with the rows set aside."""
    crop: Literal["auto", "given", "box", "align"] = "auto"
    """given keeps pictures as they are; box cuts out the published box; align finds the face and turns it upright
    (within the published box if there is one, else the largest face). auto chooses what the data set needs."""
    size: int = 256
    """Longest side of the faces that are cut out, in pixels; smaller ones are not enlarged."""
    held_out: float = 0.2
    """Share kept for testing where a set has no official split; pictures of one person or photo stay together."""
    hash_distance: Annotated[int, arg(aliases=("--near",))] = 10
    """Bits of 128 in which the hashes of two near duplicates may differ; 0 for exact duplicates only. The search grows
    with the square of the number of faces: above a few million use 6."""
    order: Words = ()
    """folders: what folders named by numbers stand for (fer2013, rafdb, affectnet7, ...), or the names of your own
    classes."""
    apart_from: Paths = ()
    """Prepared folders to compare with: `also_in` names those that hold the same face, so that pre-training does
    not see faces of a test set."""
    smallest: int = 48
    """faces: drop faces narrower than this many pixels."""
    sharpness: float = 20.0
    """faces: drop blurred faces, with a variance of the Laplacian (at 96 px) below this."""
    strict: bool = False
    """Stop at the first bad row, and if counts differ from the published ones."""
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
    """Train, export and evaluate a recipe, and print its table: shipped weights, the ablation, the paper's test sets.

    After a stop the same command continues. Recipes are defined in `pfvit.config.recipes`.
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
    """Parquet files of faces for masked pre-training; their labels are ignored (the authors took AffectNet's). The
    training part of --data if not given. A student also learns its teachers' answers to those that are not in
    --data."""
    points: Path | None = None
    """photo: the file of mesh points of the faces in --data. shipped: of those in --faces, to correct the teachers'
    answers by the shape of the face."""
    preset: str | None = None
    """Preset with other sizes than the recipe's; `pfvit info list` lists them."""
    scale: Literal["full", "try"] = "full"
    """try: a hundredth of the epochs, to see that everything works."""
    only: Words = ()
    """Runs to measure, together with the runs they start from: a to e2 of the ablation, baseline or gan of a test
    set."""
    seeds: int | None = None
    """Number of seeds to repeat everything with; the recipe's if not given."""
    judge: Path | None = None
    """Another recogniser's .onnx, which says how neutral the generated faces look (experiments/judge.py)."""
    minutes: float | None = None
    """Stop cleanly after this many minutes."""
    resident: bool = False
    """Keep the decoded faces in the device's memory."""
    compile: bool = False
    """Compile the models with torch.compile."""
    print_only: bool = False
    """Print the runs and their settings, and run nothing."""

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

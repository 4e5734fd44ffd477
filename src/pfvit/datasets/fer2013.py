"""FER2013 as Kaggle has it: `fer2013.csv` with seven emotions, one label a face, without FER+'s votes."""

from pathlib import Path

from pfvit.config import Prepare
from pfvit.data.list_files import read_list
from pfvit.datasets.base import Bad, Item, Layout, Listing, need
from pfvit.emotions import ORDERS, SEVEN

NAMES = ORDERS["fer2013"]
LABELS = {str(number): name for number, name in enumerate(NAMES)}
HINT = "SOURCE is a folder with fer2013.csv (or icml_face_data.csv) from Kaggle"
PARTS = ("train", "val", "test")


def listing(source: Path, config: Prepare) -> Listing:
    """List the rows of the table; val is PublicTest, test is PrivateTest."""
    file = need(source, ("fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv"), HINT)
    for number, row in enumerate(read_list(file).rows, 2):
        label = str(row.label).strip()
        if label not in LABELS:
            yield Bad(file.name, number, f"emotions are 0 to 6, not {label!r}; take the row from the original file")
        elif row.part not in PARTS or not isinstance(row.picture, tuple):
            yield Bad(file.name, number, f"Usage is Training, PublicTest or PrivateTest, not {row.part!r}")
        else:
            place = f"{file.name}, row {number}"
            yield Item(row.part, number, row.name, place, file, LABELS[label], label, span=row.picture)


def _counts(*values: int) -> dict[str, int]:
    return dict(zip(NAMES, values, strict=True))


SET = Layout(
    "fer2013",
    "FER2013",
    "Goodfellow et al., 2013 (arXiv 1307.0414), Kaggle",
    "The pictures were gathered by web search for a research contest and have no open licence: research only.",
    SEVEN,
    listing,
    # The counts of Kaggle's file.
    {
        "train": _counts(3995, 436, 4097, 7215, 4830, 3171, 4965),
        "val": _counts(467, 56, 496, 895, 653, 415, 607),
        "test": _counts(491, 55, 528, 879, 594, 416, 626),
    },
    "val is PublicTest, test is PrivateTest; FER+'s votes for the same pictures agree better (pfvit prepare ferplus)",
    LABELS,
)

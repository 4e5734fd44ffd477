"""`pfvit prepare`: turn the official download of a data set into checked Parquet files."""

from pfvit.config import Prepare
from pfvit.datasets import pipeline


def prepare(config: Prepare) -> int:
    """Prepare a data set, or go on with it; return the exit status: 1 if rows were set aside."""
    manifest = pipeline.prepare(config)
    return 1 if manifest["bad"] else 0

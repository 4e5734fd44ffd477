"""`pfvit prepare`: turn the official download of a data set into checked Parquet files."""

from collections.abc import Sequence

import tyro

from pfvit.config import Prepare
from pfvit.datasets.pipeline import prepare


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit prepare` and return its exit status: 1 if rows were set aside."""
    config = tyro.cli(Prepare, prog="pfvit prepare", args=arguments)
    told = prepare(config)
    return 1 if told["bad"] else 0

"""`pfvit export`: turn a training run into .onnx files."""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from pfvit.config import Export
from pfvit.errors import InputError
from pfvit.export.onnx import checkpoint_path, export_run
from pfvit.inference.network import generator_path, int8_path


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit export`."""
    config = tyro.cli(Export, prog="pfvit export", args=arguments)
    if config.emphasis <= 0:
        raise InputError(f"--emphasis must be more than 0, not {config.emphasis}", status=2)
    if config.balance < 0 or (config.balance and config.calibrate is None):
        raise InputError("--balance must be 0 or more, and needs --calibrate to know how rare emotions are", status=2)
    out = export_run(config)
    for path in filter(Path.exists, (out, int8_path(out), generator_path(out), checkpoint_path(out))):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201
    return 0

"""`pfvit export`: turn a training run into .onnx files."""

from pathlib import Path

from pfvit.config import Export
from pfvit.export.onnx import checkpoint_path, export_run
from pfvit.inference.network import generator_path, int8_path
from pfvit.utils.console import say


def export(config: Export) -> None:
    """Write the files and say how large they are."""
    out = export_run(config)
    for path in filter(Path.exists, (out, int8_path(out), generator_path(out), checkpoint_path(out))):
        say(f"{path}  {path.stat().st_size / 1e6:.1f} MB")

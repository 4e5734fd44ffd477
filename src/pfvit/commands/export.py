"""`pfvit export`: turn a training run into .onnx files."""

from pathlib import Path

from pfvit.config import Export
from pfvit.export.onnx import checkpoint_path, export_run
from pfvit.inference.network import drawing_path, generator_path, int8_path
from pfvit.utils.console import say


def export(config: Export) -> None:
    """Write the files and say how large they are."""
    out = export_run(config)
    beside = (int8_path(out), generator_path(out), drawing_path(out), checkpoint_path(out))
    for path in filter(Path.exists, (out, *beside)):
        say(f"{path}  {path.stat().st_size / 1e6:.1f} MB")

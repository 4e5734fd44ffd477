"""The weight files that ship with the package."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "pfvit.onnx"
#: What training can start from (`pfvit train --start shipped`); in the repository, not in the wheel.
CHECKPOINT = SHIPPED.with_suffix(".safetensors")

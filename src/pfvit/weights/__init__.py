"""The weight files that ship with the package, and what a run calls its own."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "pfvit.onnx"
#: What training can start from (`pfvit train --start shipped`); in the repository, not in the wheel.
CHECKPOINT = SHIPPED.with_suffix(".safetensors")
#: Finds faces (`pfvit.detection`): libfacedetection's network, whose licence is in the .LICENSE.txt beside it.
DETECTOR = SHIPPED.with_name("libfacedetection.onnx")
#: The checkpoint in a run folder of training.
LAST = "last.safetensors"

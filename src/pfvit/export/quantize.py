"""A recogniser's answers with 8-bit weights and activations: `NAME-int8.onnx`, about twice as fast as `NAME.onnx`.

It gives answers only. The components that faces are generated from come from the full file: in 8 bits, a linear probe
reads the emotion off the residue again (lab book).
"""

import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from pfvit.utils.files import atomic_write

#: Faces whose activations set the ranges, and how many go through at a time.
CALIBRATION_FACES, AT_ONCE = 256, 32
HEAVY = ("Conv", "MatMul", "Gemm")
#: A convolution's range begins at 0 if a Relu follows, which then has nothing to do; what a product with weights gives
#: is not rounded before the bias is added. Both are more exact and faster than rounding once more.
RECTIFIED, UNROUNDED = ("Relu",), {"OpTypesToExcludeOutputQuantization": ["MatMul"]}


class FaceReader(CalibrationDataReader):
    """Gives batches of faces, from all over the data as it may be sorted by class, to onnxruntime's calibration."""

    def __init__(self, faces: NDArray[np.uint8]):
        faces = faces[np.linspace(0, len(faces) - 1, min(CALIBRATION_FACES, len(faces))).astype(int)]
        # onnxruntime's histograms want batches of one size, so the last faces stay out.
        size = min(AT_ONCE, len(faces))
        self.left: Iterator[NDArray[np.uint8]] = iter(
            [faces[start : start + size] for start in range(0, len(faces) - size + 1, size)]
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # pyrefly: ignore[bad-override]  # the base says dict
        """Return the next batch, or None after the last one."""
        faces = next(self.left, None)
        return None if faces is None else {"image": faces}


def quantize(path: Path, out: Path, faces: NDArray[np.uint8], outputs: Sequence[str]) -> None:
    """Write a recogniser's 8-bit form to `out`, with these outputs alone.

    Ranges are those of `faces`, uint8 [faces, height, width, 3].
    Weights take seven bits per channel, as processors without VNNI overflow with eight; ranges leave out the outermost
    thousandth of a percent. Products of two activations, the pre-processing and the last layer stay as they are.
    """
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        ready, done = Path(folder) / "ready.onnx", Path(folder) / "done.onnx"
        onnx.utils.extract_model(path, ready, ["image"], list(outputs))
        quant_pre_process(ready, ready, skip_symbolic_shape=True)
        logging.disable(logging.WARNING)  # it warns about single vectors, which are left as they are
        try:
            quantize_static(
                ready,
                done,
                FaceReader(faces),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=[*HEAVY, *RECTIFIED],
                nodes_to_exclude=_excluded(onnx.load(ready)),
                calibrate_method=CalibrationMethod.Percentile,
                extra_options=UNROUNDED,
            )
        finally:
            logging.disable(logging.NOTSET)
        model = onnx.load(done)
    onnx.helper.set_model_props(model, about)
    with atomic_write(out) as unfinished:
        onnx.save(model, unfinished)


def _excluded(model: onnx.ModelProto) -> list[str]:
    weights = {one.name for one in model.graph.initializer if len(one.dims) > 1}
    heavy = [node for node in model.graph.node if node.op_type in HEAVY]
    return [node.name for node in heavy if not weights.intersection(node.input) or node is heavy[-1]]

"""Store the weights of an .onnx file in 8 bits, while all arithmetic stays in full precision.

Each large matrix is kept as int8 with one scale per output channel (symmetric, to the nearest of 255 levels), and is
turned back into float32 by a Cast and a Mul that onnxruntime folds away when it opens the file. So the file is a
quarter as large, and as fast and nearly as exact as before: a weight is off by at most half a level, 0.4% of the
largest weight of its channel. Large tables that are added, which are those of positions (numbers up to 1), take 16
bits. This is not the 8-bit arithmetic of `pfvit.export.quantize`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pfvit.utils.files import atomic_write

#: Smaller tensors, such as biases, are not worth it.
SMALLEST = 4096
TABLE = 32768
LEVELS = 127
#: Stays in full precision (37 KB): the emotion's axes are found in closed form so that no linear probe reads it off the
#: residue, and rounded ones leave it there (docs/lab-book.md, "Rounded axes").
EXACT = "separator.basis"
#: Along which axis of a weight the output channels lie, by the operator that uses it.
CHANNEL_AXIS = {"Conv": 0, "MatMul": -1, "Gemm": 0}


def store_in_8_bits(path: Path) -> None:
    """Rewrite an .onnx file with its large float32 weights stored as int8, and large tables as float16."""
    model = onnx.load(path)
    graph = model.graph
    users: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, node)
    kept, added = [], []
    for tensor in graph.initializer:
        user = users.get(tensor.name)
        axis = None if user is None else CHANNEL_AXIS.get(user.op_type)
        values = numpy_helper.to_array(tensor)
        if tensor.name.endswith(EXACT):
            axis = None
        if user is not None and user.op_type == "Add" and values.dtype == np.float32 and values.size >= TABLE:
            kept.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half"))
            added.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
            continue
        if axis is None or values.dtype != np.float32 or values.ndim < 2 or values.size < SMALLEST:
            kept.append(tensor)
            continue
        if user is not None and user.op_type == "Gemm" and not _transposed(user):
            axis = -1
        levels, scale = _levels(values, axis)
        kept += [
            numpy_helper.from_array(levels, f"{tensor.name}.int8"),
            numpy_helper.from_array(scale, f"{tensor.name}.scale"),
        ]
        added += [
            helper.make_node("Cast", [f"{tensor.name}.int8"], [f"{tensor.name}.levels"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{tensor.name}.levels", f"{tensor.name}.scale"], [tensor.name]),
        ]
    nodes = [*added, *graph.node]
    # Shapes of what lies between the nodes: onnxruntime infers them anyway.
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    _share_equal(graph)
    onnx.checker.check_model(model)
    with atomic_write(path) as unfinished:
        onnx.save(model, unfinished)


def short_names(path: Path, kept: Sequence[str]) -> None:
    """Rewrite an .onnx file with short names for its values, none for its nodes, and no shapes of what lies between.

    Inputs and outputs keep their names, and so does what contains one of `kept`. It makes a file some percent smaller.
    """
    model = onnx.load(path)
    graph = model.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}

    def short(name: str) -> str:
        return names.setdefault(name, name if any(part in name for part in kept) else f"v{len(names)}")

    for node in graph.node:
        node.name = node.doc_string = ""
        node.input[:], node.output[:] = map(short, node.input), map(short, node.output)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    with atomic_write(path) as unfinished:
        onnx.save(model, unfinished)


def _share_equal(graph: onnx.GraphProto) -> None:
    """Store tensors that are equal once, as the positions of two transformers of one size."""
    first: dict[tuple, str] = {}
    instead: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        known = first.setdefault((tensor.data_type, *tensor.dims, tensor.raw_data), tensor.name)
        if tensor.raw_data and known != tensor.name:
            instead[tensor.name] = known
        else:
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = instead.get(name, name)


def _levels(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest levels, int8, and the scale of each channel along `axis`."""
    axis %= values.ndim
    others = tuple(k for k in range(values.ndim) if k != axis)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), np.finfo(np.float32).tiny) / LEVELS
    return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)


def _transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)

"""Take a few kilobytes off .onnx files after `pfvit export`, so that the base install stays at 250 MB.

    python experiments/smaller_files.py src/pfvit/weights/pfvit-int8.onnx src/pfvit/weights/pfvit-generator.onnx

Constants that are there more than once are kept once, which changes no answer. In generators, numbers in 32 bits take
16, as `pfvit.export.compact` does with larger tables; weights are in 8 bits anyway. A file that was done before stays
as it is.
"""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

TABLE = 256  # bytes: what casts smaller ones back takes as much


def keep_once(graph: onnx.GraphProto) -> None:
    """Let all users of equal constants use the first of them."""
    first: dict[tuple, str] = {}
    names = {}
    for tensor in graph.initializer:
        value = tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()
        names[tensor.name] = first.setdefault(value, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    kept = [tensor for tensor in graph.initializer if names[tensor.name] == tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def halve_tables(graph: onnx.GraphProto) -> None:
    """Store float32 tables in 16 bits."""
    for tensor in [one for one in graph.initializer if one.data_type == TensorProto.FLOAT]:
        table = numpy_helper.to_array(tensor)
        if table.nbytes >= TABLE:
            half = f"{tensor.name}.half"
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(table.astype("float16"), half))
            graph.node.insert(0, helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))


for path in map(Path, sys.argv[1:]):
    before, model = path.stat().st_size, onnx.load(path)
    keep_once(model.graph)
    if path.stem.endswith("-generator"):
        halve_tables(model.graph)
    onnx.save(model, path)
    print(f"{path}: {before:,} to {path.stat().st_size:,} bytes")

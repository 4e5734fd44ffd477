"""Weight files that reach beyond themselves, never end or ask for gigabytes are refused before they are run."""

import random
from pathlib import Path

import fake_weights
import hostile
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfvit.config import Serve
from pfvit.errors import InputError
from pfvit.inference.network import generator_path, open_generator, open_recogniser
from pfvit.inference.weight_file import check
from pfvit.service.app import create_app
from pfvit.weights import SHIPPED


@pytest.fixture
def path(tmp_path):
    return fake_weights.write(tmp_path)


def changed(path: Path, **parts: object) -> Path:
    """Put nodes before the others (`nodes`), and constants (`constants`), into a weight file."""
    model = onnx.load(path)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*parts.get("nodes", []), *nodes])
    constants = parts.get("constants", {})
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.save(model, path)
    return path


def added(path: Path, name: str, **parts: object) -> Path:
    """Let the answer depend on the sum of a tensor."""
    changed(path, **parts)
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    node.input[0] = "sum of both"
    at = list(model.graph.node).index(node)
    axes = ["axes of all"] if parts.get("flat") else []
    model.graph.node.insert(at, helper.make_node("ReduceSum", [name, *axes], ["all of it"], keepdims=0))
    model.graph.node.insert(at + 1, helper.make_node("Add", ["logits", "all of it"], ["sum of both"]))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("file", sorted(SHIPPED.parent.glob("*.onnx")), ids=lambda path: path.name)
def test_what_ships_passes(file):
    assert check(file)


def test_data_in_other_files_is_refused_wherever_it_stands(path, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("onnxruntime saw it")

    outside = TensorProto(name="centres", data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    inside = helper.make_graph([], "inner", [], [], [outside])
    whole = path.read_bytes()
    monkeypatch.setattr(onnxruntime, "InferenceSession", never)
    for way in ("initializer", "attribute", "subgraph", "sparse"):
        path.write_bytes(whole)
        model = onnx.load(path)
        if way == "initializer":
            model.graph.initializer.append(outside)
        elif way == "attribute":
            node = onnx.NodeProto(op_type="Constant", output=["x"])
            node.attribute.append(onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=outside))
            model.graph.node.append(node)
        elif way == "subgraph":
            model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=inside, else_branch=inside))
        else:
            model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=outside))
        path.write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="from another file: export it anew"):
            open_recogniser(path)


def test_loops_and_functions_are_refused(path):
    whole = path.read_bytes()
    body = helper.make_graph([], "body", [], [])
    for operator in ("Loop", "Scan", "SequenceMap"):
        path.write_bytes(whole)
        with pytest.raises(InputError, match=f"has a {operator}, which may never end"):
            open_recogniser(changed(path, nodes=[helper.make_node(operator, ["a", "b"], ["c"], body=body)]))
    model = onnx.load_from_string(whole)
    model.functions.append(onnx.FunctionProto(name="f", domain="d"))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="defines functions"):
        open_recogniser(path)
    deep = helper.make_graph([], "deepest", [], [])
    for _ in range(20):
        deep = helper.make_graph([helper.make_node("If", ["c"], ["x"], then_branch=deep)], "deep", [], [])
    with pytest.raises(InputError, match="without end"):
        path.write_bytes(whole)
        open_recogniser(changed(path, nodes=list(deep.node)))


def test_more_nodes_than_any_network_has_are_refused(path):
    """onnxruntime took minutes to open 60,000."""
    chain = [helper.make_node("Identity", [f"x{number}"], [f"x{number + 1}"]) for number in range(5_001)]
    with pytest.raises(InputError, match="more than 5,000 nodes: export it anew"):
        open_recogniser(changed(path, nodes=chain))


HUGE = np.array([60_000, 60_000])
#: Nodes that make `big` of constants alone.
BOMBS = {
    "shape": (("ConstantOfShape", ["s"]), {"s": HUGE}),
    "expanded": (("Expand", ["x", "s"]), {"x": np.zeros((1, 1)), "s": HUGE}),
    "product": (("Mul", ["x", "y"]), {"x": np.zeros((60_000, 1)), "y": np.zeros((1, 60_000))}),
    "computed": (("ConstantOfShape", ["t squared"]), {"t": np.array([300, 300])}),
    "range": (("Range", ["a", "b", "c"]), {"a": np.array(0), "b": np.array(4 * 10**9), "c": np.array(1)}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_shapes_that_take_gigabytes_are_not_computed(path, name):
    (operator, inputs), constants = BOMBS[name]
    nodes = [
        helper.make_node("Mul", ["t", "t"], ["t squared"]),
        helper.make_node(operator, inputs, ["big"]),
        helper.make_node("Cast", ["big"], ["floats"], to=TensorProto.FLOAT),
    ][0 if name == "computed" else 1 :]
    bomb = added(path, "floats", nodes=nodes, constants=constants)
    assert not check(bomb)
    with pytest.raises(InputError, match=r"cannot be run: .*export it anew"):
        open_recogniser(bomb)


def test_nodes_in_another_order_are_not_folded(path):
    model = onnx.load(path)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    assert not check(path)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"size": "0"}, "a size of 0"),
        ({"size": "-5"}, "a size of -5"),
        ({"size": "1000000000"}, "a size of 1000000000"),
        ({"labels": '["a","a","b","c","d","e","f","g"]'}, "a label twice"),
        ({"labels": '["a","b"]'}, "does not answer each face with finite numbers"),
        ({"emphasis": "nan"}, "an emphasis of nan"),
        ({"emphasis": "-1"}, "an emphasis of -1"),
        ({"labels": "[" * 5000}, "does not say all that it should"),
        ({"labels": '"abcdefgh"'}, "labels are no list of names"),
        ({"labels": '["\\u001b[2J","b","c","d","e","f","g","h"]'}, "a label that is no name"),
        ({"labels": f'["{"a" * 201}","b","c","d","e","f","g","h"]'}, "a label that is no name"),
        ({"labels": '[["a"],{},"c","d","e","f","g","h"]'}, "labels are no list of names"),
    ],
)
def test_what_no_export_says(tmp_path, says, why):
    with pytest.raises(InputError, match=f"{why}.*: export it anew"):
        open_recogniser(fake_weights.write(tmp_path, **says))


def test_answers_that_are_no_numbers(path):
    model = onnx.load(path)
    (slope,) = (one for one in model.graph.initializer if one.name == "slope")
    slope.CopyFrom(numpy_helper.from_array(np.float32([np.nan]), "slope"))
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"does not answer each face with finite numbers .*: export it anew"):
        open_recogniser(path)


def replaced(path: Path, name: str, kind: int, *nodes: onnx.NodeProto, **constants: np.ndarray) -> None:
    """Make an answer of another one, "before"."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = ["before" if one == name else one for one in node.output]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, word) for word, value in constants.items())
    (answer,) = (one for one in model.graph.output if one.name == name)
    answer.CopyFrom(helper.make_tensor_value_info(name, kind, None))
    onnx.save(model, path)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.INT64])
def test_answers_that_are_text_or_whole_numbers(path, kind):
    replaced(path, "probabilities", kind, helper.make_node("Cast", ["before"], ["probabilities"], to=kind))
    with pytest.raises(InputError, match=r"finite numbers \(probabilities\): export it anew"):
        open_recogniser(path)


def test_answers_that_are_wrong_for_some_faces_alone(path):
    one_for_all = helper.make_node("ReduceMean", ["before", "first"], ["probabilities"], keepdims=1)
    replaced(path, "probabilities", TensorProto.FLOAT, one_for_all, first=np.array([0]))
    faces = [np.full((12, 12, 3), brightness, np.uint8) for brightness in (100, 200)]
    opened = open_recogniser(path)
    with pytest.raises(InputError, match=r"finite numbers \(probabilities\): export it anew"):
        opened.probabilities(faces)


def test_faces_of_another_size_than_the_file_says(path):
    cut = helper.make_node("Slice", ["before", "from", "to", "axis"], ["face"])
    ends = {"from": np.array([0]), "to": np.array([3]), "axis": np.array([1])}
    replaced(generator_path(path), "face", TensorProto.FLOAT, cut, **ends)
    recogniser = open_recogniser(path)
    (parts,) = recogniser.each([np.full((12, 12, 3), 100, np.uint8)], ("emotion", "residue"))
    emotion, residue = (part[None] for part in parts)
    with pytest.raises(InputError, match=r"finite numbers \(face\): export it anew"):
        open_generator(recogniser).run(emotion=emotion, residue=residue, strength=np.ones(1, np.float32))


@pytest.mark.parametrize("seed", range(2))
def test_damaged_files_open_or_say_so(path, seed):
    rng = random.Random(seed)
    whole = path.read_bytes()
    for _ in range(60):
        path.write_bytes(hostile.damaged(whole, rng))
        try:
            open_recogniser(path)
        except InputError as problem:
            assert str(path) in str(problem)


def test_weights_that_cannot_be_run_end_the_service_before_it_starts(path):
    odd = helper.make_node("Reshape", ["before", "seven"], ["face"])
    replaced(generator_path(path), "face", TensorProto.FLOAT, odd, seven=np.array([7, -1]))
    with pytest.raises(InputError, match=r"-generator\.onnx cannot be run: .*; export it anew"):
        create_app(Serve(weights=path))

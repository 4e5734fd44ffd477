"""What is looked at in an ONNX file before onnxruntime opens it, as that follows much of what a file asks for.

The file is read as Protocol Buffers, field by field; field numbers are those of `onnx.proto3` (ONNX 1.18).
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path

from pfvit.data.formats import HEAD, mistaken_for
from pfvit.errors import InputError

#: Most fields outside of tensors' data, and how deep graphs may lie in each other; weight files have some ten thousand.
MOST_FIELDS, DEEPEST = 2_000_000, 8
#: Most nodes; ours have some hundred. The time to open a file grows with their square, and 60,000 took minutes.
MOST_NODES = 5_000
#: Nodes that may run without end.
ENDLESS = {b"Loop", b"Scan", b"SequenceMap"}
#: What a node of constants alone makes is no larger than the constants: these keep their first input's shape, these
#: only its size, and these are as large as their inputs are together if their shapes fit.
SAME_SHAPE = {b"Cast", b"DequantizeLinear", b"Identity", b"Neg", b"QuantizeLinear", b"Sqrt"}
SAME_SIZE = {b"Constant", b"Reshape", b"Shape", b"Squeeze", b"Transpose", b"Unsqueeze"}
BROADCAST = {b"Add", b"Div", b"Mul", b"Sub"}
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_SPARSE, VALUE_NAME = 1, 5, 11, 15, 1
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 4, 5
NODE_TEXTS = {1, 2, 3, 4, 6, 7}
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
TENSOR_DIMS, TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 8, 13, 14
SPARSE_TENSORS = (1, 2)
EXTERNAL = 1

Piece = memoryview | int
Shape = tuple[int, ...] | None


def check(path: Path) -> bool:
    """Return whether onnxruntime may compute what depends on constants alone while it opens a file.

    Raise InputError for data in other files, for nodes that may run without end, and for what is no ONNX file.
    """
    try:
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed when its last view is gone
        scan = _Scan(path)
        scan.model(memoryview(whole))
        return scan.harmless
    except OSError as problem:
        raise InputError(f"{path} cannot be opened: {problem.strerror}") from problem
    except (ValueError, IndexError) as problem:  # ValueError: an empty file too
        with path.open("rb") as file:
            why = mistaken_for("weights", file.read(HEAD)) or "is damaged, or no ONNX file: it cannot be parsed"
        raise InputError(f"{path} {why}") from problem


class _Scan:
    """One pass over a file."""

    def __init__(self, path: Path):
        self.path, self.count, self.nodes, self.harmless = path, 0, 0, True
        self.constants: dict[bytes, Shape] = {}
        """Their shapes; None for one that is not known."""
        self.known: set[bytes] = set()
        """Names that came before; onnxruntime sorts nodes that stand in another order, and we do not."""

    def model(self, content: memoryview) -> None:
        graphs = []
        for field, value in self.fields(content):
            if field == MODEL_FUNCTIONS:
                raise InputError(f"{self.path} defines functions, which pfvit does not run: export it anew")
            if field == MODEL_GRAPH and isinstance(value, memoryview):
                graphs.append(value)
        for one in graphs:
            self.graph(one)

    def graph(self, content: memoryview, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise InputError(f"{self.path} has graphs within graphs without end: export it anew")
        nodes = []
        for field, value in self.fields(content):
            if not isinstance(value, memoryview):
                continue
            if field == GRAPH_INITIALIZER:
                name, shape = self.tensor(value)
                self.constants[name] = shape
                self.known.add(name)
            elif field == GRAPH_INPUT:
                self.known.update(bytes(part) for one, part in self.fields(value) if one == VALUE_NAME and part)
            elif field == GRAPH_SPARSE:
                self.sparse(value)
                self.harmless = False  # it is made dense
            elif field == GRAPH_NODE:
                nodes.append(value)
        for one in nodes:  # each after those that it reads from
            self.node(one, depth)

    def node(self, content: memoryview, depth: int) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise InputError(f"{self.path} has more than {MOST_NODES:,} nodes: export it anew")
        inputs, outputs, operator = [], [], b""
        for field, value in self.fields(content):
            if not isinstance(value, memoryview):
                continue
            if field in NODE_TEXTS:
                str(value, "utf-8")  # what is none is no ONNX file: onnxruntime prints more than it raises
            if field == NODE_INPUT:
                inputs.append(bytes(value))
            elif field == NODE_OUTPUT:
                outputs.append(bytes(value))
            elif field == NODE_OPERATOR:
                operator = bytes(value)
                if operator in ENDLESS:
                    raise InputError(f"{self.path} has a {operator.decode()}, which may never end: export it anew")
            elif field == NODE_ATTRIBUTE:
                self.attribute(value, depth)
        self.harmless = self.harmless and all(name in self.known or not name for name in inputs)
        self.known.update(outputs)
        if all(name in self.constants or not name for name in inputs):
            shape, larger = _made(operator, [self.constants[name] for name in inputs if name])
            self.constants |= dict.fromkeys(outputs, shape)
            self.harmless = self.harmless and not larger

    def attribute(self, content: memoryview, depth: int) -> None:
        for field, value in self.fields(content):
            if isinstance(value, memoryview):
                if field in ATTRIBUTE_TENSORS:
                    self.tensor(value)
                elif field in ATTRIBUTE_SPARSE:
                    self.sparse(value)
                    self.harmless = False
                elif field in ATTRIBUTE_GRAPHS:
                    self.graph(value, depth + 1)

    def sparse(self, content: memoryview) -> None:
        for field, value in self.fields(content):
            if field in SPARSE_TENSORS and isinstance(value, memoryview):
                self.tensor(value)

    def tensor(self, content: memoryview) -> tuple[bytes, Shape]:
        """Return its name and shape."""
        name, shape = b"", []
        for field, value in self.fields(content):
            if field == TENSOR_EXTERNAL or (field == TENSOR_LOCATION and value == EXTERNAL):
                raise InputError(f"{self.path} reads its weights from another file: export it anew, as one file")
            if field == TENSOR_NAME and isinstance(value, memoryview):
                name = bytes(value)
            elif field == TENSOR_DIMS and isinstance(value, int):
                shape.append(value)
            elif field == TENSOR_DIMS and isinstance(value, memoryview):
                at = 0
                while at < len(value):
                    size, at = _varint(value, at)
                    shape.append(size)
        return name, tuple(shape)

    def fields(self, content: memoryview) -> Iterator[tuple[int, Piece]]:
        """Yield the number and the value of each field."""
        at, end = 0, len(content)
        while at < end:
            self.count += 1
            if self.count > MOST_FIELDS:
                raise InputError(f"{self.path} has far more parts than weights need: export it anew")
            key, at = _varint(content, at)
            kind = key & 7
            if kind == VARINT:
                value, at = _varint(content, at)
                yield key >> 3, value
                continue
            if kind == LENGTH:
                size, at = _varint(content, at)
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
            else:
                raise ValueError(kind)
            if size > end - at:
                raise IndexError(at)
            yield key >> 3, content[at : at + size]
            at += size


def _made(operator: bytes, shapes: list[Shape]) -> tuple[Shape, bool]:
    """Return the shape of what a node makes of constants, if it is known, and whether it may be far larger."""
    if operator in SAME_SIZE:
        return None, False
    if operator in SAME_SHAPE and shapes:
        return shapes[0], False
    if operator in BROADCAST and len(shapes) == 2 and shapes[0] is not None and shapes[1] is not None:
        deepest = max(len(shapes[0]), len(shapes[1]))
        one, two = ((1,) * (deepest - len(shape)) + shape for shape in (shapes[0], shapes[1]))
        shape = tuple(max(pair) for pair in zip(one, two, strict=True))
        return shape, math.prod(shape) > math.prod(one) + math.prod(two)
    return None, True


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError(shift)

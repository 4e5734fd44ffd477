"""What a recogniser says of its own answers: the probability that each is right, which falls on unusual crops too.

A logistic regression on the answer's log odds and on the encoder's tokens (class token and mean patch), fitted on
held-out faces as they are, framed otherwise, partly covered, turned and small. Probabilities alone tell little of a
covered mouth: the network is as sure of "neutral" there as of a face that is. It is written into the `.onnx` files as a
further output, `reliability`.

Held-out faces of FER+ say nothing of mild smiles, which its annotators call neutral. So a file may be told from which
share of happiness on a neutral answer is too doubtful (`mild_smiles`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pfvit.emotions import HAPPINESS, NEUTRAL
from pfvit.evaluation.robustness import VIEWS
from pfvit.inference.unsure import LEAST_RELIABLE, RELIABILITY
from pfvit.utils.cores import cores
from pfvit.utils.files import atomic_write

#: The views that it is fitted on, besides the faces as they are.
FITTED = (
    *(f"framed {percent:+d}%" for percent in (-12, 12, 20, 30)),
    *(f"covered: {part}" for part in ("mouth", "eyes", "half", "lower")),
    "turned 15°",
    "20 px wide",
)
#: Penalty on the squared weights of the standardised tokens, per face and view; the log odds have none.
PENALTY = 0.17
AT_ONCE, STEPS, TINY = 64, 25, 1e-6
#: What the last layer of every encoder is called in the exported files.
LAST_NORM = "encoder.norm.weight"


class Reliability(NamedTuple):
    """The weights: log odds of being right = bias + slope * log odds of the answer + tokens @ weight."""

    bias: float
    slope: float
    weight: NDArray[np.float32]
    """[2 * width]: of the class token and of the mean patch."""


def fit_reliability(path: Path, faces: NDArray[np.uint8], truth: NDArray[np.integer]) -> Reliability:
    """Fit a recogniser's file on held-out faces, uint8 [faces, height, width, 3], and the emotions they show."""
    best, tokens, right = (np.concatenate(part) for part in zip(*_answers(path, faces, truth), strict=True))
    mean, spread = tokens[: len(faces)].mean(0), tokens[: len(faces)].std(0) + 1e-3
    seen = np.column_stack([np.ones(len(best)), _log_odds(best), (tokens - mean) / spread])
    penalty = np.full(seen.shape[1], PENALTY * len(seen))
    penalty[:2] = TINY * len(seen)  # none, but for data in which every answer is right
    weight = np.zeros(seen.shape[1])
    for _ in range(STEPS):  # Newton's method
        expected = 1 / (1 + np.exp(-np.clip(seen @ weight, -30, 30)))
        slope = seen.T @ (expected - right) + penalty * weight
        curvature = (seen * (expected * (1 - expected))[:, None]).T @ seen + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        weight -= step
        if np.abs(step).max() < TINY:
            break
    scaled = weight[2:] / spread
    return Reliability(float(weight[0] - scaled @ mean), float(weight[1]), scaled.astype(np.float32))


#: A node to add: operation, inputs (`/name` are outputs and constants of ours), output, attributes.
Step = tuple[str, list[str], str, dict[str, Any]]


def write_reliability(path: Path, fitted: Reliability, labels: Sequence[str] = (), mild_smiles: float = 0.0) -> None:
    """Add the output `reliability`, float32 [batch], to a recogniser's file.

    With `mild_smiles`, a share of happiness, an answer of neutral with so much happiness in it is no more reliable than
    `LEAST_RELIABLE`, and falls with the odds of happiness to neutral; `labels` are those of the file.
    """
    model = onnx.load(path)
    constants = {
        "first": np.array([0]),
        "second": np.array([1]),
        "end": np.array([np.iinfo(np.int64).max]),
        "last_axis": np.array([-1]),
        "weight": fitted.weight[:, None],
        "bias": np.array(fitted.bias, np.float32),
        "slope": np.array(fitted.slope, np.float32),
        "one": np.array(1 + TINY, np.float32),
        "tiny": np.array(TINY, np.float32),
    }
    steps: tuple[Step, ...] = (
        # A recogniser that looks at the mirror image too has its tokens behind the face's own.
        ("Shape", ["probabilities"], "count", {"start": 0, "end": 1}),
        ("Slice", [_tokens_of(model), "/first", "/count", "/first"], "tokens", {}),
        ("Slice", ["/tokens", "/first", "/second", "/second"], "class", {}),
        ("Slice", ["/tokens", "/second", "/end", "/second"], "patches", {}),
        ("ReduceMean", ["/patches", "/second"], "patch", {"keepdims": 1}),
        ("Concat", ["/class", "/patch"], "seen", {"axis": 2}),
        ("MatMul", ["/seen", "/weight"], "column", {}),
        ("Reshape", ["/column", "/last_axis"], "unusual", {}),
        ("ReduceMax", ["probabilities", "/last_axis"], "best", {"keepdims": 0}),
        ("Sub", ["/one", "/best"], "rest", {}),
        ("Add", ["/best", "/tiny"], "some", {}),
        ("Div", ["/some", "/rest"], "odds", {}),
        ("Log", ["/odds"], "log_odds", {}),
        ("Mul", ["/log_odds", "/slope"], "scaled", {}),
        ("Add", ["/scaled", "/unusual"], "both", {}),
        ("Add", ["/both", "/bias"], "all", {}),
        ("Sigmoid", ["/all"], "fitted", {}),
    )
    last = "fitted"
    if mild_smiles and {NEUTRAL, HAPPINESS} <= set(labels):
        more, doubting = _doubt_of_smiles(labels, mild_smiles)
        constants |= more
        steps += doubting
        last = "careful"
    for operation, inputs, output, settings in steps:
        named = [RELIABILITY + name if name.startswith("/") else name for name in inputs]
        node = helper.make_node(operation, named, [f"{RELIABILITY}/{output}"])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in settings.items())
        model.graph.node.append(node)
    model.graph.node.append(helper.make_node("Identity", [f"{RELIABILITY}/{last}"], [RELIABILITY]))
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, f"{RELIABILITY}/{name}"))
    model.graph.output.append(helper.make_tensor_value_info(RELIABILITY, TensorProto.FLOAT, ["batch"]))
    onnx.checker.check_model(model)
    with atomic_write(path) as unfinished:
        onnx.save(model, unfinished)


def _doubt_of_smiles(labels: Sequence[str], mild_smiles: float) -> tuple[dict[str, np.ndarray], tuple[Step, ...]]:
    """Return constants and nodes for 1 / (1 + doubt * happiness / neutral), LEAST_RELIABLE at that share of happiness,
    which limits the reliability of an answer of neutral."""
    constants = {
        "neutral": np.array([labels.index(NEUTRAL)]),
        "happiness": np.array([labels.index(HAPPINESS)]),
        "doubt": np.array((1 / LEAST_RELIABLE - 1) * (1 - mild_smiles) / mild_smiles, np.float32),
        "whole": np.array(1, np.float32),
    }
    return constants, (
        ("Gather", ["probabilities", "/neutral"], "neutral_column", {"axis": 1}),
        ("Gather", ["probabilities", "/happiness"], "happiness_column", {"axis": 1}),
        ("Reshape", ["/neutral_column", "/last_axis"], "calm", {}),
        ("Reshape", ["/happiness_column", "/last_axis"], "smiling", {}),
        ("Add", ["/calm", "/tiny"], "calm_share", {}),
        ("Div", ["/smiling", "/calm_share"], "smile_odds", {}),
        ("Mul", ["/smile_odds", "/doubt"], "doubts", {}),
        ("Add", ["/doubts", "/whole"], "doubted", {}),
        ("Div", ["/whole", "/doubted"], "trusted", {}),
        ("Min", ["/fitted", "/trusted"], "either", {}),
        ("Equal", ["/calm", "/best"], "called_neutral", {}),
        ("Where", ["/called_neutral", "/either", "/fitted"], "careful", {}),
    )


def _answers(
    path: Path, faces: NDArray[np.uint8], truth: NDArray[np.integer]
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]]:
    """Yield, for the faces as they are and then for each other view: best probability, tokens, and what is right."""
    model = onnx.load(path)
    tokens = _tokens_of(model)
    model.graph.output.append(helper.make_tensor_value_info(tokens, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cores(), 4
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    for view in (np.asarray, *(VIEWS[name] for name in FITTED)):
        parts = []
        for start in range(0, len(faces), AT_ONCE):
            some: Sequence[NDArray[np.uint8]] = [view(face) for face in faces[start : start + AT_ONCE]]
            shares, told = session.run(["probabilities", tokens], {"image": np.stack(some)})
            own = told[: len(some)]
            pooled = np.concatenate([own[:, 0], own[:, 1:].mean(1)], axis=1)
            parts.append((shares.max(1), pooled, shares.argmax(1) == truth[start : start + AT_ONCE]))
        best, tokens_seen, right = (np.concatenate(part) for part in zip(*parts, strict=True))
        yield best, tokens_seen, right


def _tokens_of(model: onnx.ModelProto) -> str:
    """Return the name of the encoder's tokens, [batch, 1 + patches, width], in an exported file."""
    (node,) = (one for one in model.graph.node if any(name.endswith(LAST_NORM) for name in one.input))
    return node.output[0]


def _log_odds(share: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.log((share + TINY) / (1 - share + TINY))

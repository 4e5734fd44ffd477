"""Weights stored in 8 bits: a quarter of the size, nearly the same answers, the arithmetic in full precision."""

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from pfvit.export.compact import store_in_8_bits
from pfvit.export.onnx import write


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 64, 3, padding=1)
        self.up = nn.Linear(64, 256)
        self.down = nn.Linear(256, 8, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(self.convolution(image).mean((2, 3)))))


def test_a_quarter_of_the_size_and_the_same_answers(tmp_path):
    torch.manual_seed(0)
    path, image = tmp_path / "small.onnx", np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)
    write(Small(), (torch.zeros(2, 3, 12, 12),), {"image": {0: torch.export.Dim.DYNAMIC}}, ["out"], path, {"a": "b"})
    large, (full,) = path.stat().st_size, onnxruntime.InferenceSession(path).run(None, {"image": image})
    store_in_8_bits(path)
    session = onnxruntime.InferenceSession(path)
    assert path.stat().st_size < 0.45 * large and session.get_modelmeta().custom_metadata_map == {"a": "b"}
    (stored,) = session.run(None, {"image": image})
    assert 0 < np.abs(stored - full).max() < 0.02 * np.abs(full).max()
    kept = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert sum(kind == onnx.TensorProto.INT8 for kind in kept.values()) == 1  # only the 64 x 256 one is large


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        table = torch.randn(1, 50, 16)
        self.register_buffer("one", table)
        self.register_buffer("other", table.clone())
        self.register_buffer("third", table + 1)

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        return torch.relu(face + self.one) * self.other + self.third


def test_equal_tables_are_stored_once(tmp_path):
    path, face = tmp_path / "twice.onnx", np.random.default_rng(0).normal(size=(2, 50, 16)).astype(np.float32)
    write(Twice(), (torch.zeros(2, 50, 16),), {"face": {0: torch.export.Dim.DYNAMIC}}, ["out"], path, {})
    (before,) = onnxruntime.InferenceSession(path).run(None, {"face": face})
    store_in_8_bits(path)
    tables = [tensor for tensor in onnx.load(path).graph.initializer if list(tensor.dims) == [1, 50, 16]]
    assert len(tables) == 2
    (after,) = onnxruntime.InferenceSession(path).run(None, {"face": face})
    np.testing.assert_array_equal(after, before)


class Placed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.sin(torch.arange(196 * 256.0)).view(1, 196, 256))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.relu(tokens + self.table)


def test_large_tables_of_positions_take_half_the_size(tmp_path):
    path, tokens = tmp_path / "placed.onnx", np.random.default_rng(0).normal(size=(2, 196, 256)).astype(np.float32)
    write(Placed(), (torch.zeros(2, 196, 256),), {"tokens": {0: torch.export.Dim.DYNAMIC}}, ["out"], path, {})
    large, (before,) = path.stat().st_size, onnxruntime.InferenceSession(path).run(None, {"tokens": tokens})
    store_in_8_bits(path)
    (after,) = onnxruntime.InferenceSession(path).run(None, {"tokens": tokens})
    assert path.stat().st_size < 0.55 * large
    assert 0 < np.abs(after - before).max() < 1e-3


def test_each_channel_has_a_scale_of_its_own(tmp_path):
    """A channel of tiny weights beside one of large weights keeps its precision."""
    layer = nn.Linear(128, 64, bias=False)
    with torch.no_grad():
        layer.weight[0] *= 1e-3
    path, image = tmp_path / "layer.onnx", np.random.default_rng(0).normal(size=(4, 128)).astype(np.float32)
    write(layer, (torch.zeros(2, 128),), {"image": {0: torch.export.Dim.DYNAMIC}}, ["out"], path, {})
    (full,) = onnxruntime.InferenceSession(path).run(None, {"image": image})
    store_in_8_bits(path)
    (stored,) = onnxruntime.InferenceSession(path).run(None, {"image": image})
    assert np.abs(stored - full).max(0)[0] < 0.02 * np.abs(full).max(0)[0]


def test_the_axes_of_the_emotion_stay_in_full_precision(tmp_path):
    """What is projected off by rounded axes is not gone: the residue has none of it only if they are exact."""

    class Separator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.basis = nn.Parameter(torch.linalg.qr(torch.randn(192, 48)).Q)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.separator = nn.Linear(64, 192), Separator()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            tokens, basis = self.first(image), self.separator.basis
            return (tokens - tokens @ basis @ basis.T) @ basis

    torch.manual_seed(0)
    path, image = tmp_path / "whole.onnx", np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    write(Whole(), (torch.zeros(2, 64),), {"image": {0: torch.export.Dim.DYNAMIC}}, ["out"], path, {})
    store_in_8_bits(path)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert kinds["separator.basis"] == onnx.TensorProto.FLOAT and onnx.TensorProto.INT8 in kinds.values()
    (left,) = onnxruntime.InferenceSession(path).run(None, {"image": image})
    assert np.abs(left).max() < 1e-5

"""A training run opened as exported weight files are, so that it can be measured without an export."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from pfvit.export.graphs import FaceGraph, Preprocess, Recogniser
from pfvit.inference.generator import FaceGenerator
from pfvit.inference.network import Network
from pfvit.training import checkpoint
from pfvit.training.build import build_pfvit
from pfvit.training.initialise import load_model


class _Output(NamedTuple):
    name: str


class _Session:
    """Computes with torch what onnxruntime's session of an exported file computes."""

    def __init__(self, module: nn.Module, inputs: Sequence[str], outputs: Sequence[str]):
        self.module, self.inputs, self.outputs = module.eval(), inputs, outputs

    def get_outputs(self) -> list[_Output]:
        """Return what can be asked for."""
        return [_Output(name) for name in self.outputs]

    @torch.inference_mode()
    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return outputs by name."""
        out = self.module(*(torch.from_numpy(inputs[name]) for name in self.inputs))
        every = dict(zip(self.outputs, out if isinstance(out, tuple) else (out,), strict=True))
        return [every[name].numpy() for name in names]


def open_run(run: Path, encoder_alone: bool = False) -> FaceGenerator:
    """Open the averaged weights of a run of stage two, given its folder or one of its checkpoints.

    Answers are those of a plain export: temperature 1, full precision, no reliability. With `encoder_alone` a run of
    stage one is opened too; its components add up to what its encoder gives. InputError if it is no such run.
    """
    record = checkpoint.record_of(run)
    if encoder_alone and record["stage"] == "pretrain":
        tensors, _ = checkpoint.load(run)
        model = build_pfvit(checkpoint.architecture_of(record))
        checkpoint.load_into(model.encoder, checkpoint.part_of(tensors, "model.encoder"), "encoder", run)
    else:
        model, record = load_model(run)
    sizes = checkpoint.architecture_of(record)
    model.separator.prepare_export()
    preprocess = Preprocess(sizes.image_size, sizes.channels)
    recogniser = Recogniser(model.encoder, model.separator, model.classifier, preprocess, temperature=1.0)

    def network(kind: str, session: _Session) -> Network:
        labels, path = checkpoint.classes_of(record), run.absolute()
        made = Network(path, kind, path.stem, labels, sizes.image_size, sizes.channels, "", 1.0, about={})
        made.__dict__["session"] = session
        return made

    outputs = ("logits", "probabilities", "emotion", "residue")
    opened = FaceGenerator(network("recogniser", _Session(recogniser, ("image",), outputs)))
    draws = _Session(FaceGraph(model.generator), ("emotion", "residue", "strength"), ("face",))
    opened.__dict__.update(small_generator=network("generator", draws), photo=None)
    return opened

"""A training run -> self-describing .onnx files: `NAME.onnx` names the emotion, `NAME-generator.onnx` draws.

With faces to calibrate on, `NAME-int8.onnx` is the recogniser once more in 8 bits, for answers alone.

Everything that could be done wrongly outside is inside: conversion to gray or colour, resampling, normalisation,
temperature, label names. The recogniser hands its emotion and residue to the generator, so drawing costs no second
encoding, and reading does not load the generator.
"""

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pfvit.config import Architecture, Export
from pfvit.emotions import label_set
from pfvit.errors import InputError
from pfvit.export.calibration import as_bytes, fit, held_out_faces, logits_of
from pfvit.export.quantize import quantize
from pfvit.inference.network import FORMAT, generator_path, int8_path
from pfvit.model import Classifier, Encoder, Generator, PFViT, Separator
from pfvit.training import checkpoint
from pfvit.training.build import build_pfvit
from pfvit.training.pretrained import is_public
from pfvit.training.run import settings

# It says "no torchvision" a dozen times.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
OPSET = 20
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


class Preprocess(nn.Module):
    """Bytes of any size -> pixels in [-1, 1] at the model's size, gray or colour."""

    def __init__(self, size: int, channels: int):
        super().__init__()
        self.size, self.channels = size, channels
        self.register_buffer("luma", torch.tensor(LUMA))

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch channels size size"]:
        """Convert, resample with an antialiasing triangle filter as Pillow's BILINEAR does, and normalise."""
        pixels = image.to(torch.float32)
        pixels = (pixels @ self.luma)[:, None] if self.channels == 1 else pixels.permute(0, 3, 1, 2)
        rows = self._filter(image.shape[1])
        columns = self._filter(image.shape[2])
        return rows @ pixels @ columns.T / 127.5 - 1

    def _filter(self, length: int) -> Float[Tensor, "size length"]:
        """Return the weights that resample a line of `length` pixels; rows sum to 1."""
        scale = length / self.size
        centre = (torch.arange(self.size) + 0.5) * scale
        distance = (torch.arange(length) + 0.5)[None] - centre[:, None]
        # The triangle is at least one pixel wide, so enlarging interpolates and shrinking averages.
        weight = (1 - distance.abs() / torch.clamp(torch.ones(1) * scale, min=1.0)).clamp(min=0)
        return weight / weight.sum(dim=1, keepdim=True)


class Recogniser(nn.Module):
    """Image bytes -> logits, calibrated probabilities, and the two components."""

    def __init__(
        self,
        encoder: Encoder,
        separator: Separator,
        classifier: Classifier,
        preprocess: Preprocess,
        temperature: float,
        lift: Float[Tensor, " classes"] | None = None,
        mirror: bool = False,
    ):
        super().__init__()
        self.preprocess, self.encoder, self.separator, self.classifier = (
            preprocess,
            encoder,
            separator,
            classifier,
        )
        self.temperature, self.mirror = temperature, mirror
        self.register_buffer("lift", lift)

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return logits, probabilities, emotion, residue."""
        face = self.preprocess(image)
        emotion, residue = self.separator(self.encoder(torch.cat([face, face.flip(3)]) if self.mirror else face))
        logits = self.classifier(emotion)
        if self.mirror:  # the components are those of the face as it is
            logits = (logits[: len(face)] + logits[len(face) :]) / 2
            emotion, residue = emotion[: len(face)], residue[: len(face)]
        if self.lift is not None:
            logits = logits + self.lift
        return logits, (logits / self.temperature).softmax(-1), emotion, residue


class Answers(nn.Module):
    """What a recogniser answers, without the components."""

    def __init__(self, recogniser: Recogniser):
        super().__init__()
        self.recogniser = recogniser

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities."""
        logits, probabilities, _, _ = self.recogniser(image)
        return logits, probabilities


class Drawer(nn.Module):
    """Emotion, residue and strength -> face as an image in [0, 1], channels last."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(
        self,
        emotion: Float[Tensor, "batch tokens width"],
        residue: Float[Tensor, "batch tokens width"],
        strength: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size size channels"]:
        """Draw."""
        face = self.generator(emotion, residue, strength)
        return ((face + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


def checkpoint_path(recogniser: Path) -> Path:
    """Return where the weights that training can start from stand beside a recogniser."""
    return recogniser.with_suffix(".safetensors")


def _without_places(record: dict) -> dict:
    """Return a run's record with file names in place of paths, which are nobody else's business."""
    config = dict(record["config"])
    for name in ("out", "start", "validation"):
        config[name] = Path(config[name]).name if config.get(name) else None
    return {**record, "config": {**config, "data": data_seen(record)}}


def data_seen(record: dict) -> list[str]:
    """Return the names of the files that a run learnt from, and that the runs it started from did, if still there."""
    names: list[str] = []
    looked_at = set()
    while True:
        config = record["config"]
        names += [Path(path).name for path in config["data"]]
        before = Path(config.get("start") or "")
        if before in looked_at or not (before / checkpoint.LAST if before.is_dir() else before).is_file():
            return list(dict.fromkeys(names))
        if is_public(before):
            return list(dict.fromkeys([*names, before.name]))
        looked_at.add(before)
        _, record = checkpoint.load(before)


def load_model(run: Path) -> tuple[PFViT, dict]:
    """Return the averaged model of a run of stage two, ready to use, and the run's record."""
    tensors, record = checkpoint.load(run)
    if record["stage"] != "train":
        raise InputError(f"{run} is a run of stage {record['stage']!r}; only a run of `pfvit train` can be exported")
    model = build_pfvit(Architecture(**settings(Architecture, record["config"]["model"])))
    average = checkpoint.part_of(tensors, "average.module")
    checkpoint.load_into(model, average, "PF-ViT", run)
    return model.eval(), record


def export_run(export: Export) -> Path:
    """Write both files of a run of stage two and return the recogniser's path."""
    run, out = export.run, export.out
    if out.suffix != ".onnx":
        raise InputError(f"--out must name an .onnx file, not {out}", status=2)
    model, record = load_model(run)
    config = record["config"]
    sizes = Architecture(**settings(Architecture, config["model"]))
    clean = config["protocol"] == "clean"
    temperature, lift, held_out = 1.0, None, None
    if export.calibrate is not None:
        held_out = held_out_faces(sizes, export.calibrate, clean, config["order"])
        logits = logits_of(model, held_out.image, export.mirror)
        temperature, lift = fit(logits, held_out.target.argmax(1), export.balance)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    about = {
        "pfvit.format": FORMAT,
        "pfvit.name": out.stem,
        "pfvit.pair": digest.hexdigest()[:16],
        "pfvit.labels": json.dumps(label_set(sizes.classes)),
        "pfvit.size": str(sizes.image_size),
        "pfvit.channels": str(sizes.channels),
        "pfvit.temperature": repr(temperature),
        "pfvit.license": export.license,
        "pfvit.data": f"{', '.join(data_seen(record))}; {config['protocol']} protocol",
        "pfvit.emphasis": repr(export.emphasis),
        "pfvit.balance": repr(export.balance),
        "pfvit.mirror": str(export.mirror),
        "pfvit.steps": str(record["step"]),
        "pfvit.metrics": export.metrics.read_text() if export.metrics else "{}",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    # Rounded to half precision, which a run that starts from it does not notice.
    halves = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    checkpoint.save(checkpoint_path(out), checkpoint.prefixed("average.module", halves), _without_places(record))
    model.separator.freeze()
    preprocess = Preprocess(sizes.image_size, sizes.channels)
    recogniser = Recogniser(
        model.encoder, model.separator, model.classifier, preprocess, temperature, lift, export.mirror
    )
    write_recogniser(recogniser, out, about, ["logits", "probabilities", "emotion", "residue"])
    int8_path(out).unlink(missing_ok=True)  # one of an earlier export would not fit
    if held_out is not None:
        write_recogniser(Answers(recogniser), int8_path(out), about, ["logits", "probabilities"])
        quantize(int8_path(out), as_bytes(held_out.image))
    tokens = torch.zeros(2, sizes.tokens + 1, sizes.width)
    batch = torch.export.Dim.DYNAMIC
    write(
        Drawer(model.generator),
        (tokens, tokens.clone(), torch.zeros(2)),
        {"emotion": {0: batch}, "residue": {0: batch}, "strength": {0: batch}},
        ["face"],
        generator_path(out),
        {**about, "pfvit.kind": "generator"},
    )
    return out


def write_recogniser(recogniser: nn.Module, out: Path, about: dict[str, str], outputs: Sequence[str]) -> None:
    """Export a module from image bytes [batch, height, width, 3] of any size."""
    example = torch.zeros(2, 61, 53, 3, dtype=torch.uint8)  # unlike sizes, so that none is taken for a constant
    free = torch.export.Dim.DYNAMIC
    write(
        recogniser,
        (example,),
        {"image": {0: free, 1: free, 2: free}},
        outputs,
        out,
        {**about, "pfvit.kind": "recogniser"},
    )


def write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: dict,
    outputs: Sequence[str],
    out: Path,
    about: dict[str, str],
) -> None:
    """Export a module and put `about` into the file's metadata."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        part = Path(folder) / "part.onnx"
        torch.onnx.export(
            module.eval(), example, part, dynamo=True, opset_version=OPSET, verbose=False, external_data=False,
            input_names=list(dynamic), output_names=list(outputs), dynamic_shapes=tuple(dynamic.values()),
        )  # fmt: skip
        model = onnx.load(part)
    del model.metadata_props[:]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]  # the exporter records source paths of this machine
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.helper.set_model_props(model, about)
    out_part = out.with_suffix(".part")
    onnx.save(model, out_part)
    out_part.replace(out)

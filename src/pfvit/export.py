"""A training run -> self-describing .onnx files: `NAME.onnx` names the emotion, `NAME-generator.onnx` draws.

With faces to calibrate on, `NAME-int8.onnx` is the recogniser once more in 8 bits, for answers alone.

Everything that could be done wrongly outside is inside: conversion to gray or colour, resampling, normalisation,
temperature, label names. The recogniser hands its emotion and residue to the generator, so drawing costs no second
encoding, and reading does not load the generator.
"""

import hashlib
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
import tyro
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pfvit import checkpoint
from pfvit.build import build_pfvit
from pfvit.config import Architecture, Export
from pfvit.data import augment
from pfvit.data.shards import Batch, Faces, everything
from pfvit.emotions import label_set
from pfvit.errors import InputError
from pfvit.loop import settings
from pfvit.model import Classifier, Encoder, Generator, PFViT, Separator
from pfvit.public import is_public
from pfvit.quantize import quantize
from pfvit.weights import FORMAT, generator_path, int8_path

# It says "no torchvision" a dozen times.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
OPSET = 20
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")
TEMPERATURES = np.geomspace(0.4, 4, 200)


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


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit export`."""
    config = tyro.cli(Export, prog="pfvit export", args=arguments)
    if config.emphasis <= 0:
        raise InputError(f"--emphasis must be more than 0, not {config.emphasis}", status=2)
    if config.balance < 0 or (config.balance and config.calibrate is None):
        raise InputError("--balance must be 0 or more, and needs --calibrate to know how rare emotions are", status=2)
    out = export_run(config)
    for path in filter(Path.exists, (out, int8_path(out), generator_path(out), checkpoint_path(out))):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201
    return 0


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


def held_out_faces(sizes: Architecture, path: Path, clean: bool, order: str) -> Batch:
    """Return every second labelled face of a file: those that calibration may look at."""
    index = Faces([path], sizes.classes, hard=True, order=order, clean=clean)
    return everything(index, sizes.image_size, sizes.channels, pick=lambda position: position % 2 == 0)


@torch.no_grad()
def logits_of(
    model: PFViT, image: UInt8[Tensor, "faces channels size size"], mirror: bool
) -> Float[Tensor, "faces classes"]:
    """Return what a model answers; with `mirror` the mean of its answers to the face and to its mirror image."""
    face = augment.to_unit(image)
    views = [face, face.flip(3)] if mirror else [face]
    logits = sum(torch.cat([model.recognise(part) for part in view.split(128)]).double() for view in views) / len(views)
    return torch.as_tensor(logits)


def as_bytes(image: UInt8[Tensor, "faces channels size size"]) -> np.ndarray:
    """Return faces as the exported files take them: uint8 [faces, size, size, 3]."""
    last = image.permute(0, 2, 3, 1)
    return last.expand(*last.shape[:3], 3).contiguous().numpy()


def fit(
    logits: Float[Tensor, "faces classes"], truth: Int[Tensor, " faces"], balance: float
) -> tuple[float, Float[Tensor, " classes"] | None]:
    """Return the temperature with the least negative log-likelihood, and what is added to the logits before it.

    With `balance` the logits lose this share of the log prior (Menon et al., arXiv 2007.07314), so that rare emotions
    are answered more often. The prior is the mean answer at the best temperature, which is label-free and never 0.
    """
    temperature = _best_temperature(logits, truth)
    if not balance:
        return temperature, None
    prior = (logits / temperature).softmax(1).mean(0)
    lift = -balance * temperature * prior.log()
    return _best_temperature(logits + lift, truth), lift.float()


def _best_temperature(logits: Float[Tensor, "faces classes"], truth: Int[Tensor, " faces"]) -> float:
    losses = [float(nn.functional.cross_entropy(logits / t, truth)) for t in TEMPERATURES]
    return round(float(TEMPERATURES[int(np.argmin(losses))]), 4)

"""A training run -> self-describing .onnx files: `NAME.onnx` recognises the emotion, `NAME-generator.onnx` generates.

With faces to calibrate on, `NAME-int8.onnx` is the recogniser once more in 8 bits, for answers alone. The recogniser
hands its emotion and residue to the generator, so that generating costs no second encoding, and reading does not load
the generator. `NAME.safetensors` holds the weights for `pfvit train --start`.
"""

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn

from pfvit.config import Architecture, Export, Train
from pfvit.config.several import are_paths, is_path
from pfvit.data.dataset import FaceBatch
from pfvit.emotions import label_set
from pfvit.errors import InputError
from pfvit.export.calibration import as_bytes, fit, held_out_faces, logits_of
from pfvit.export.compact import EXACT, short_names, store_in_8_bits
from pfvit.export.graphs import DrawingGraph, FaceGraph, PhotoGraph, Preprocess, Recogniser
from pfvit.export.quantize import quantize
from pfvit.export.reliability import LAST_NORM, fit_reliability, write_reliability
from pfvit.inference.network import FORMAT, drawing_path, generator_path, int8_path
from pfvit.inference.unsure import RELIABILITY
from pfvit.model import PFViT
from pfvit.model.photo import SIDE as PATCHES
from pfvit.model.photo import SIZE, WIDTH, PhotoPFViT, is_former
from pfvit.training import checkpoint
from pfvit.training.initialise import load_model
from pfvit.training.pretrained import is_public
from pfvit.training.resume import STARTED_IN
from pfvit.utils.files import atomic_write, held

OPSET = 20
ANSWERS = ("logits", "probabilities")
PHOTO_OUTPUTS = ("maps", "probabilities", "emotion", "residue")


class Calibration(NamedTuple):
    """What was fitted on held-out faces: a temperature, what is added to the logits before it, and the faces."""

    temperature: float = 1.0
    adjustment: Tensor | None = None
    faces: FaceBatch | None = None


def export_run(export: Export) -> Path:
    """Write all files of a run of stage two, or of the photo model, and return the first one's path."""
    _metrics(export)  # what cannot be read should be known before a minute of work
    with held(export.out):
        return _export(export)


def _export(export: Export) -> Path:
    out = export.out
    tensors, record = checkpoint.load(export.run)
    if record["stage"] == "photo":
        return _export_photo(export, tensors, record)
    model, record = load_model(export.run)
    sizes = checkpoint.architecture_of(record)
    calibration = _calibrate(export, model, record, sizes)
    about = _about(export, model, record, sizes, calibration)
    # Rounded to half precision, which a run that starts from it does not notice.
    halves = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    checkpoint.save(checkpoint_path(out), checkpoint.prefixed("average.module", halves), _without_paths(record))
    model.separator.prepare_export()
    recogniser = Recogniser(
        model.encoder,
        model.separator,
        model.classifier,
        Preprocess(sizes.image_size, sizes.channels),
        calibration.temperature,
        calibration.adjustment,
        export.flip_tta,
    )
    write_recogniser(recogniser, out, about, [*ANSWERS, "emotion", "residue"])
    int8_path(out).unlink(missing_ok=True)  # one of an earlier export would not fit
    if calibration.faces is not None:
        faces, truth = as_bytes(calibration.faces.image), calibration.faces.target.argmax(1).numpy()
        quantize(out, int8_path(out), faces, ANSWERS)
        reliability = fit_reliability(int8_path(out), faces, truth)
        for path in (out, int8_path(out)):
            write_reliability(path, reliability, checkpoint.classes_of(record), export.mild_smiles)
    tokens, free = torch.zeros(2, sizes.tokens + 1, sizes.width), {0: torch.export.Dim.DYNAMIC}
    write(
        FaceGraph(model.generator),
        (tokens, tokens.clone(), torch.zeros(2)),
        {"emotion": free, "residue": free, "strength": free},
        ["face"],
        generator_path(out),
        {**about, "pfvit.kind": "generator"},
    )
    if export.compact:
        for path in (out, generator_path(out)):
            store_in_8_bits(path)
    for path in filter(Path.exists, (out, int8_path(out), generator_path(out))):
        short_names(path, (LAST_NORM, EXACT, RELIABILITY))
    return out


def _export_photo(export: Export, tensors: dict[str, Tensor], record: dict) -> Path:
    """Write the photo model, and its drawing beside it, with their large weights stored in 8 bits."""
    free, weights = {0: torch.export.Dim.DYNAMIC}, checkpoint.part_of(tensors, "average")
    if is_former(weights):
        raise InputError(
            f"{export.run} is of an earlier photo model, whose residue was not free of the emotion: go on with "
            "`pfvit train-photo --start` from it, then export that run"
        )
    model = PhotoPFViT()
    checkpoint.load_into(model, weights, "photo model", export.run)
    model.separator.prepare_export()
    about = {
        "pfvit.format": FORMAT,
        "pfvit.name": export.out.stem,
        "pfvit.pair": _digest(model),
        "pfvit.labels": json.dumps(label_set(8)),
        "pfvit.size": str(SIZE),
        "pfvit.channels": "3",
        "pfvit.license": export.license,
        "pfvit.data": ", ".join(data_seen(record)),
        "pfvit.steps": str(record["step"]),
        "pfvit.metrics": _metrics(export),
    }
    image = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    write(PhotoGraph(model), (image,), {"image": free}, PHOTO_OUTPUTS, export.out, {**about, "pfvit.kind": "photo"})
    drawing, tokens = drawing_path(export.out), torch.zeros(2, PATCHES * PATCHES, WIDTH)
    about = {**about, "pfvit.kind": "photo-drawing"}
    write(DrawingGraph(model.drawing), (tokens,), {"tokens": free}, ["face"], drawing, about)
    for path in (export.out, drawing):
        store_in_8_bits(path)
    return export.out


def checkpoint_path(recogniser: Path) -> Path:
    """Return where the weights that training can start from are, beside a recogniser."""
    return recogniser.with_suffix(".safetensors")


def data_seen(record: dict) -> list[str]:
    """Return the names of the files that a run learnt from, and that the runs it started from did, if still there."""
    names: list[str] = []
    visited = set()
    while True:
        config = record["config"]
        names += [Path(path).name for path in (*config["data"], *config.get("unlabelled", ()))]
        before = Path(config.get("start") or "")
        if before in visited or not (before / checkpoint.LAST if before.is_dir() else before).is_file():
            return list(dict.fromkeys(names))
        if is_public(before):
            return list(dict.fromkeys([*names, before.name]))
        visited.add(before)
        _, record = checkpoint.load(before)


def _calibrate(export: Export, model: PFViT, record: dict, sizes: Architecture) -> Calibration:
    if export.calibrate is None:
        return Calibration()
    config = record["config"]
    order = config["order"] if isinstance(config["order"], list) else [config["order"]]
    classes = checkpoint.classes_of(record)
    faces = held_out_faces(sizes, export.calibrate, config["protocol"] == "clean", export.order or order, classes)
    logits = logits_of(model, faces.image, export.flip_tta)
    return Calibration(*fit(logits, faces.target.argmax(1), export.logit_adjustment), faces)


def _metrics(export: Export) -> str:
    """Return the figures to store, as JSON; InputError if their file cannot be read."""
    try:
        return "{}" if export.metrics is None else export.metrics.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{export.metrics} cannot be read as what `pfvit evaluate --json` prints: {problem}"
        ) from problem


def _digest(model: nn.Module) -> str:
    """Return 16 letters that are the same for files of the same weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _about(export: Export, model: PFViT, record: dict, sizes: Architecture, calibration: Calibration) -> dict[str, str]:
    """Return the metadata of both files; `pfvit.pair` is the same in files that belong together."""
    return {
        "pfvit.format": FORMAT,
        "pfvit.name": export.out.stem,
        "pfvit.pair": _digest(model),
        "pfvit.labels": json.dumps(checkpoint.classes_of(record)),
        "pfvit.size": str(sizes.image_size),
        "pfvit.channels": str(sizes.channels),
        "pfvit.temperature": repr(calibration.temperature),
        "pfvit.license": export.license,
        "pfvit.data": f"{', '.join(data_seen(record))}; {record['config']['protocol']} protocol",
        "pfvit.emphasis": repr(export.change_gain),
        "pfvit.balance": repr(export.logit_adjustment),
        "pfvit.mirror": str(export.flip_tta),
        "pfvit.steps": str(record["step"]),
        "pfvit.metrics": _metrics(export),
    }


def _without_paths(record: dict) -> dict:
    """Return a run's record with file names in place of paths, which are nobody else's business."""
    config = dict(record["config"])
    for field in fields(Train):
        value = config.get(field.name)
        if is_path(field.type):
            config[field.name] = Path(value).name if value else None
        elif are_paths(field.type):
            config[field.name] = [Path(path).name for path in ([value] if isinstance(value, str) else value or ())]
    kept = {name: value for name, value in record.items() if name != STARTED_IN}
    return {**kept, "config": {**config, "data": data_seen(record)}}


def write_recogniser(recogniser: nn.Module, out: Path, about: dict[str, str], outputs: Sequence[str]) -> None:
    """Export a module from image bytes [batch, height, width, 3] of any size."""
    example = torch.zeros(2, 61, 53, 3, dtype=torch.uint8)  # unlike sizes, so that none is taken for a constant
    free = dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)
    write(recogniser, (example,), {"image": free}, outputs, out, {**about, "pfvit.kind": "recogniser"})


def write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: dict,
    outputs: Sequence[str],
    out: Path,
    about: dict[str, str],
) -> None:
    """Export a module, given example inputs and which of their axes are free, with `about` as the file's metadata."""
    # The exporter says "no torchvision" a dozen times, and warns about its own internals.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = Path(folder) / "exported.onnx"
        torch.onnx.export(
            module.eval(),
            example,
            exported,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            external_data=False,
            input_names=list(dynamic),
            output_names=list(outputs),
            dynamic_shapes=tuple(dynamic.values()),
        )
        model = onnx.load(exported)
    del model.metadata_props[:]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]  # the exporter records source paths of this machine
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.helper.set_model_props(model, about)
    with atomic_write(out) as unfinished:
        onnx.save(model, unfinished)

"""Runs on disk: one safetensors file that holds weights, optimizers and the record of the run; no pickle.

A checkpoint is written beside the old one and moved over it, so that a full disk or a kill leaves the old one whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pfvit.config import Architecture
from pfvit.config.checks import typed
from pfvit.data.formats import HEAD, mistaken_for
from pfvit.emotions import EIGHT
from pfvit.errors import InputError, UsageError
from pfvit.training import upgrade
from pfvit.utils.files import atomic_write
from pfvit.utils.text import parsed
from pfvit.weights import LAST

#: Sizes that do not decide whether an encoder's weights fit: positions are fixed, or compared on loading.
FREE_SIZES = {"image_size", "separator", "discriminator_depth", "classes"}
FORMAT, FORMER_FORMAT = "pfvit-run-2", "pfvit-run-1"
#: The stage whose model has no sizes to choose.
PHOTO = "photo"
#: Most of a size in a record, and most patches of a face: ours have 1,024 and 196 at most.
MOST_SIZE, MOST_TOKENS = 8192, 16_384
#: Checkpoints that a run may keep beside the last one.
BEST, HISTORY = "best.safetensors", "checkpoints"


def save(path: Path, tensors: Mapping[str, Tensor], record: dict) -> None:
    """Write a checkpoint atomically; a failure raises OutputError and leaves an earlier file as it was."""
    metadata = {"format": FORMAT, "record": json.dumps(record)}
    with atomic_write(path, durable=True, remedy="; the previous checkpoint is untouched") as part:
        try:
            save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, part, metadata)
        except SafetensorError as problem:  # its own type of error on a full disk
            raise OSError(str(problem)) from problem


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and the record of a checkpoint, given its file or its run folder, under today's names."""
    path = _file_of(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except Exception as problem:
        why = no_weights(path) or f"is not a safetensors file, or is cut short or damaged: {problem}"
        raise InputError(_damaged(path, why)) from problem
    if metadata.get("format") not in (FORMAT, FORMER_FORMAT):
        raise InputError(
            f"{path} is of format {metadata.get('format')!r}, and this version reads {FORMAT!r}: give a run of "
            "`pfvit train`, or update pfvit if the run is newer"
        )
    if metadata["format"] == FORMER_FORMAT:
        tensors = upgrade.tensors(tensors)
    record = _record(metadata, path)
    if record["stage"] != PHOTO and _fewest(architecture_of(record)) > sum(map(Tensor.numel, tensors.values())):
        raise InputError(f"{path} is damaged: it holds fewer weights than a model of the sizes that it says")
    return tensors, record


def _file_of(path: Path) -> Path:
    """Return the checkpoint that a run folder holds, or a file itself; InputError if it is not there."""
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path} is not there; give a run folder that holds {LAST}")
    return path


def _record(metadata: Mapping[str, str], path: Path) -> dict:
    """Return the record in a checkpoint's metadata, under today's names."""
    try:
        record = parsed(metadata["record"])
        if not isinstance(record["config"], dict):
            raise TypeError("its settings are no table")
        record = upgrade.record(record) if metadata.get("format") == FORMER_FORMAT else record
        if record["stage"] != PHOTO:
            architecture_of(record)
            ", ".join((record["stage"], f"{record['step']:d}", *classes_of(record)))
        return record
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, UsageError) as problem:
        raise InputError(f"{path} is no checkpoint of pfvit, or is damaged: {problem}") from problem


def no_weights(path: Path) -> str:
    """Return what a file is that was taken for weights, and what to do; "" if its beginning does not tell."""
    if path.suffix == ".onnx":
        return "is an ONNX file, from which nothing is trained: give the .safetensors exported with it, or its run"
    with path.open("rb") as file:
        return mistaken_for("weights", file.read(HEAD))


def record_of(path: Path) -> dict:
    """Return the record of a checkpoint alone, given its file or its run folder, under today's names."""
    path = _file_of(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except Exception as problem:
        why = no_weights(path) or f"is no checkpoint of pfvit, or is damaged: {problem}"
        raise InputError(_damaged(path, why)) from problem
    return _record(metadata, path)


def _damaged(path: Path, why: str) -> str:
    """Return what to say of a file that cannot be read; of a run's last checkpoint, how the run can go on."""
    if path.name != LAST:
        return f"{path} {why}"
    others = [*sorted((path.parent / HISTORY).glob("*.safetensors"), reverse=True), path.parent / BEST]
    whole = next((other for other in others if other.is_file()), None)
    remedy = f"copy {whole} over it" if whole else "if it cannot be copied again, delete it: the run then begins anew"
    return f"{path} {why.partition(': download')[0]}; {remedy}"


def architecture_of(record: Mapping) -> Architecture:
    """Return the sizes of a run's model; those that an older run did not know are the default ones.

    UsageError for what are no sizes, or none that a model has.
    """
    known = {field.name: field.type for field in fields(Architecture)}
    sizes = {name: value for name, value in record["config"]["model"].items() if name in known}
    for name, value in sizes.items():
        sizes[name] = typed(name, tuple(value) if isinstance(value, list) else value, known[name])
    made = Architecture(**sizes)
    largest = max(*made.stem, *(size for size in astuple(made) if isinstance(size, int)))
    if largest > MOST_SIZE or made.tokens > MOST_TOKENS:
        raise UsageError(
            f"a size of {largest:,} and {made.tokens:,} patches of a face are too much: at most {MOST_SIZE:,} and "
            f"{MOST_TOKENS:,} are read"
        )
    return made


def _fewest(sizes: Architecture) -> int:
    """Return how many weights a model of these sizes has at least."""
    stages = zip((sizes.channels, *sizes.stem), sizes.stem, strict=False)
    stem = sum(before * after + (sizes.stem_residual - 1) * after**2 for before, after in stages)
    return stem + sizes.depth * sizes.width**2 + sizes.decoder_depth * sizes.decoder_width**2


def classes_of(record: Mapping) -> tuple[str, ...]:
    """Return the names of the classes that a run of stage two tells apart; older runs knew seven or eight emotions."""
    return tuple(record.get("classes") or EIGHT[: architecture_of(record).outputs])


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put `prefix.` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as named tensors; learning rates follow from the step and are not kept."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, slots in state.items() for name, value in slots.items()}


def as_held(tensor: Tensor, held: Tensor) -> Tensor:
    """Return a whole tensor sharded as `held` is, if it is; every process must have the whole one."""
    if not hasattr(held, "device_mesh"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(tensor, DTensor) or not isinstance(held, DTensor):
        return tensor
    return distribute_tensor(tensor.to(held.device), held.device_mesh, held.placements, src_data_rank=None)


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, value in tensors.items():
        i, slot = name.split(".", 1)
        weight = weights[int(i)]
        state.setdefault(int(i), {})[slot] = as_held(value, weight) if value.shape == weight.shape else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], what: str, source: Path) -> None:
    """Load weights by name; a mismatch raises InputError that names the first difference."""
    held = module.state_dict()
    tensors = {name: as_held(tensor, held[name]) if name in held else tensor for name, tensor in tensors.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as problem:
        first = str(problem).splitlines()[1:2] or [str(problem)]
        raise InputError(f"{source} does not hold the weights of this {what}: {first[0].strip()}") from problem


def check_sizes(record: Mapping, sizes: Architecture, source: Path) -> None:
    """Raise InputError if a run was of another preset: what differs, and what to do."""
    had, here = (json.loads(json.dumps(asdict(of))) for of in (architecture_of(record), sizes))  # tuples become lists
    differ = [name for name in here if name not in FREE_SIZES and had[name] != here[name]]
    if differ:
        different = ", ".join(f"{name} {had[name]} (here {here[name]})" for name in differ)
        raise InputError(
            f"{source} does not hold the weights of this encoder: it was trained with {different}. "
            "Take the preset it was trained with, or start from another run"
        )

"""Distillation: what teachers answer to the faces of a run, computed once and kept in its folder.

An answer is the mean of the probabilities over all teachers, and over the face and its mirror image. Faces are shown
plainly, framed as their file's window says, and decoded at the teacher's own size.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pfvit.config import Train
from pfvit.data.dataset import FaceDataset
from pfvit.data.face_batch import Window
from pfvit.data.images import Pixels, decode, small
from pfvit.data.index import RowGroup
from pfvit.data.views import reframe
from pfvit.errors import InputError, PictureError, UsageError
from pfvit.inference import network
from pfvit.training import checkpoint
from pfvit.training.initialise import load_model
from pfvit.training.run import Run
from pfvit.training.smiles import with_shape
from pfvit.utils.console import progress_bar
from pfvit.utils.files import atomic_write

KEPT = "teachers.safetensors"
FORMAT = "pfvit-teachers-1"
AT_ONCE = 64  # faces

Answers = dict[tuple[Path, int], NDArray[np.float32]]


class RunTeacher:
    """The averaged model of a run of stage two."""

    def __init__(self, run: Path, device: torch.device, bf16: bool):
        model, record = load_model(run)
        sizes = checkpoint.architecture_of(record)
        self.model, self.device, self.bf16 = model.to(device), device, bf16
        self.labels, self.size, self.channels = checkpoint.classes_of(record), sizes.image_size, sizes.channels

    @torch.no_grad()
    def probabilities(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return what the model answers to each uint8 [height, width, 3], float32 [faces, labels]."""
        faces = np.stack([small(image, self.size, self.channels) for image in images])
        face = torch.from_numpy(faces).permute(0, 3, 1, 2).to(self.device) * 2 - 1
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model.recognise(face)
        return logits.float().softmax(-1).cpu().numpy()


Teacher = RunTeacher | network.Network


def teach(run: Run[Train], *data: FaceDataset) -> bool:
    """Give the teachers' answers to data sets of a run that names some; say whether they were computed now.

    A run that is resumed reads those that it kept. Every process must call this, and computes a part.
    """
    config = run.config
    if not config.teacher:
        return False
    known = {key: group for faces in data for key, group in _groups(faces).items()}
    if config.resume:
        answers, computed = _kept(run, known, data), False
    else:
        answers, computed = _ask(run, known, data), True
    for faces in data:
        faces.teach(answers, config.teacher_share)
    return computed


def _kept(run: Run[Train], known: Mapping[str, RowGroup], data: Sequence[FaceDataset]) -> Answers:
    """Return the answers that a run kept; those of its teachers, asked again, if they cannot be read."""
    try:
        return read(run.folder / KEPT, known, data)
    except InputError as problem:
        if missing := [path for path in run.config.teacher if not path.exists()]:
            raise InputError(f"{problem}; to ask the teachers again, put {missing[0]} back") from problem
        run.say(f"{problem}; the teachers are asked again")
        return _ask(run, known, data)


def _ask(run: Run[Train], known: Mapping[str, RowGroup], data: Sequence[FaceDataset]) -> Answers:
    config, fabric = run.config, run.fabric
    read_from = [path for path in config.teacher if path.is_file() and path.suffix == ".safetensors"]
    asked = [path for path in config.teacher if path not in read_from]
    try:
        total = [read(path, known, data) for path in read_from]
    except InputError as problem:
        raise InputError(f"{problem}; name the teachers themselves with --teacher") from problem
    if asked:
        teachers = [_open(path, run) for path in asked]
        classes = data[0].classes
        for path, teacher in zip(asked, teachers, strict=True):
            _check(path, teacher.labels, classes, run)
        shares = {name: np.zeros((len(group.targets), len(classes)), np.float32) for name, group in known.items()}
        windows = {group.path: faces.windows.get(group.path.stem, Window()) for faces in data for group in faces.groups}
        count = sum(len(group.rows) for group in known.values())
        run.say(f"{len(teachers)} teachers answer to {count} faces and their mirror images")
        with progress_bar(hidden=not fabric.is_global_zero) as bar:
            task = bar.add_task("teachers", total=count)
            for number, (name, group) in enumerate(known.items()):
                if number % fabric.world_size == fabric.global_rank:
                    for rows, images in _views(group, windows[group.path], max(teacher.size for teacher in teachers)):
                        shares[name][rows] = _mean_answer(teachers, images, classes)
                bar.advance(task, len(group.rows))
        if fabric.world_size > 1:
            for name in known:
                part = torch.from_numpy(shares[name]).to(fabric.device)
                torch.distributed.all_reduce(part)
                shares[name] = part.cpu().numpy()
        if config.mesh_points:
            unlabelled = {name: group for faces in data[1:] for name, group in _groups(faces).items()}
            shares = with_shape(shares, unlabelled, config.mesh_points)
        total += [{(group.path, group.index): shares[name] for name, group in known.items()}] * len(asked)
    mean = {key: np.mean([answers[key] for answers in total], axis=0) for key in total[0]}
    if fabric.is_global_zero:
        answers = {name: mean[group.path, group.index] for name, group in known.items()}
        write(run.folder / KEPT, answers, config.teacher, _about(known, data))
    fabric.barrier()
    return mean


def _check(path: Path, labels: Sequence[str], classes: Sequence[str], run: Run[Train]) -> None:
    """Tell of classes that a teacher does not know; UsageError if it knows none."""
    unknown = [name for name in classes if name not in labels]
    if len(unknown) == len(classes):
        raise UsageError(
            f"--teacher {path} answers with {', '.join(labels)}, and none of these is a class of --data "
            f"({', '.join(classes)}): take one that was trained on the same classes"
        )
    if unknown:
        run.say(f"the teacher {path} does not know {', '.join(unknown)}: its answers are spread over the other classes")


def _about(known: Mapping[str, RowGroup], data: Sequence[FaceDataset]) -> dict[str, str]:
    """Return what kept answers are to: the classes, and a digest of the pictures of each row group."""
    tables = {id(group.table): group.table.content().hex() for group in known.values()}
    contents = {name: tables[id(group.table)] for name, group in known.items()}
    return {"classes": json.dumps(data[0].classes), "contents": json.dumps(contents)}


def write(
    path: Path, answers: Mapping[str, NDArray[np.float32]], teachers: Sequence[Path], given: Mapping[str, str]
) -> None:
    """Keep answers by the name of their row group, FOLDER/FILE#NUMBER: [rows, classes] each; `given` as `_about`."""
    about = {"format": FORMAT, "teachers": json.dumps([teacher.name for teacher in teachers]), **given}
    tensors = {name: torch.from_numpy(values.astype(np.float32)) for name, values in answers.items()}
    with atomic_write(path, durable=True) as part:
        save_file(tensors, part, about)


def read(path: Path, known: Mapping[str, RowGroup], data: Sequence[FaceDataset]) -> Answers:
    """Return kept answers to the row groups of some data; InputError if the file is none or is of other faces."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            there: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as problem:
        raise InputError(f"{path} holds no teachers' answers that can be read: {problem}") from problem
    if about.get("format") != FORMAT:
        raise InputError(f"{path} is of format {about.get('format')!r}, and teachers' answers are {FORMAT!r}")
    now = _about(known, data)
    if about.get("classes", now["classes"]) != now["classes"]:  # an earlier version did not write these
        raise InputError(f"{path} holds answers over {about['classes']}, not over {now['classes']}")
    before, contents = json.loads(about.get("contents", "{}")), json.loads(now["contents"])
    answers = {}
    for name, group in known.items():
        if before.get(name, contents[name]) != contents[name]:
            raise InputError(f"{path} holds answers to other pictures than are now in {name}")
        shape = (len(group.targets), len(data[0].classes))
        if name not in there or there[name].shape != shape:
            raise InputError(f"{path} lacks answers to {name}, {shape[0]} rows of {shape[1]} emotions")
        answers[group.path, group.index] = there[name].numpy()
    return answers


def _open(path: Path, run: Run[Train]) -> Teacher:
    if path.is_dir():
        return RunTeacher(path, run.fabric.device, run.fabric._precision.precision == "bf16-mixed")
    if path.suffix != ".onnx":
        raise InputError(f"{path} is no teacher: give NAME.onnx, a run folder of `pfvit train`, or {KEPT} of a run")
    return network.open_recogniser(path, run.config.hardware.threads, components=False)


def _groups(faces: FaceDataset) -> dict[str, RowGroup]:
    named: dict[str, RowGroup] = {}
    paths: dict[str, Path] = {}
    for group in faces.groups:
        file = f"{group.path.absolute().parent.name}/{group.path.name}"
        if paths.setdefault(file, group.path) != group.path:
            raise UsageError(f"{paths[file]} and {group.path} have one name: rename a file or its folder")
        named[f"{file}#{group.index}"] = group
    return named


def _views(group: RowGroup, window: tuple[float, float], size: int) -> Iterator[tuple[NDArray, list[Pixels]]]:
    """Yield rows of a group and their faces as teachers see them, uint8 [size, size, 3], some at a time."""
    rows = np.asarray(group.rows)
    for start in range(0, len(rows), AT_ONCE):
        seen, pictures = [], []
        for row in rows[start : start + AT_ONCE]:
            with suppress(PictureError):  # another row stands in for it when it is its turn
                pictures.append(reframe(_whole(group, int(row)), *window, side=size))
                seen.append(row)
        if seen:
            yield np.array(seen), pictures


def _whole(group: RowGroup, row: int) -> Pixels:
    picture = group.table.picture(group.index, row)
    return decode(picture, group.table.name(group.index, row)) if isinstance(picture, bytes) else picture


def _mean_answer(teachers: Sequence[Teacher], images: Sequence[Pixels], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the mean probabilities over teachers and mirror images, [faces, classes] in our order."""
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    total = np.zeros((len(images), len(names)), np.float32)
    for teacher in teachers:
        answer = teacher.probabilities(images) + teacher.probabilities(mirrored)
        columns = [names.index(name) for name in teacher.labels if name in names]
        taken = answer[:, [name in names for name in teacher.labels]]
        total[:, columns] += taken / np.maximum(taken.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    return total / np.float32(len(teachers))

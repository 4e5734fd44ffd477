"""Videos, training and measuring from Python, with the settings of the command line."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_origin

from pfvit.config import Evaluate, Pretrain, Train, Video
from pfvit.config.checks import typed
from pfvit.config.several import are_paths, bare, is_path
from pfvit.errors import InputError, UsageError
from pfvit.utils.files import let_go_of_all
from pfvit.utils.text import counted

if TYPE_CHECKING:
    from pfvit.data.images import Pixels
    from pfvit.inference.reader import Reader
    from pfvit.inference.reading import Reading

Paths = str | Path | Iterable[str | Path]
Protocol = Literal["clean", "official", "all", "majority"]
Settings = TypeVar("Settings", Pretrain, Train)


class FrameResult(NamedTuple):
    """What is read in one frame of a video."""

    frame: int
    """The frame's number, from 0."""
    time: float
    """Seconds since the start."""
    image: "Pixels"
    """uint8 [height, width, 3], RGB, upright."""
    faces: list["Reading"]
    """In any order. `Reading.face` is the person's number in the video, from 1, and the probabilities are smoothed."""


def read_video(
    path: str | os.PathLike[str],
    *,
    every: int = 4,
    smoothing: float = 0.3,
    min_score: float = 0.7,
    seconds: float | None = None,
    reader: "Reader | None" = None,
) -> Iterator[FrameResult]:
    """Yield every frame of a video with the people in it, followed from frame to frame, as in `pfvit video`.

    `path` is a video file, or `webcam`, `webcam:NUMBER`, `webcam:NAME`. Faces are detected in every fourth frame
    (`every`) and interpolated in between; those that score less than `min_score` (0 to 1) are left out. Each person's
    probabilities are smoothed over 0.3 seconds (`smoothing`; 0 for no smoothing). `seconds` ends the video early. Give
    a `reader` to use other weights or settings. Memory does not grow with the length of the video.

    It needs the extra `video`. Raises UsageError for an invalid setting, and InputError for a video that cannot be
    opened, or after the last good frame of a damaged one.
    """
    try:
        from pfvit.inference.tracked_frames import TrackedFrames
        from pfvit.video.io import VideoReader
    except ModuleNotFoundError as missing:
        raise _needs("read_video", missing, "video") from missing
    from pfvit.inference.reader import Reader

    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"give the path of a video, or webcam, not {type(path).__name__}")
    if not isinstance(reader, Reader | None):
        raise UsageError(f"reader must be a pfvit.Reader, not {reader!r}")
    config = Video(  # which checks them
        os.fsdecode(path),
        out=Path(),
        every=typed("every", every, int),
        smoothing=typed("smoothing", smoothing, float),
        min_score=typed("min_score", min_score, float),
        seconds=typed("seconds", seconds, float | None),
    )
    source = VideoReader(config.path)
    frames = TrackedFrames(source, reader or Reader(), config.smoothing, config.every, config.min_score, config.seconds)

    def results() -> Iterator[FrameResult]:
        count = 0
        try:
            with closing(frames.runs()) as runs:  # before the file: a thread decodes ahead
                for run in runs:
                    for (frame, _, persons), faces in zip(run, frames.read(run), strict=True):
                        named = zip(faces, persons, strict=True)
                        smoothed = [frames.smoothed(face, person, frame.time) for face, person in named]
                        yield FrameResult(frame.number, frame.time, frame.image, smoothed)
                        count += 1
                    run.clear()  # frames may be large, and the next are gathered now
        finally:
            source.close()
        if source.broken and not source.live:
            raise InputError(f"{config.path}: it breaks off after {counted(count, 'frame')} ({source.broken})")
        if not count:
            raise InputError(f"{config.path} holds no frame that can be decoded")

    return results()


def pretrain(preset: str | None = None, *, out: str | Path, data: Paths = (), **settings: Any) -> Path:
    """Train a masked autoencoder on faces without labels (stage one) and return the run folder, as in `pfvit pretrain`.

    Give the folder to `train(start=...)` to begin with its encoder and decoder. Arguments and errors are those of
    `train`; further settings are the fields of `pfvit.config.Pretrain`, such as `mask_ratio=0.75`.
    """
    return _run(Pretrain, preset, out, data, settings)


def train(preset: str | None = None, *, out: str | Path, data: Paths = (), **settings: Any) -> Path:
    """Train a PF-ViT on labelled faces and return the run folder, as in `pfvit train`.

    `preset` names the sizes (`compact-conv` if not given; `pfvit info list` lists all), `out` is the run folder, and
    `data` what to train on: Parquet files, a folder of class folders, a CSV list. Further settings are the fields of
    `pfvit.config.Train`, with underscores; `model`, `hardware` and `gan` take a dict, as in
    `hardware={"devices": 2}`. `resume=True` continues the run in `out`, with its own settings unless you give others.

    With several processes (`hardware.devices`) the script runs in each; all but the first end when this function
    returns.

    Raises UsageError for an unknown or invalid setting, InputError for data that cannot be read, and KeyboardInterrupt
    after Ctrl-C, when the checkpoint is written.
    """
    return _run(Train, preset, out, data, settings)


def _run(kind: type[Settings], preset: str | None, out: str | Path, data: Paths, settings: Mapping[str, Any]) -> Path:
    verb = kind.__name__.lower()
    try:
        from pfvit.training import distributed, pretrainer, resume, trainer
    except ModuleNotFoundError as missing:
        raise _needs(verb, missing, "train") from missing

    given = {**settings, "out": out} | ({"data": data} if data else {})
    if settings.get("resume") and resume.is_run(Path(out)):
        default, _ = resume.settings_of(Path(out), kind, () if preset is None else (preset,))
    else:
        from pfvit.config.recipes import defaults

        default = defaults(kind, preset or "compact-conv")
        if not data:
            raise UsageError("data=... names what to train on")
    config = _with(default, given)
    try:
        trainer.train(config) if isinstance(config, Train) else pretrainer.pretrain(config)
    finally:  # after an error as well: a process that trains from Python may live long
        let_go_of_all()
    distributed.end_other_processes()
    return Path(out)


def _needs(function: str, missing: ModuleNotFoundError, extra: str) -> ModuleNotFoundError:
    message = f'pfvit.{function} needs {missing.name}: pip install "pfvit[{extra}]"'
    return ModuleNotFoundError(message, name=missing.name)


def evaluate(
    weights: str | Path | None,
    data: Paths,
    *,
    probe: Paths = (),
    judge: str | Path | None = None,
    order: str | Iterable[str] = (),
    protocol: Protocol | Iterable[Protocol] = "clean",
    robustness: bool = False,
    faces: bool = True,
    batch: int = 64,
    figures: str | Path | None = None,
    shown: int = 64,
) -> dict[str, Any]:
    """Measure recognition and poker faces on labelled faces, and return what `pfvit evaluate --json` prints.

    `weights` is a run folder of `pfvit train` or one of its checkpoints, an exported .onnx, or None for the
    shipped weights. `data` are Parquet files, folders or CSV lists with labels; of a folder with parts, the test part
    or else the validation part. The others are fields of `pfvit.config.Evaluate`: `faces=False` measures recognition
    only, `order` says what label numbers mean, `figures` is a folder for pictures, `probe` are labelled faces to fit a
    linear probe to. Rows that cannot be read are named on standard error and counted in `left_out`.

    Raises InputError if there is nothing to measure, UsageError for invalid settings.
    """
    from pfvit.evaluation import measure
    from pfvit.evaluation.probe import linear_probe
    from pfvit.inference import network
    from pfvit.inference.generator import FaceGenerator

    config = Evaluate(
        data=_paths(data),
        weights=_path(weights),
        probe=_paths(probe),
        judge=_path(judge),
        order=_words(order),
        protocol=typed("protocol", _words(protocol), tuple[Protocol, ...]),
        robustness=typed("robustness", robustness, bool),
        faces=typed("faces", faces, bool),
        batch=typed("batch", batch, int),
        figures=_path(figures),
        shown=typed("shown", shown, int),
    )
    if not config.data:
        raise UsageError("data names nothing: give labelled faces to measure on")
    opened = None
    if config.weights is not None and network.is_run(config.weights):
        from pfvit.export.opened import open_run

        opened = open_run(config.weights, encoder_alone=bool(config.probe))
    if config.probe:
        encoder = FaceGenerator(network.open_recogniser(config.weights)) if opened is None else opened
        return linear_probe(config, encoder)[0]
    return measure.evaluate(config, opened)[0]


def _with(default: Any, given: Mapping[str, Any], prefix: str = "") -> Any:
    """Return settings with some changed; UsageError for one that does not exist."""
    known = {field.name: getattr(default, field.name) for field in fields(default)}
    types = {field.name: field.type for field in fields(default)}
    changed: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {prefix}{close[0]}?" if close else f": there are {', '.join(known)}"
            raise UsageError(f"there is no setting {prefix}{name}{hint}")
        if is_dataclass(known[name]):
            if isinstance(value, Mapping):
                value = _with(known[name], value, f"{name}.")
            elif not isinstance(value, type(known[name])):
                some = ", ".join(field.name for field in fields(known[name])[:3])
                raise UsageError(f"{name} takes a dict of settings ({some}, ...), not {value!r}")
        elif are_paths(kind := types[name]):
            value = _paths(value)
        elif is_path(kind):
            value = _path(value)
        else:
            value = _words(value) if get_origin(bare(kind)) is tuple and isinstance(value, Iterable) else value
            value = typed(f"{prefix}{name}", value, kind)
        changed[name] = value
    return replace(default, **changed)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: Paths | None) -> tuple[Path, ...]:
    several: Iterable[Any] = (paths,) if isinstance(paths, str | Path) else paths or ()
    found = [*several] if isinstance(several, Iterable) else [several]
    if not all(isinstance(path, str | Path) for path in found):
        raise UsageError(f"give a path, or several, as text or pathlib.Path, not {paths!r}")
    return tuple(map(Path, found))


def _words(words: str | Iterable[str]) -> tuple[Any, ...]:
    return (words,) if isinstance(words, str) else tuple(words)

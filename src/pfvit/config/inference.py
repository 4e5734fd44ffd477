"""Settings of the verbs that read: info, evaluate, predict, poker, video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from pfvit.config.training import DataPaths

Provider = Literal["cpu", "cuda", "coreml", "directml", "openvino"]


@dataclass(frozen=True)
class Info:
    """Print the size and cost of a preset, part by part."""

    preset: Positional[str] = "compact"
    """One of the presets; `pfvit info list` names them all."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class Evaluate:
    """Measure recognition and poker faces on labelled faces, with 95% bootstrap intervals."""

    data: DataPaths
    """Parquet files with an image column and votes (the ten FER+ columns) or a `label` column; a folder of `pfvit
    prepare` stands for its test part."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is looked for beside it); the shipped weights if not given."""
    cross: tuple[Path, ...] = ()
    """Recognisers for a table of each on each of --data, which are then data sets of their own: train on one, test on
    another. Only recognition is measured, over the emotions that both sides tell apart."""
    merge: tuple[str, ...] = ()
    """With --cross: emotions to count as another, as in contempt=disgust, on both sides."""
    judge: Path | None = None
    """A separately trained recogniser .onnx that says how neutral the poker faces look."""
    order: str = "ferplus"
    """What label 0, 1, 2, ... of a `label` column mean: ferplus, fer2013, rafdb, affectnet7, affectnet8, expw,
    ckplus. Files of `pfvit prepare` need none."""
    protocol: Literal["clean", "official"] = "clean"
    """clean leaves out rows whose pixels are also in another split (`also_in`); official keeps them."""
    faces: bool = True
    """Also measure the poker faces; --no-faces for recognition alone."""
    batch: int = 64
    """Faces at a time."""
    json: bool = False
    """Print one JSON object instead of a table."""
    figures: Path | None = None
    """Write pictures into this folder: for each emotion the first faces (with reconstruction, poker face, expression
    map), unpicked, and a reliability diagram."""
    shown: int = 64
    """How many faces of each emotion the pictures show."""


@dataclass(frozen=True)
class Predict:
    """Find faces in pictures and read their expressions."""

    paths: Positional[tuple[str, ...]]
    """Pictures, folders of pictures, patterns like 'a/**/*.jpg', Parquet files with an image column, or - for a picture
    on standard input."""
    json: bool = False
    """Print one JSON object per face and line on stdout, and nothing else there."""
    output: Path | None = None
    """Write a table instead, one row per face: NAME.jsonl, NAME.csv or NAME.parquet. It appears when it is whole."""
    resume: bool = False
    """Go on with the --output that an earlier run left unfinished: pictures in it are not read again."""
    annotate: Path | None = None
    """Write each photo with boxes and names into this folder."""
    picture: Path | None = None
    """Write a picture per face into this folder: face, reconstruction, poker face and expression map."""
    whole: bool = False
    """Take each picture as one face that is already cropped: no detection."""
    top: int = 3
    """How many emotions the table for people names."""
    min_score: float = 0.0
    """Leave out faces that the detector is less sure of, from 0 to 1."""
    weights: Path | None = None
    """A recogniser .onnx; the shipped weights if not given."""
    threads: int | None = None
    """Processor threads for the model; all cores if not given."""
    provider: Provider = "cpu"
    """What the model runs on, where the installed onnxruntime can use it."""


@dataclass(frozen=True)
class Poker:
    """Take the expression off each face: one PNG per face, `<source stem>_<face>.png`, or the photo with all faces."""

    paths: Positional[tuple[str, ...]]
    """Pictures, folders of pictures, or Parquet files with an image column."""
    out: Path
    """Folder for the PNG files; made if it is not there."""
    strength: float = 1.0
    """Share of the expression to remove: 1 gives the poker face, 0 leaves it as it is, -1 exaggerates."""
    in_photo: bool = False
    """Write the whole photo, in its own size, with all its faces changed: `<source stem>.png`."""
    whole: bool = False
    """Take each picture as one face that is already cropped: no detection."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is looked for beside it); the shipped weights if not given."""
    threads: int | None = None
    """Processor threads for the model; all cores if not given."""
    provider: Provider = "cpu"
    """What the model runs on, where the installed onnxruntime can use it."""


@dataclass(frozen=True)
class Video:
    """Follow the faces through a video: a table with a row per frame and person, a timeline, an annotated video."""

    path: Positional[str]
    """A video file, or webcam, webcam:NUMBER, webcam:NAME; Ctrl-C ends a webcam."""
    out: Path
    """Folder for what is written: NAME.csv, NAME-timeline.png, NAME-annotated.mp4, NAME-poker.mp4."""
    table: Literal["csv", "parquet", "jsonl"] = "csv"
    """Form of the table."""
    annotate: bool = True
    """Write the video with boxes and names, and its sound."""
    poker: bool = False
    """Write the video with everyone's expression taken off, and its sound."""
    strength: float = 1.0
    """With --poker, the share of the expression to remove: 1 gives the poker face, -1 exaggerates."""
    every: int = 4
    """Look for faces in every so many frames; between two looks they are placed on the way."""
    smoothing: float = 0.3
    """Seconds over which a person's probabilities are smoothed; 0: not at all."""
    min_score: float = 0.7
    """Leave out faces that the detector is less sure of, from 0 to 1."""
    seconds: float | None = None
    """Stop after so many seconds of video."""
    weights: Path | None = None
    """A recogniser .onnx; the shipped weights if not given."""
    threads: int | None = None
    """Processor threads for the model; all cores if not given."""
    provider: Provider = "cpu"
    """What the model runs on, where the installed onnxruntime can use it."""

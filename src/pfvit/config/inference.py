"""Settings of the verbs that read: predict, poker, video, batch, evaluate; and of info."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from pfvit.config.checks import MOST_THREADS, at_least, check_order, within
from pfvit.config.presets import architecture
from pfvit.config.several import Paths, Words
from pfvit.emotions import EIGHT
from pfvit.errors import UsageError

#: Endings of the tables that `predict --output` writes.
TABLES = (".jsonl", ".csv", ".parquet")
Provider = Literal["cpu", "cuda", "coreml", "directml", "openvino"]
Look = Literal["quick", "normal", "thorough"]


@dataclass(frozen=True)
class Info:
    """Print the size and cost of a preset, part by part."""

    preset: Positional[str] = "compact"
    """One of the presets; `pfvit info list` names them all."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        if self.preset != "list":
            architecture(self.preset)


@dataclass(frozen=True)
class Evaluate:
    """Measure recognition and poker faces on labelled faces, with 95% bootstrap intervals."""

    data: Paths
    """Labelled faces: Parquet files or folders of them, folders of class folders, or CSV lists. Of a folder with parts,
    the test part is measured, or else the validation part."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is taken from the same folder), a run folder of `pfvit train` or one of its
    checkpoints; the shipped weights if not given."""
    cross: Paths = ()
    """Recognisers or run folders: print a table of each of them on each data set of --data. Only recognition is
    measured, over the emotions that both sides distinguish."""
    merge: Words = ()
    """With --cross: emotions to count as another one on both sides, as in contempt=disgust."""
    probe: Paths = ()
    """Measure the encoder of --weights by a linear probe, instead of its own answers: labelled faces to fit the
    probe to (scikit-learn). --weights may then also be a run of `pfvit pretrain`."""
    judge: Path | None = None
    """A separately trained recogniser .onnx that says how neutral the poker faces look."""
    order: Words = ()
    """What labels 0, 1, 2, ... mean if a file does not say it: ferplus, fer2013, rafdb, affectnet7, affectnet8, expw,
    ckplus, or the names of the classes. FER+'s order if not given."""
    protocol: tuple[Literal["clean", "official", "all", "majority"], ...] = ("clean",)
    """Which faces count. clean leaves out rows whose pixels are also in another split (`also_in`), official keeps them.
    For data with votes: all counts every face, by the emotion with the most votes; majority, which papers on FER+
    report, drops single votes and then faces without an emotion that has more than half of the rest. Both are shown if
    neither is named."""
    robustness: bool = False
    """Also measure recognition of the same faces framed tighter and wider, turned, partly covered, small, compressed,
    and badly lit: 16 times as many answers."""
    faces: bool = True
    """Also measure the poker faces; --no-faces for recognition alone."""
    batch: int = 64
    """Faces at a time."""
    json: bool = False
    """Print one JSON object instead of a table."""
    figures: Path | None = None
    """Write pictures into this folder: the first faces of each emotion (with reconstruction, poker face and expression
    map), a reliability diagram, and the curve of selective prediction."""
    shown: int = 64
    """How many faces of each emotion the pictures show."""

    def __post_init__(self) -> None:
        check_order(self)
        at_least(1, self, "batch", "shown")
        self.merged()
        if self.probe and (self.cross or self.judge or self.robustness or self.figures):
            raise UsageError("--probe measures a linear classifier: without --cross, --judge, --robustness, --figures")
        if self.cross and (self.weights or self.judge or self.robustness or self.figures):
            raise UsageError("--cross measures recognition alone: without --weights, --judge, --robustness, --figures")
        if self.judge and not self.faces:
            raise UsageError("--judge looks at poker faces, which --no-faces leaves out: give one of the two")
        if self.merge and not self.cross:
            raise UsageError("--merge says what counts as the same emotion for --cross: give --cross too")
        if {"clean", "official"} <= {*self.protocol}:
            raise UsageError("--protocol clean and official are two answers to one question: name one")

    @property
    def clean(self) -> bool:
        """Whether rows that are also in another split are left out."""
        return "official" not in self.protocol

    @property
    def majority_alone(self) -> bool:
        """Whether only the papers' protocol is asked for."""
        return "majority" in self.protocol and "all" not in self.protocol

    def merged(self) -> dict[str, str]:
        """Return {emotion: what it counts as} of --merge; UsageError for words unlike contempt=disgust."""
        counts_as = {old: new for old, _, new in (word.partition("=") for word in self.merge)}
        for old, new in counts_as.items():
            if old not in EIGHT or new not in EIGHT or new in counts_as:
                raise UsageError(f"--merge takes EMOTION=EMOTION of {', '.join(EIGHT)}, not {old}={new}")
        return counts_as


@dataclass(frozen=True)
class Predict:
    """Find faces in pictures and read their expressions."""

    paths: Positional[Words]
    """Pictures, folders, patterns like 'a/**/*.jpg', Parquet files with an image column, or - for standard input."""
    json: bool = False
    """Print one JSON object per face and line instead of the table."""
    output: Path | None = None
    """Write the faces to this table instead: NAME.jsonl, NAME.csv or NAME.parquet. It appears when it is complete."""
    resume: bool = False
    """Continue the --output of an earlier run that was stopped, without reading its pictures again."""
    annotate: Path | None = None
    """Write each photo in which a face is found into this folder, with boxes and names."""
    picture: Path | None = None
    """Write a picture per face into this folder: face, reconstruction, poker face and expression map."""
    movement: bool = False
    """Also show how far brows, lids and mouth are from their places in the poker face."""
    affect: bool = False
    """Also show an index of valence and arousal, computed from the probabilities."""
    whole: bool = False
    """Treat each picture as one cropped face, without detection."""
    look: Look = "normal"
    """How thoroughly to search for faces. quick searches once, upright; thorough also finds small or turned faces
    beside large ones, and takes many times as long."""
    top: int = 3
    """How many emotions the table names; not used with --json or --output."""
    min_score: float = 0.0
    """Leave out faces with a lower score of the detector, from 0 to 1."""
    weights: Path | None = None
    """A recogniser .onnx; the shipped weights if not given."""
    threads: int | None = None
    """CPU threads for the model; all cores if not given."""
    provider: Provider = "cpu"
    """Hardware to run the model on; the installed onnxruntime must support it."""

    def __post_init__(self) -> None:
        some(self.paths, "picture, folder or Parquet file")
        at_least(1, self, "top")
        within(1, MOST_THREADS, self, "threads")
        within(0, 1, self, "min_score")
        if self.output is not None and self.output.suffix.lower() not in TABLES:
            raise UsageError(f"--output must end in {', '.join(TABLES)}, not {self.output.name}")
        if self.resume and self.output is None:
            raise UsageError("--resume goes on with an --output; name it")


@dataclass(frozen=True)
class Poker:
    """Remove the expression from faces: one PNG per face, `<source stem>_<face>.png`, or the photo with all faces."""

    paths: Positional[Words]
    """Pictures, folders, patterns like 'a/**/*.jpg', Parquet files with an image column, or - for standard input."""
    out: Path
    """Folder for the PNG files; created if missing."""
    strength: float = 1.0
    """Share of the expression to remove: 1 gives the poker face, 0 changes nothing, -1 exaggerates."""
    in_photo: bool = False
    """Write the whole photo, at its own size, with all its faces changed: `<source stem>.png`."""
    whole: bool = False
    """Treat each picture as one cropped face, without detection."""
    look: Look = "normal"
    """How thoroughly to search for faces. quick searches once, upright; thorough also finds small or turned faces
    beside large ones, and takes many times as long."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is taken from the same folder); the shipped weights if not given."""
    threads: int | None = None
    """CPU threads for the model; all cores if not given."""
    provider: Provider = "cpu"
    """Hardware to run the model on; the installed onnxruntime must support it."""

    def __post_init__(self) -> None:
        some(self.paths, "picture, folder or Parquet file")
        within(-1, 1, self, "strength")
        within(1, MOST_THREADS, self, "threads")


@dataclass(frozen=True)
class Video:
    """Follow the faces through a video: a table with a row per frame and person, a timeline, an annotated video."""

    path: Positional[str]
    """A video file, or webcam, webcam:NUMBER or webcam:NAME, which run until Ctrl-C."""
    out: Path
    """Folder for what is written: NAME.csv, NAME-timeline.png, NAME-annotated.mp4, NAME-poker.mp4."""
    table: Literal["csv", "parquet", "jsonl"] = "csv"
    """Format of the table."""
    annotate: bool = True
    """Write the video with boxes and names, and its sound."""
    poker: bool = False
    """Write the video with everyone's expression removed, and its sound."""
    strength: float = 1.0
    """With --poker, the share of the expression to remove: 1 gives the poker face, -1 exaggerates."""
    every: int = 4
    """Detect faces in every Nth frame; boxes are interpolated in between."""
    look: Look = "normal"
    """How thoroughly to search for faces. quick searches once, upright; thorough also finds small or turned faces
    beside large ones, and takes many times as long."""
    smoothing: float = 0.3
    """Seconds over which each person's probabilities are smoothed; 0 for no smoothing."""
    min_score: float = 0.7
    """Leave out faces with a lower score of the detector, from 0 to 1."""
    affect: bool = False
    """Also show an index of valence and arousal, computed from the probabilities."""
    baseline: bool = False
    """Read the video twice, and take each person's calmest frames as neutral: for faces that look sad or angry at
    rest."""
    seconds: float | None = None
    """Stop after this many seconds of video."""
    weights: Path | None = None
    """A recogniser .onnx; the shipped weights if not given."""
    threads: int | None = None
    """CPU threads for the model; all cores if not given, and with --poker one fewer."""
    provider: Provider = "cpu"
    """Hardware to run the model on; the installed onnxruntime must support it."""

    def __post_init__(self) -> None:
        at_least(1, self, "every")
        within(1, MOST_THREADS, self, "threads")
        within(-1, 1, self, "strength")
        if self.strength != 1 and not self.poker:
            raise UsageError(f"--strength {self.strength:g} says how much --poker removes: give --poker too")
        within(0, 1, self, "min_score")
        at_least(0, self, "smoothing")
        if self.seconds is not None and not self.seconds > 0:
            raise UsageError(f"--seconds must be more than 0, not {self.seconds}")


@dataclass(frozen=True)
class Batch:
    """Read millions of pictures on all cores, or on a Ray cluster: Parquet files or folders in, Parquet files out."""

    paths: Positional[Words]
    """Parquet files with an image column, pictures, and folders of either; on this machine, or URLs of any file system
    that pyarrow or fsspec knows (s3://bucket/faces)."""
    out: str
    """Folder for the result: faces/part-NNNNN.parquet with a row per face, failed/ with what could not be read."""
    resume: bool = False
    """Continue an earlier run: parts that exist are not read again."""
    whole: bool = False
    """Treat each picture as one cropped face, without detection."""
    look: Look = "normal"
    """How thoroughly to search for faces. quick searches once, upright; thorough also finds small or turned faces
    beside large ones, and takes many times as long."""
    rows: int | None = None
    """Pictures in a part, which is what a crash may lose in each process. 2000 if not given, or fewer so that every
    process has work."""
    processes: int | None = None
    """Number of processes; one for each core of the machine or cluster if not given."""
    threads: int = 1
    """CPU threads for the model in each process."""
    ray: bool = False
    """Work in Ray Data actors (pip install "pfvit[cluster]"): on this machine, or on the cluster at --address."""
    address: str | None = None
    """With --ray, the address of a running cluster, for example auto; a local cluster is started if not given."""
    weights: Path | None = None
    """A recogniser .onnx, on every machine at the same path; the shipped weights if not given."""
    provider: Provider = "cpu"
    """Hardware to run the model on; the installed onnxruntime must support it. With --ray and cuda, one GPU a
    process."""

    def __post_init__(self) -> None:
        some(self.paths, "Parquet file, picture or folder")
        at_least(1, self, "rows", "processes")
        within(1, MOST_THREADS, self, "threads")
        if self.address is not None and not self.ray:
            raise UsageError("--address is that of a Ray cluster: add --ray")


def some(paths: tuple[str, ...], what: str) -> None:
    """Refuse a command line that names nothing to read."""
    if not paths:
        raise UsageError(f"name at least one {what}")

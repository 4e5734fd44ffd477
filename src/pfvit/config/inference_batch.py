"""Settings of `pfvit batch`."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pfvit.config.inference import Provider


@dataclass(frozen=True)
class Batch:
    """Read a great many pictures on all cores, or on a Ray cluster: Parquet files or folders in, Parquet files out."""

    paths: Positional[tuple[str, ...]]
    """Parquet files with an image column, pictures, and folders of either; on this machine, or URLs of any file system
    that pyarrow or fsspec knows (s3://bucket/faces)."""
    out: str
    """Folder for the result: faces/part-NNNNN.parquet with a row per face, failed/ with what could not be read."""
    resume: bool = False
    """Go on with what an earlier run left: parts that are there are not read again."""
    whole: bool = False
    """Take each picture as one face that is already cropped: no detection."""
    rows: int = 2000
    """Pictures in a part: what a crash may lose, for each process."""
    processes: int | None = None
    """How many work side by side; one for each core, of this machine or of the cluster, if not given."""
    threads: int = 1
    """Processor threads for the model in each process."""
    ray: bool = False
    """Work in Ray Data actors (pip install "pfvit[cluster]"): on this machine, or on the cluster at --address."""
    address: str | None = None
    """With --ray, the address of a running cluster, for instance auto; a local one is started if not given."""
    weights: Path | None = None
    """A recogniser .onnx, on every machine at the same path; the shipped weights if not given."""
    provider: Provider = "cpu"
    """What the model runs on, where the installed onnxruntime can use it; with --ray and cuda, one GPU a process."""

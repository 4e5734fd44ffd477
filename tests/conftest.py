"""Made-up faces for tests: they need no data set, and their 'emotion' can be read off the mouth."""

import atexit
import fcntl
import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_weights
import forked
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pfvit.__main__ import main
from pfvit.config import Gan, Pretrain, Train
from pfvit.config.presets import NANO
from pfvit.emotions import EIGHT, FERPLUS_VOTES

SHARED = Path(os.environ.get("PFVIT_SHARED", Path(__file__).parents[2] / "shared"))

#: The modules that take longest. They begin first, so that no process is left alone with one of them at the end.
LONGEST = (
    "test_page", "test_distributed", "test_reproduce", "test_training", "test_photo_training", "test_report",
    "test_privacy", "test_batch", "test_serve_memory", "test_teachers", "test_pages", "test_static_page", "test_export",
    "test_detection", "test_pixel_memory", "test_prepare", "test_api", "test_serve_live", "test_attack",
)  # fmt: skip
WITH_TORCH = ("pretrain", "train", "train-photo", "export", "convert")


def pytest_configure(config: pytest.Config) -> None:
    """Let torch take one thread in processes of tests, of which there are several; it is not imported yet.

    And have xdist take modules in our order, not those of most tests first.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say where two long strings of bytes part: pytest's own account of two pictures takes an hour."""
    if not (isinstance(left, bytes) and isinstance(right, bytes) and len(left) + len(right) > 1000):
        return None
    parted = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), "the shorter")
    return [f"{len(left):,} bytes {op} {len(right):,} bytes, alike up to {parted}"]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def draw_face(rng: np.random.Generator, emotion: int, size: int = 24) -> np.ndarray:
    """A disc with two eyes and a mouth whose height and place tell the emotion."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    face = np.where(x**2 + y**2 < 0.9, 150, 60) + rng.integers(-20, 20)
    for eye in (-0.4, 0.4):
        face = np.where((x - eye) ** 2 + (y + 0.3) ** 2 < 0.02, 30, face)
    mouth = (np.abs(x) < 0.2 + 0.05 * emotion) & (np.abs(y - 0.2 - 0.06 * emotion) < 0.12)
    face = np.where(mouth, 250, face) + rng.normal(0, 4, (size, size))
    return face.clip(0, 255).astype(np.uint8)


def faces_table(rows: int, seed: int = 0, first: int = 0, size: int = 24) -> pa.Table:
    rng = np.random.default_rng(seed)
    emotion = rng.integers(0, 8, rows)
    votes = np.zeros((rows, 10), dtype=np.int8)
    votes[np.arange(rows), emotion] = 8
    votes[np.arange(rows), (emotion + 1) % 8] += 2
    images = [{"bytes": png(draw_face(rng, e, size)), "path": f"f{first + i}.png"} for i, e in enumerate(emotion)]
    columns = {
        "row": pa.array(range(first, first + rows), pa.int32()),
        "name": pa.array([image["path"] for image in images]),
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    }
    columns |= {name: pa.array(votes[:, i]) for i, name in enumerate(FERPLUS_VOTES)}
    columns["also_in"] = pa.array([""] * rows)
    return pa.table(columns)


def write_faces(path: Path, rows: int, seed: int = 0, group: int = 32) -> Path:
    pq.write_table(faces_table(rows, seed), path, row_group_size=group)
    return path


def pfvit(*words: object, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess:
    """Run the command line as a person would, with one thread so that results do not depend on the machine.

    Verbs that need torch run in a process that is forked from one that has it.
    """
    if words[0] in WITH_TORCH:
        return forked.Forked(forked.verb, tuple(map(str, words)), cwd=cwd).wait(timeout)
    return subprocess.run(
        [sys.executable, "-m", "pfvit", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, timeout=timeout, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def command(*configs: Pretrain | Train) -> list[str]:
    """Return the command that trains with these settings in a process of its own (`ranks.py`)."""
    folder = Path(tempfile.mkdtemp(prefix="pfvit-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "configs.pickle").write_bytes(pickle.dumps(configs))
    return [sys.executable, str(Path(__file__).with_name("ranks.py")), str(folder / "configs.pickle")]


def run_training(*configs: Pretrain | Train) -> subprocess.CompletedProcess:
    """Train with these settings in a process of its own, with one thread."""
    return forked.Forked(forked.train, configs).wait()


def inside(capsys: pytest.CaptureFixture[str], *words: object) -> subprocess.CompletedProcess:
    """Run the command line in this process: for what fails or prints at once, where a process would cost the most."""
    capsys.readouterr()
    try:
        status = main([*map(str, words)])
    except SystemExit as leaving:
        status = leaving.code
    told = capsys.readouterr()
    return subprocess.CompletedProcess(words, status, told.out, told.err)


@pytest.fixture(scope="session")
def together(tmp_path_factory) -> Path:
    """A folder of all processes that run tests, which one of them at a time fills."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return folder


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Say whether a folder is to be filled in the block; other processes that ask wait for its end."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not (folder / "done").exists()
        (folder / "done").touch()


@pytest.fixture(scope="session")
def made_up(together) -> Path:
    """A Parquet file of 200 made-up faces."""
    with made_once(together / "data") as needed:
        return write_faces(together / "data" / "faces.parquet", 200) if needed else together / "data" / "faces.parquet"


@pytest.fixture(scope="session")
def nano(together, made_up) -> Path:
    """A folder with both stages of a nano run and its export."""
    folder = together / "nano"
    with made_once(folder) as needed:
        if needed:
            train_nano(folder, made_up)
    return folder


def train_nano(folder: Path, faces: Path) -> None:
    """Train both stages and export."""
    words = ("pretrain", "nano", "--data", faces, "--out", folder / "one", "--epochs", 20, "--warmup", 1)
    train = Train(
        data=(faces,),
        out=folder / "two",
        start=folder / "one",
        validation=faces,
        epochs=60.0,
        warmup=1.0,
        batch=32,
        lr=1e-2,
        mixup=0.0,
        random_erasing=0.0,
        model=NANO,
        gan=Gan(every=4, discriminator_start=0.1),
    )
    for done in (
        pfvit(*words, "--batch", 32, "--lr", 1e-2, "--log-every", 10),
        run_training(train),
        pfvit("export", folder / "two", "--out", folder / "nano.onnx", "--calibrate", faces),
    ):
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def emotions() -> tuple[str, ...]:
    return EIGHT


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A face that the detector finds, 150 px."""
    with Image.open(Path(__file__).parents[1] / "assets" / "astronaut.jpg") as photo:
        return photo.convert("RGB").resize((240, 240))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A made-up recogniser and generator, small and fast."""
    return fake_weights.write(tmp_path_factory.mktemp("weights"))

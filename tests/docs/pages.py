"""The pages with their code blocks, and a folder with everything that the examples name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import png, write_faces
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
PHOTO = ROOT / "assets" / "astronaut.jpg"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: What a block may be. `text` shows output, and is compared with nothing.
LANGUAGES = {"python", "sh", "yaml", "text"}


class Block(NamedTuple):
    """A code block: its page, the line that it begins at, its language and its text."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        name = page.relative_to(ROOT).as_posix()
        yield Block(name, text.count("\n", 0, found.start()) + 1, found[1].strip(), found[2])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text())


def sandbox(folder: Path) -> Path:
    """Fill a folder with what the examples read: photos, crops, faces in Parquet files, a list of pictures."""
    photo = PHOTO.read_bytes()
    for name in ("photo.jpg", "holiday/one.jpg", "holiday/day two/two.jpg", "more/deep/three.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo)
    crop = Image.open(PHOTO).convert("RGB").crop((168, 66, 280, 178))
    for name in ("crops/a.png", "faces/a.png", "faces/b.png", "faces/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        crop.save(folder / name)
        crop = crop.rotate(3)
    (folder / "faces" / "list.csv").write_text("a.png,happiness,ann\nb.png,neutral,ben\nc.png,bliss,cleo\n")
    _write_film(folder / "film.mp4")
    write_faces(folder / "faces.parquet", 32)
    write_faces(folder / "labelled.parquet", 48, seed=1)
    rng = np.random.default_rng(0)
    images = [png(np.asarray(crop.convert("L").resize((48, 48))) ^ rng.integers(0, 4, (48, 48), np.uint8))
              for _ in range(6)]  # fmt: skip
    pq.write_table(pa.table({"image": images, "label": [0, 0, 1, 0, 2, 0]}), folder / "mine.parquet")
    return folder


def _write_film(path: Path) -> None:
    frame = av.VideoFrame.from_image(Image.open(PHOTO).convert("RGB").resize((240, 240)))
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 240, 240, "yuv420p"
        for _ in range(3):
            film.mux(video.encode(frame))
        film.mux(video.encode(None))

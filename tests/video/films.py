"""Films for the tests of `pfvit video`, and what it wrote of them."""

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from pfvit.__main__ import main

PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"


WIDE, HIGH, RATE = 320, 240, 20


def frame_of(face: Image.Image | None, left: int) -> np.ndarray:
    page = Image.new("RGB", (WIDE, HIGH), (90, 100, 110))
    if face is not None:
        page.paste(face, (left, 0))
    return np.asarray(page)


def film(path: Path, frames, times=None, sound: bool = False, begin: float = 0.0) -> Path:
    """Write frames, shown at `times` in seconds, with a tone if asked to."""
    clock = Fraction(1, 1000)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=RATE, options={"crf": "12", "g": "5"})
        video.width, video.height, video.pix_fmt = WIDE, HIGH, "yuv420p"
        video.codec_context.time_base = clock
        audio = file.add_stream("aac", rate=16_000) if sound else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            time = begin + (times[number] if times else number / RATE)
            frame.pts, frame.time_base = round(time / clock), clock
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            for number in range(16):
                tone = np.sin(np.arange(1024) / 5).astype(np.float32)[None]
                block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 16_000, number * 1024, Fraction(1, 16_000)
                file.mux(audio.encode(block))
            file.mux(audio.encode(None))
    return path


def moving(face, count: int) -> list[np.ndarray]:
    return [frame_of(face, 2 * number) for number in range(count)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    (table,) = folder.glob("*.csv")
    with table.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def video(path, out, weights, *words) -> int:
    return main(["video", str(path), "--out", str(out), "--weights", str(weights), *map(str, words)])


def refused(capsys, *arguments) -> str:
    assert video(*arguments) == 1
    return capsys.readouterr().err

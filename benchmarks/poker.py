"""How long does a poker face take: in a photo of 12 megapixels with one large face, step by step, and in a video?

    python benchmarks/poker.py PHOTO [--film FILM [--on-8k] [--only-film]] [--rounds 5]

PHOTO, which should show one face, is enlarged to 12 megapixels and written as JPEG. Prints medians in ms: reading it
with detection, the photo model's maps (of the face and of its mirror image), changing the face at its own size,
changing it inside the photo, and writing either as `pfvit poker` does. FILM is read by `pfvit video`, with and without
--poker: frames per second, processor time per frame of all cores together, start included, and the most memory; with
--on-8k its first second, three times as large, in the middle of a gray frame of 7680 x 4320.
"""

import argparse
import os
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from PIL import Image
from reading import median_ms

from pfvit import Reader
from pfvit.commands.output_files import save

PIXELS = 12e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--on-8k", action="store_true")
    parser.add_argument("--only-film", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        if not options.only_film:
            _photo(options.photo, Path(folder), options.rounds)
        if options.film:
            _film(_on_8k(options.film, Path(folder)) if options.on_8k else options.film, Path(folder))


def _photo(photo: Path, folder: Path, rounds: int) -> None:
    image = Image.open(photo).convert("RGB")
    scale = (PIXELS / (image.width * image.height)) ** 0.5
    large = folder / "large.jpg"
    image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS).save(large)
    reader = Reader()
    pixels = np.asarray(Image.open(large))
    (face,) = reader.read(large)[:1]
    print(f"{pixels.shape[1]} x {pixels.shape[0]} pixels, a face of {face.crop.shape[1]}")
    generator, change = face.generator, face.change(1.0)
    moved, inside = face.poker_face(), face.paste_back(pixels)
    for name, call in (
        ("read and find the face", lambda: reader.read(large)),
        ("maps", lambda: generator.careful_maps([face.crop])),
        ("change the face", lambda: face.poker_face()),
        ("write the face", lambda: save(moved, folder / "face.png")),
        ("change it inside the photo", lambda: face.paste_back(pixels)),
        ("write the photo", lambda: save(inside, folder / "photo.png")),
    ):
        print(f"{name}: {median_ms(call, rounds):.0f} ms")
    print(f"the largest movement is {np.abs(change.base).max() * face.crop.shape[1]:.0f} pixels")


def _film(film: Path, folder: Path) -> None:
    for words in (["--no-annotate"], ["--no-annotate", "--poker"], ["--poker"]):
        out = folder / "-".join(words)
        command = [sys.executable, "-m", "pfvit", "video", film, "--out", out, *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            said = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(said)
        first = said.splitlines()[0]
        each, most = 1000 * (used.ru_utime + used.ru_stime) / int(first.split()[0]), used.ru_maxrss / 1000
        print(f"pfvit video {' '.join(words)}: {first}; {each:.1f} ms of processor time a frame, {most:.0f} MB")


def _on_8k(film: Path, folder: Path) -> Path:
    large = folder / "large.mp4"
    frame = np.full((4320, 7680, 3), 110, np.uint8)
    with av.open(str(film)) as source, av.open(str(large), "w") as target:
        video = source.streams.video[0]
        width, height = 3 * video.width, 3 * video.height
        stream = target.add_stream("libx264", rate=video.average_rate, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        top, left = (4320 - height) // 2, (7680 - width) // 2
        for number, one in enumerate(islice(source.decode(video), 24)):
            frame[top : top + height, left : left + width] = one.reformat(width, height, "rgb24").to_ndarray()
            shown = av.VideoFrame.from_ndarray(frame, "rgb24")
            shown.pts, shown.time_base = number, 1 / Fraction(video.average_rate)
            target.mux(stream.encode(shown))
        target.mux(stream.encode(None))
    return large


if __name__ == "__main__":
    main()

"""How long does a poker face take: in a photo of 12 megapixels with one large face, step by step, and in a video?

    python benchmarks/poker.py PHOTO [--film FILM] [--rounds 5]

PHOTO, which should show one face, is enlarged to 12 megapixels and written as JPEG. Prints medians in ms: reading it
with detection, the photo model's maps (of the face and of its mirror image), changing the face at its own size,
changing it inside the photo, and writing either as `pfvit poker` does. FILM is read by `pfvit video`, with and without
--poker.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

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
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        _photo(options.photo, Path(folder), options.rounds)
        if options.film:
            _film(options.film, Path(folder))


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
        said = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
        print(f"pfvit video {' '.join(words)}: {said.splitlines()[0]}")


if __name__ == "__main__":
    main()

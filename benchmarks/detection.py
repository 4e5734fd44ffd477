"""Which faces are found, which are not there, and how long does it take?

    python benchmarks/detection.py PHOTOS --truth truth.json [--faceless FOLDER] [--look thorough] [--step 15]

PHOTOS is a folder. The faces in its photos are those that a thorough look finds in them upright; with --truth they are
written to a file, or read from it if it is there: so another commit (PYTHONPATH=OTHER/src) is measured on the same
faces. Look at the numbers that are printed for each photo: they must be right.

Then each photo is turned about its centre in steps of so many degrees, tiled, and shrunk, and looked at anew. A face is
found if one box lies on it (its centre within half a face of the true one, its size between half and twice). What else
is found is false; so is everything in pictures without faces: textures and machines drawn by this script, and those of
--faceless, each as it is and turned by 45 and 90 degrees. Times are of one processor core, in milliseconds per picture.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pfvit.data import images
from pfvit.detection.alignment import frame
from pfvit.detection.base import Detector, Face
from pfvit.detection.detector import LibFaceDetection

TILES = (2, 4)
SHARES = (0.5, 0.25, 0.125)
SMALLEST = 14  # pixels: shrunk faces below this are not asked for
TEXTURES = 90


@dataclass
class Tally:
    """What was found in some pictures."""

    faces: int = 0
    found: int = 0
    false: int = 0
    pictures: int = 0
    seconds: float = 0.0
    rolls: list[float] = field(default_factory=list)

    def add(self, detector: Detector, picture: Image.Image, centres: np.ndarray, sizes: np.ndarray, turn: float = 0):
        """Look at a picture with faces at these complex places, all rolled by a turn in radians."""
        pixels = np.asarray(picture)
        began = time.process_time()
        found = detector.detect(pixels)
        self.seconds += time.process_time() - began
        self.pictures += 1
        self.faces += len(centres)
        waiting = set(range(len(centres)))
        for face in found:
            x, y, width, height = face.box
            off = np.abs(centres - complex(x + width / 2, y + height / 2)) / sizes
            ratio = math.sqrt(width * height) / sizes
            near = [n for n in waiting if off[n] < 0.5 and 0.5 < ratio[n] < 2]
            if not near:
                self.false += 1
                continue
            waiting.remove(min(near, key=lambda n: off[n]))
            self.found += 1
            if face.points is not None:
                self.rolls.append(abs(math.remainder(frame(face).roll - turn, 2 * math.pi)))

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __str__(self) -> str:
        said = f"{self.found} of {self.faces} found ({self.found / max(1, self.faces):.3f}), {self.false} false"
        said += f", {1000 * self.seconds / max(1, self.pictures):.0f} ms"
        return said + (f", roll off by {math.degrees(np.median(self.rolls)):.0f} degrees" if self.rolls else "")


@dataclass
class Photo:
    """A photo and its faces as complex places and sizes."""

    path: Path
    picture: Image.Image
    centres: np.ndarray
    sizes: np.ndarray

    def turned(self, degrees: float) -> tuple[Image.Image, np.ndarray]:
        """Return it turned clockwise, and where the faces are then."""
        picture = self.picture.rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
        middle, there = complex(*self.picture.size) / 2, complex(*picture.size) / 2
        return picture, (self.centres - middle) * np.exp(1j * math.radians(degrees)) + there

    def tiled(self, times: int) -> tuple[Image.Image, np.ndarray]:
        """Return so many times so many of it, and where the faces are then."""
        width, height = self.picture.size
        picture = Image.new("RGB", (width * times, height * times))
        places = [complex(width * x, height * y) for x in range(times) for y in range(times)]
        for place in places:
            picture.paste(self.picture, (int(place.real), int(place.imag)))
        return picture, np.concatenate([self.centres + place for place in places])


def photos(folder: Path, truth: Path | None) -> list[Photo]:
    """Return the photos of a folder with their faces, read from `truth` or found by a thorough look."""
    known = json.loads(truth.read_text()) if truth is not None and truth.is_file() else {}
    read = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
            continue
        pixels = images.decode(path.read_bytes(), str(path))
        if path.name not in known:
            known[path.name] = [_place(face) for face in LibFaceDetection(look="thorough").detect(pixels)]
        faces = np.array(known[path.name]).reshape(-1, 3)
        print(f"{path.name}: {pixels.shape[1]} x {pixels.shape[0]}, {len(faces)} faces")
        read.append(Photo(path, Image.fromarray(pixels), faces[:, 0] + 1j * faces[:, 1], faces[:, 2]))
    if truth is not None and not truth.is_file():
        truth.write_text(json.dumps(known))
    return read


def _place(face: Face) -> tuple[float, float, float]:
    x, y, width, height = face.box
    return float(x + width / 2), float(y + height / 2), float(math.sqrt(width * height))


def texture(seed: int) -> Image.Image:
    """Return a picture without a face: noise, discs, boxes, letters, panels of machines, checks or waves."""
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(300, 1000, 2))
    kind = seed % 9

    def colour() -> tuple[int, ...]:
        return tuple(int(value) for value in rng.integers(0, 256, 3))

    def between(share: np.ndarray) -> Image.Image:
        mixed = share[..., None] * np.array(colour()) + (1 - share[..., None]) * np.array(colour())
        return Image.fromarray(mixed.astype(np.uint8))

    if kind == 0:
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if kind in (1, 2):
        planes = [_clouds(rng, height, width, rng.uniform(0.6, 2)) for _ in range(3)]
        return between(planes[0]) if kind == 1 else Image.fromarray((255 * np.stack(planes, -1)).astype(np.uint8))
    y, x = np.mgrid[:height, :width]
    if kind == 3:
        grain = int(rng.integers(6, 60))
        return between(((x // grain + y // grain) % 2).astype(float))
    if kind == 4:
        bent = 6 * _clouds(rng, height, width, 1.5) * rng.uniform(0, 3)
        return between((np.sin(x / rng.uniform(3, 40) + bent) * np.cos(y / rng.uniform(3, 40)) + 1) / 2)
    picture = Image.new("RGB", (width, height), colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(30, 300)) if kind in (5, 6) else 0):
        left, top, reach = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(4, 60))
        shape = draw.ellipse if kind == 5 else draw.rectangle
        shape((left, top, left + 2 * reach, top + 2 * reach), fill=colour(), outline=colour(), width=2)
    for top in range(8, height, 18) if kind == 7 else ():
        draw.text((10, top), "".join(map(chr, rng.integers(33, 126, width // 6))), fill=colour())
    if kind == 8:
        _panel(draw, rng, width, height)
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 2))))
    return picture


def _clouds(rng: np.random.Generator, height: int, width: int, roughness: float) -> np.ndarray:
    """Return noise from 0 to 1 whose spectrum falls with a power of the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    waves = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / frequency**roughness
    waves[0, 0] = 0
    noise = np.fft.irfft2(waves, (height, width))
    return (noise - noise.min()) / np.ptp(noise)


def _panel(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    """Draw the front of a machine: dials, grilles, buttons, feet."""
    dark, light = (40, 40, 40), (230, 230, 230)
    for y in range(45, height - 40, 90):
        for x in range(45, width - 40, 90):
            draw.rounded_rectangle((x - 38, y - 38, x + 38, y + 38), 8, fill=light, outline=dark, width=2)
            kind = rng.integers(3)
            if kind == 0:
                draw.ellipse((x - 28, y - 28, x + 28, y + 28), fill=(150, 150, 160), outline=dark, width=3)
                draw.line((x, y, x + 20, y - 14), fill=(200, 0, 0), width=3)
            for line in range(-24, 25, 8) if kind == 1 else ():
                draw.line((x - 25, y + line, x + 25, y + line), fill=dark, width=3)
            for place in range(9) if kind == 2 else ():
                left, top = x + 16 * (place % 3 - 1), y + 16 * (place // 3 - 1)
                draw.ellipse((left - 6, top - 6, left + 6, top + 6), fill=dark)


def faceless(folder: Path | None) -> Iterator[tuple[str, Image.Image]]:
    """Yield pictures without faces, with a name."""
    for seed in range(TEXTURES):
        yield f"texture {seed}", texture(seed)
    for path in sorted(folder.iterdir()) if folder is not None else ():
        yield path.name, Image.fromarray(images.decode(path.read_bytes(), str(path)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--faceless", type=Path)
    parser.add_argument("--look", default=None)
    parser.add_argument("--step", type=int, default=15)
    options = parser.parse_args()
    detector = LibFaceDetection() if options.look is None else LibFaceDetection(look=options.look)
    some = photos(options.photos, options.truth)
    detector.detect(np.asarray(some[0].picture))  # opens the network
    every = Tally()
    for degrees in range(0, 360, options.step):
        tally = Tally()
        for photo in some:
            picture, centres = photo.turned(degrees)
            tally.add(detector, picture, centres, photo.sizes, math.radians(degrees))
        print(f"turned by {degrees:3}: {tally}", flush=True)
        if degrees:
            every = every + tally
    print(f"all turns but 0: {every}")
    for times in TILES:
        tally = Tally()
        for photo in some:
            picture, centres = photo.tiled(times)
            tally.add(detector, picture, centres, np.tile(photo.sizes, times**2))
        print(f"tiled {times} x {times}: {tally}", flush=True)
    for share in SHARES:
        tally = Tally()
        for photo in some:
            if photo.sizes.min() * share >= SMALLEST:
                small = photo.picture.resize([max(1, round(side * share)) for side in photo.picture.size])
                tally.add(detector, small, photo.centres * share, photo.sizes * share)
        print(f"shrunk to {share}: {tally}", flush=True)
    tally, wrong = Tally(), []
    for name, picture in faceless(options.faceless):
        for degrees in (0, 45, 90):
            before = tally.false
            turned = picture.rotate(degrees, Image.Resampling.BILINEAR, expand=True)
            tally.add(detector, turned, np.zeros(0, complex), np.zeros(0))
            wrong += [f"{name} at {degrees}"] if tally.false > before else []
    print(f"{tally.pictures} pictures without faces: {tally.false} false faces in {len(wrong)}", end="")
    print(f", {1000 * tally.seconds / tally.pictures:.0f} ms: {', '.join(wrong) or 'none'}")


if __name__ == "__main__":
    main()

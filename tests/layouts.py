"""Made-up miniature copies of the official downloads, drawn faces inside."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conftest import draw_face
from PIL import Image

from pfvit.emotions import EIGHT, FERPLUS_VOTES, ORDERS


def face(seed: int, emotion: str, size: int = 48, colour: bool = True) -> np.ndarray:
    """A drawn face whose pixels and look differ with the seed."""
    rng = np.random.default_rng(seed)
    cells = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    drawn = draw_face(rng, EIGHT.index(emotion), size) // 2 + np.asarray(cells) // 2
    return np.stack([drawn, drawn // 2 + 60, 255 - drawn], axis=2) if colour else drawn


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def rafdb(root: Path, train: int = 14, test: int = 7) -> Path:
    """RAF-DB: labels 1 to 7 in turn."""
    lines = []
    for split, count, first in (("train", train, 0), ("test", test, 10_000)):
        for number in range(1, count + 1):
            label = (number - 1) % 7 + 1
            name = f"{split}_{number:05d}"
            pixels = face(first + number, ORDERS["rafdb"][label - 1], 100)
            save(root / "Image" / "aligned" / f"{name}_aligned.jpg", pixels)
            lines.append(f"{name}.jpg {label}")
    (root / "EmoLabel").mkdir()
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)


def affectnet_tables(root: Path) -> Path:
    """AffectNet's first release: expressions 0 to 10 in turn, a face of 60 px at (20, 10) in a photo."""
    for table, first, count in (("training", 0, 22), ("validation", 100, 11)):
        rows = []
        for number in range(count):
            label = number % 11
            name = f"{number // 10}/{table}{number}.jpg"
            photo = np.full((100, 120, 3), 90, np.uint8)
            photo[10:70, 20:80] = face(first + number, EIGHT[label % 8], 60)
            save(root / "Manually_Annotated_Images" / name, photo)
            rows.append((name, 20, 10, 60, 60, "1;2", label, 0.1, 0.2))
        with (root / f"{table}.csv").open("w", newline="") as file:
            # The published validation table has no heading.
            csv.writer(file).writerows([COLUMNS, *rows] if table == "training" else rows)
    return root


def affectnet_folders(root: Path) -> Path:
    """AffectNet's later release: crops, and labels as text in .npy files."""
    for folder, first, count in (("train_set", 0, 16), ("val_set", 100, 8)):
        (root / folder / "annotations").mkdir(parents=True)
        for number in range(count):
            label = number % 8
            save(root / folder / "images" / f"{number}.jpg", face(first + number, ORDERS["affectnet8"][label], 112))
            np.save(root / folder / "annotations" / f"{number}_exp.npy", np.array(str(label)))
            np.save(root / folder / "annotations" / f"{number}_val.npy", np.array("0.1"))
    return root


def ferplus(root: Path, rows: Sequence[tuple[np.ndarray, int, str, str, Sequence[int]]] | None = None) -> Path:
    """FER2013 and FER+ tables of (pixels, FER2013 label, Usage, name, ten votes)."""
    if rows is None:
        rows = ferplus_rows()
    root.mkdir(exist_ok=True)
    with (
        (root / "fer2013.csv").open("w", newline="") as faces,
        (root / "fer2013new.csv").open("w", newline="") as votes,
    ):
        faces.write("emotion,pixels,Usage\n")
        votes.write("Usage,Image name," + ",".join(FERPLUS_VOTES) + "\n")
        for pixels, label, usage, name, counts in rows:
            faces.write(f"{label},{' '.join(map(str, pixels.ravel()))},{usage}\n")
            votes.write(f"{usage},{name}," + ",".join(map(str, counts)) + "\n")
    return root


def ferplus_rows() -> list[tuple[np.ndarray, int, str, str, list[int]]]:
    """Twelve rows: one without a name, the last two with the pixels, and nearly those, of the first."""
    rows = []
    for number in range(10):
        emotion = EIGHT[number % 8]
        counts = [0] * 10
        counts[number % 8], counts[8] = 8, 2
        usage = ("Training", "Training", "Training", "PublicTest", "PrivateTest")[number % 5]
        name = "" if number == 5 else f"fer{number:07d}.png"
        rows.append((face(number, emotion, colour=False), number % 7, usage, name, counts))
    first = rows[0]
    nearly = np.clip(first[0].astype(int) + 3, 0, 255).astype(np.uint8)
    rows.append((first[0], first[1], "PublicTest", "fer0000010.png", first[4]))
    rows.append((nearly, first[1], "PrivateTest", "fer0000011.png", first[4]))
    return rows


def sfew(root: Path) -> Path:
    for part, first in (("Train_Aligned_Faces", 0), ("Val_Aligned_Faces", 100)):
        for number, folder in enumerate(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")):
            emotion = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")[number]
            save(root / part / folder / f"film_{first + number}.png", face(first + number, emotion, 143))
    return root


def expw(root: Path, photos: int = 20) -> Path:
    """Two faces to a photo; the columns are name, number, top, left, right, bottom, confidence, label."""
    lines = []
    for number in range(photos):
        photo = np.full((90, 200, 3), 90, np.uint8)
        for place in range(2):
            label = (2 * number + place) % 7
            photo[20:80, 10 + 100 * place : 70 + 100 * place] = face(2 * number + place, ORDERS["expw"][label], 60)
            lines.append(f"p{number}.jpg {place} 20 {10 + 100 * place} {70 + 100 * place} 80 60.5 {label}")
        save(root / "image" / "origin" / f"p{number}.jpg", photo)
    (root / "label").mkdir()
    (root / "label" / "label.lst").write_text("\n".join(lines) + "\n")
    return root


def ckplus(root: Path, photo: np.ndarray, people: int = 2) -> Path:
    """One sequence of five frames per person: the photo, a little darker in each."""
    for person in range(people):
        name = f"S{person:03d}"
        for number in range(1, 6):
            darker = (photo * (1 - 0.04 * number - 0.3 * person)).astype(np.uint8)
            save(root / "cohn-kanade-images" / name / "001" / f"{name}_001_{number:08d}.png", darker)
        file = root / "Emotion" / name / "001" / f"{name}_001_00000005_emotion.txt"
        file.parent.mkdir(parents=True)
        file.write_text(f"   {person % 7 + 1}.0000000e+00\n")
    return root


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()

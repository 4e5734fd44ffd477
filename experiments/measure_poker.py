"""How near a poker face comes to the person's real neutral photo, beside controls that show what the measures are
worth.

    python experiments/measure_poker.py PHOTOS --judge FOLDER [--weights W.onnx] [--out sheet.png]

PHOTOS holds pairs NAME_happiness.jpg and NAME_neutral.jpg of the same person; FOLDER has face-api installed
(experiments/face_api_judge.cjs). All judges are networks that had no part in training. Every picture is cut out as the
smiling one is, at 384 px. Controls: the smile untouched, blurred, cross-faded with another person's neutral face,
another person's neutral photo, and the true neutral photo re-encoded. A measure counts only if it orders these rightly.
"""

import argparse
import io
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from pfvit import Reader
from pfvit.detection.alignment import cut

SIDE = 384
LIPS, CORNERS = range(48, 68), (48, 54)
BROWS, LIDS = range(17, 27), (37, 38, 40, 41, 43, 44, 46, 47)
INNER_LIPS = (62, 66)


def square(photo: np.ndarray, reader: Reader) -> np.ndarray:
    """Cut the face out, 384 px a side, with some more around it than the recogniser sees."""
    (face,) = reader.read(photo)[:1]
    frame = face.frame._replace(side=face.frame.side * 1.1)
    return np.asarray(Image.fromarray(cut(photo, frame)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def judged(faces: list[np.ndarray], folder: Path) -> list[dict]:
    """Return what face-api says of each face."""
    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        file.write(np.stack(faces).astype(np.uint8).tobytes())
        file.flush()
        script = Path(__file__).with_name("face_api_judge.cjs")
        words = ["node", script, folder, file.name, len(faces), SIDE]
        said = subprocess.run([*map(str, words)], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def in_face_units(points: list) -> np.ndarray:
    """Return 68 landmarks with the outer corners of the eyes on a level, 1 apart."""
    p = np.array(points) @ [1, 1j]
    z = (p - (p[36] + p[45]) / 2) / (p[45] - p[36])
    return np.stack([z.real, z.imag], 1)


def sharpness(face: np.ndarray, points: list, which: range) -> float:
    """Return the energy of fine lines around some landmarks: the variance of what a blur takes away."""
    p = np.array([points[k] for k in which]) * SIDE
    (x0, y0), (x1, y1) = p.min(0) - 8, p.max(0) + 8
    gray = Image.fromarray(face).convert("L")
    fine = np.asarray(gray, float) - np.asarray(gray.filter(ImageFilter.GaussianBlur(2)), float)
    return float(fine[max(0, int(y0)) : int(y1), max(0, int(x0)) : int(x1)].var())


def measures(one: dict, neutral: dict, face: np.ndarray, neutral_face: np.ndarray) -> dict[str, float]:
    """Return all measures of one picture against the person's real neutral photo."""
    a, b = in_face_units(one["landmarks"]), in_face_units(neutral["landmarks"])
    gap = np.linalg.norm(a - b, axis=1)
    return {
        "neutral": float(max(one["expressions"], key=one["expressions"].get) == "neutral"),
        "p(neutral)": one["expressions"]["neutral"],
        "distance": float(np.linalg.norm(np.array(one["descriptor"]) - neutral["descriptor"])),
        "lips": gap[list(LIPS)].mean(),
        "corners": gap[list(CORNERS)].mean(),
        "opening": float(np.linalg.norm(a[INNER_LIPS[0]] - a[INNER_LIPS[1]])),
        "width": float(np.linalg.norm(a[CORNERS[0]] - a[CORNERS[1]])),
        "brows": gap[list(BROWS)].mean(),
        "lids": gap[list(LIDS)].mean(),
        "mouth sharpness": sharpness(face, one["landmarks"], LIPS)
        / sharpness(neutral_face, neutral["landmarks"], LIPS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, help="a sheet: smile, poker face, real neutral photo")
    options = parser.parse_args()
    reader = Reader(options.weights)
    pairs = []
    for smiling in sorted(options.photos.glob("*_happiness.*")):
        calm = next(options.photos.glob(smiling.stem.replace("happiness", "neutral") + ".*"))
        pairs.append([np.asarray(Image.open(path).convert("RGB")) for path in (smiling, calm)])
    kinds: dict[str, list[np.ndarray]] = {}
    smiles = [square(smile, reader) for smile, _ in pairs]
    calms = [square(calm, reader) for _, calm in pairs]
    kinds["smile"], kinds["real neutral"] = smiles, calms
    for strength in (0.5, 1.0):
        faces = [reader.read(smile)[0] for smile, _ in pairs]
        made = [face.paste_back(smile, strength) for face, (smile, _) in zip(faces, pairs, strict=True)]
        name = "poker face" if strength == 1 else f"poker face, strength {strength:g}"
        kinds[name] = [_as_cut(photo, face) for photo, face in zip(made, faces, strict=True)]
    faces = [reader.read(calm)[0] for _, calm in pairs]
    made = [face.paste_back(calm) for face, (_, calm) in zip(faces, pairs, strict=True)]
    kinds["neutral, after poker"] = [_as_cut(photo, face) for photo, face in zip(made, faces, strict=True)]
    for radius in (1, 2, 4):
        blur = ImageFilter.GaussianBlur(radius * SIDE / 256)
        kinds[f"smile, blur {radius}"] = [np.asarray(Image.fromarray(face).filter(blur)) for face in smiles]
    kinds["cross-fade"] = [
        (0.5 * a + 0.5 * b).astype(np.uint8) for a, b in zip(smiles, calms[1:] + calms[:1], strict=True)
    ]
    kinds["another's neutral"] = calms[1:] + calms[:1]
    kinds["neutral, re-encoded"] = [_encoded(face) for face in calms]
    said = judged([face for faces in kinds.values() for face in faces], options.judge)
    count, rows = len(pairs), {}
    truth = said[count : 2 * count]
    for k, (name, faces) in enumerate(kinds.items()):
        answers = said[k * count : (k + 1) * count]
        each = [measures(a, t, f, c) for a, t, f, c in zip(answers, truth, faces, calms, strict=True)]
        rows[name] = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    dial(pairs, reader, options.judge)
    names = list(next(iter(rows.values())))
    print("| | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[key]:.3f}" for key in names) + " |")
    if options.out:
        lines = [
            np.concatenate(kinds[name], 1) for name in ("smile", "poker face", "real neutral", "neutral, after poker")
        ]
        Image.fromarray(np.concatenate(lines, 0)).save(options.out)


def dial(pairs: list, reader: Reader, judge: Path) -> None:
    """Print how steadily lips move with the strength: Spearman's rank correlation over nine strengths from -1 to 1.

    It is between the strength and how near the lips are to where they lie in the poker face.
    """
    strengths = np.linspace(-1, 1, 9)
    ranks = []
    for smile, _ in pairs:
        face = reader.read(smile)[0]
        made = [_as_cut(face.paste_back(smile, float(strength)), face) for strength in strengths]
        lips = [in_face_units(one["landmarks"])[list(LIPS)] for one in judged(made, judge)]
        gaps = [np.linalg.norm(there - lips[-1], axis=1).mean() for there in lips]
        ranks.append(float(np.corrcoef(strengths, np.argsort(np.argsort(-np.array(gaps))))[0, 1]))
    print(f"dial: rank correlation {np.mean(ranks):.3f}, lowest {min(ranks):.3f}, {len(ranks)} faces\n")


def _as_cut(photo: np.ndarray, face: object) -> np.ndarray:
    frame = face.frame._replace(side=face.frame.side * 1.1)
    return np.asarray(Image.fromarray(cut(photo, frame)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _encoded(face: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(face).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


if __name__ == "__main__":
    main()

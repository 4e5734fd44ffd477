"""pfvit beside the tools that people would take today: accuracy, speed, memory and weight, in one run on one machine.

    python benchmarks/peers.py FOLDER --data ferplus_val.parquet --photo assets/astronaut.jpg

Builds this tree's wheel and installs it, `fer` and `@vladmandic/face-api` into environments of their own under FOLDER
(8 GB, once), then prints a Markdown table and writes FOLDER/peers.json; `--readme README.md` renews the table there.
Needs pip and npm to reach their indexes.

Each tool reads the same cropped 48 px faces with its bare model: FER+ validation, clean protocol, majority votes. The
peers know seven emotions, without contempt, so faces of contempt are left out here; `fer` is measured twice, as it
comes (TFLite, quantised) and with its Keras model. Rates are medians over rounds in which the tools take turns. Cold
start is a fresh process that finds and reads the faces of one photo (face-api is handed decoded pixels, and uses its
smallest detector). deepface, EmotiEffLib and py-feat fetch their weights when first used, so they are not measured.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parent
MARK = "<!-- peers -->"
FER, FACE_API = "fer==25.10.3", "@vladmandic/face-api@1.7.15"
SEVEN = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
VOTES = (*SEVEN, "contempt", "unknown", "NF")
NO_PACKAGES_OF_THEIRS = {"pip", "setuptools", "wheel"}
#: Starts a command from a small process: a child's peak memory is never told below that of the one that started it.
MEASURED = (
    "import resource, subprocess, sys, time; began = time.perf_counter(); "
    "status = subprocess.run(sys.argv[1:]).returncode; spent = time.perf_counter() - began; "
    "print(); print(spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True); sys.exit(status)"
)
FER_PHOTO = (
    "import os,sys,cv2; os.environ['TF_CPP_MIN_LOG_LEVEL']='3'; from fer.fer import FER; "
    "print(FER().detect_emotions(cv2.imread(sys.argv[1])))"
)


def faces_of(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return uint8 [faces, 48, 48] and the majority votes of the clean faces whose emotion all tools can name."""
    table = pq.read_table(path).to_pydict()
    images, truth = [], []
    for row, image in enumerate(table["image"]):
        votes = [table[name][row] for name in VOTES]
        name = VOTES[int(np.argmax(votes))]
        if not table["also_in"][row] and name in SEVEN:
            with Image.open(io.BytesIO(image["bytes"])) as picture:
                images.append(np.asarray(picture.convert("L")))
            truth.append(name)
    return np.stack(images), truth


def score(truth: Sequence[str], said: Sequence[str]) -> tuple[float, float]:
    """Return accuracy and mean recall in percent; an answer that is no name of ours counts as wrong."""
    right = np.array([a == b for a, b in zip(truth, said, strict=True)])
    recalls = [right[[name == one for one in truth]].mean() for name in SEVEN if name in truth]
    return 100 * float(right.mean()), 100 * float(np.mean(recalls))


def run(words: Sequence[object], folder: Path | None = None) -> tuple[str, float, float]:
    """Run a command; return what it printed, its seconds, and its peak memory in MB. A failure ends everything."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURED, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, env=environment, text=True,
    )  # fmt: skip
    said, _, figures = done.stdout.rstrip().rpartition("\n")
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, words))}\n{done.stdout}")
    seconds, kilobytes = map(float, figures.split())
    return said, seconds, kilobytes / 1024


def install(folder: Path) -> None:
    """Install what is not there yet; pfvit's wheel always anew, from this tree."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pfvit", "fer"):
        if not (folder / name).exists():
            run([sys.executable, "-m", "venv", folder / name])
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT])
    (wheel,) = folder.glob("pfvit-*.whl")
    run([folder / "pfvit" / "bin" / "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel])
    run([folder / "pfvit" / "bin" / "pip", "install", "-q", wheel])
    run([folder / "fer" / "bin" / "pip", "install", "-q", FER])
    if not (folder / "face-api" / "node_modules").exists():
        (folder / "face-api").mkdir(exist_ok=True)
        (folder / "face-api" / "package.json").write_text("{}")
        wanted = (FACE_API, "@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
        run(["npm", "install", "--silent", "--no-fund", "--no-audit", *wanted], folder / "face-api")


def weight(folder: Path, name: str) -> tuple[float, int]:
    """Return the MB that a tool's packages take, without pip itself, and how many packages these are."""
    if name == "face-api":
        modules = folder / name / "node_modules"
        packages = [path for path in modules.rglob("package.json") if path.parent.parent in _homes(modules)]
        return _size(modules), len(packages)
    (site,) = (folder / name / "lib").glob("python*/site-packages")
    packages = {path.name.split("-")[0].lower() for path in site.glob("*.dist-info")} - NO_PACKAGES_OF_THEIRS
    return _size(site) - sum(_size(site / name) for name in NO_PACKAGES_OF_THEIRS), len(packages)


def _homes(modules: Path) -> set[Path]:
    return {modules, *(path for path in modules.iterdir() if path.name.startswith("@"))}


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the table as Markdown."""
    columns = {
        "accuracy": ("war", "{:.1f}%"), "mean recall": ("uar", "{:.1f}%"), "ms per face": ("one_ms", "{:.1f}"),
        "faces/s in bulk": ("rate", "{:.0f}"), "photo, cold": ("cold", "{:.1f} s"),
        "peak memory": ("memory", "{:.0f} MB"),
        "installed": ("size", "{:.0f} MB"), "packages": ("packages", "{:.0f}"),
    }  # fmt: skip
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(form.format(row[key]) for key, form in columns.values()) + " |")
    return "\n".join(lines) + "\n"


def renewed(page: str, table: str) -> str:
    """Return a page with the table in the place of what stands between its two marks."""
    before, _, after = page.split(MARK)
    return f"{before}{MARK}\n{table}{MARK}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photo", type=Path, default=ROOT / "assets" / "astronaut.jpg")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="a pfvit .onnx instead of the wheel's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readme", type=Path, help="a page whose part between <!-- peers --> marks becomes the table")
    parser.add_argument("--installed", action="store_true", help="measure what FOLDER holds, without installing anew")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if not options.installed:
        install(folder)
    faces, truth = faces_of(options.data)
    np.save(folder / "faces.npy", faces)
    faces.tofile(folder / "faces.raw")
    with Image.open(options.photo) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    pixels.tofile(folder / "photo.raw")
    height, width = pixels.shape[:2]
    photo, python = options.photo.resolve(), [folder / "fer" / "bin" / "python"]
    node = ["node", HERE / "peers" / "face_api_worker.cjs", folder / "face-api"]
    ours = folder / "pfvit" / "bin"
    weights = [path.resolve() for path in options.weights]
    tools = {
        "**pfvit**": ("pfvit", [ours / "python", HERE / "peers" / "pfvit_worker.py", folder / "faces.npy", *weights],
                      [ours / "pfvit", "predict", photo, "--json"]),
        "fer (as it comes)": ("fer", [*python, HERE / "peers" / "fer_worker.py", folder / "faces.npy", "tflite"],
                              [*python, "-c", FER_PHOTO, photo]),
        "fer (Keras)": ("fer", [*python, HERE / "peers" / "fer_worker.py", folder / "faces.npy", "keras"],
                        [*python, "-c", FER_PHOTO.replace("FER()", "FER(use_tflite=False)"), photo]),
        "face-api": ("face-api", [*node, folder / "faces.raw", len(faces)],
                     [*node, folder / "photo.raw", width, height]),
    }  # fmt: skip
    told: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for turn in range(options.rounds):
        for name, (_, read, cold) in tools.items():
            said = json.loads(next(line for line in run(read, folder)[0].splitlines() if line.startswith("{")))
            war, uar = score(truth, [said["labels"][index] for index in said["answers"]])
            _, seconds, memory = run(cold, folder)
            figures = {"one_ms": said["one_ms"], "rate": said["rate"], "cold": seconds, "memory": memory}
            told[name].append({"war": war, "uar": uar, **figures})
            print(f"round {turn + 1}, {name}: {figures}", file=sys.stderr)
    rows = {}
    for name, rounds in told.items():
        rows[name] = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        rows[name]["size"], rows[name]["packages"] = weight(folder, tools[name][0])
    (folder / "peers.json").write_text(json.dumps({"faces": len(truth), "tools": rows}, indent=1))
    print(f"{len(truth)} faces\n\n{table(rows)}")
    if options.readme:
        options.readme.write_text(renewed(options.readme.read_text(), table(rows)))


if __name__ == "__main__":
    main()

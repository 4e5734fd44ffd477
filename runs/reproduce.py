"""Every run behind the weights, the ablation table and the figures: in pieces, and it goes on where it stopped.

    PFVIT_DATA=/path/to/data python runs/reproduce.py weights  [--scale cpu] [--minutes 9]
    PFVIT_DATA=/path/to/data python runs/reproduce.py ablation [--scale cpu] [--seeds 3] [--variants abd] [--minutes 9]

`weights` leads from the Parquet files to runs/SCALE/weights/pfvit.onnx, its judge, its table (evaluate.json) and its
figures; copy the .onnx files to src/pfvit/weights to ship them. `ablation` trains each variant with each seed and
writes runs/SCALE/ablation.md. With --minutes it starts no more pieces after so long, and a piece stops by itself:
start it again until it says that all is done. Scales: `try` is minutes, to see that everything works; `cpu` is two
processor cores with bf16 (AVX-512), two hours for the weights; `gpu` is one card, with ten times the epochs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pfvit.training import checkpoint

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = {"try": 0.02, "cpu": 1.0, "gpu": 10.0}  # factor
LICENSE = "research use: trained on FER2013 (no open licence, FER+ votes MIT), UTKFace (non-commercial), LFW"


@dataclass(frozen=True)
class Stage:
    """One training run."""

    name: str
    verb: str
    epochs: float
    settings: str
    start: str | None = None
    preset: str = "compact-conv"
    self_labelled: bool = False
    """Also train on the unlabelled faces, with what the weights in the wheel answer to them."""


SHIPS = "small-conv"
BESIDE = (
    "--batch 96 --layer-decay 1 --smoothing 0 --game.batch 32 --game.start 1 --game.encoder-share 1 "
    "--game.reconstruction 5 --game.untouched 5"
)
ALONE = (
    "--batch 32 --game.batch 32 --game.alone --game.start 0 --game.ramp 0.05 --warmup 0.05 --layer-decay 1 "
    "--game.features 0 --game.restraint 1.5 --game.emotion 0.06 --game.cycle 0.5 --game.cycle-emotion 0.03"
)
WEIGHTS = (
    # All faces, without labels.
    Stage("pre", "pretrain", 2, "--batch 96 --optimizer muon --rate 3e-3 --warmup 0.2", preset=SHIPS),
    # Recognition, with as much drawing beside it as keeps the pixels in the representation.
    Stage("one", "train", 28, f"--optimizer muon --rate 5e-3 --weight-decay 0.1 --warmup 0.3 --mixup 0.2 --cutmix 0.1 "
          f"--erase 0.2 --drop-path 0.1 {BESIDE} --game.every 4", start="pre", preset=SHIPS),
    # The encoder stays from here on: axes set now stay true, and the classifier is refit on them.
    Stage("two", "train", 1.5, "--batch 96 --rate 4e-3 --warmup 0.1 --mixup 0 --erase 0.1 --layer-decay 1 "
          "--smoothing 0 --game.every 0 --encoder-stays --erase-at 0", start="one", preset=SHIPS),
    # The game, while recognition stays as it is.
    Stage("three", "train", 2.15, f"--rate 6e-3 --game.untouched 2 {ALONE}", start="two", preset=SHIPS),
)  # fmt: skip
#: Stages, and what to export with: balance and emphasis as chosen with runs/choose.py (lab book).
RECIPES = {"weights": (WEIGHTS, 0.2, 1.5)}
#: How far the ablation lifts rare emotions when it does: as far as the weights do, chosen long before it.
LIFT = 0.2
BRIEF = (
    "--batch 96 --optimizer muon --rate 5e-3 --weight-decay 0.1 --warmup 0.2 --layer-decay 1 --mixup 0 --erase 0.1 "
    "--smoothing 0"
)
GAME = f"{BRIEF} --game.every 4 --game.batch 32 --game.start 0.4 --game.encoder-share 0.1 --game.reconstruction 5"
PRE = Stage("pre", "pretrain", 1.5, "--batch 96 --optimizer muon --rate 3e-3 --warmup 0.2", preset=SHIPS)


def _variant(name: str, settings: str, start: str | None = "pre") -> tuple[Stage, ...]:
    last = Stage(name, "train", 6, settings, start=start, preset=SHIPS)
    return (PRE, last) if start else (last,)


ABLATION = {
    "a: from scratch, classifier only": _variant("a", f"{BRIEF} --model.separator none --game.every 0", start=None),
    "b: + masked pre-training": _variant("b", f"{BRIEF} --model.separator none --game.every 0"),
    "c: + separator, orthogonal": _variant("c", f"{BRIEF} --game.every 0"),
    "d: full PF-ViT": _variant("d", GAME),
    "e: d without the adversary": _variant("e1", f"{GAME} --game.adversary 0 --game.features 0 --game.emotion 0"),
    "e: d without orthogonality": _variant("e2", f"{GAME} --model.separator soft"),
}
#: Which variants' letters are set against which, seed by seed.
COMPARED = (("b", "a"), ("c", "b"), ("d", "a"), ("d", "b"), ("d", "e"))


class Work:
    """Runs commands, one after the other, as long as there is time."""

    def __init__(self, scale: str, minutes: float | None, data: Path):
        self.scale, self.data = scale, data
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.folder = ROOT / "runs" / scale

    def call(self, *words: object, capture: bool = False) -> str:
        """Run this interpreter on something; a failure ends everything, with what it printed."""
        print("$ python", *words, flush=True)
        done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE if capture else None)
        if done.returncode:
            sys.exit(done.returncode)
        return done.stdout.decode() if capture else ""

    def out_of_time(self) -> bool:
        """Say whether the time is up."""
        return self.end is not None and time.monotonic() > self.end - 30

    def stage(self, stage: Stage, folder: Path, seed: int = 0) -> bool:
        """Begin a run or go on with it; true when it is done."""
        run = folder / stage.name
        if self.is_done(run):
            return True
        if self.out_of_time():
            return False
        faces = [self.data / "ferplus_train.parquet"]
        if stage.self_labelled:
            faces.append(self.labelled())
        words: list[object] = [*stage.settings.split(), "--epochs", stage.epochs * EPOCHS[self.scale], "--seed", seed]
        if stage.verb == "pretrain":
            faces += [self.data / "faces_gray_128.parquet", self.data / "faces_color_112.parquet"]
        else:
            words += ["--validation", self.data / "ferplus_val.parquet"]
        if stage.start:
            words += ["--start", folder / stage.start]
        words.append("--hardware.resident")  # 2 GB at most
        if self.scale == "gpu":
            words.append("--hardware.compile")
        if (run / checkpoint.LAST).exists():
            words.append("--resume")
        if self.end is not None:
            words += ["--minutes", (self.end - time.monotonic()) / 60]
        self.call("-m", "pfvit", stage.verb, stage.preset, "--data", *faces, "--out", run, *words)
        return self.is_done(run)

    def labelled(self) -> Path:
        """Return the colour faces with the answers of the weights in the wheel, made if they are not there."""
        out = self.folder / "labelled.parquet"
        if not out.exists():
            self.call("runs/self_label.py", self.data / "faces_color_112.parquet", "--out", out)
        return out

    def is_done(self, run: Path) -> bool:
        """Say whether a run has come to its end."""
        if not (run / checkpoint.LAST).exists():
            return False
        _, record = checkpoint.load(run)
        return record["step"] == record["steps"]

    def judge(self) -> Path:
        """Return the judge of poker faces, trained if it is not there."""
        judge = ROOT / "runs" / "judge" / "judge.onnx"
        if not judge.exists():
            self.call("runs/judge.py", "--data", self.data, "--out", judge)
        return judge


def weights(work: Work, recipe: str) -> bool:
    """From the Parquet files to the weights, their table and figures; true when all is done."""
    (stages, balance, emphasis), runs = RECIPES[recipe], work.folder / f"{recipe}-runs"
    if not all(work.stage(stage, runs) for stage in stages):
        return False
    held_out, out = work.data / "ferplus_val.parquet", work.folder / recipe
    out.mkdir(exist_ok=True)
    work.call("-m", "pfvit", "export", runs / stages[-1].name, "--out", out / "pfvit.onnx",
              "--calibrate", held_out, "--balance", balance, "--emphasis", emphasis,
              "--license", LICENSE)  # fmt: skip
    told = work.call("-m", "pfvit", "evaluate", "--data", held_out, "--weights", out / "pfvit.onnx",
                     "--judge", work.judge(), "--figures", out / "figures", "--json", capture=True)  # fmt: skip
    (out / "evaluate.json").write_text(told)
    return True


def ablation(work: Work, seeds: int, variants: str) -> bool:
    """Train the variants whose letters are given with every seed and write the table; true when all is done."""
    rows = []
    chosen = {title: stages for title, stages in ABLATION.items() if title[0] in variants}
    for seed in range(seeds):
        for title, stages in chosen.items():
            folder = work.folder / "ablation" / f"seed-{seed}"
            if not all(work.stage(stage, folder, seed) for stage in stages):
                return False
            run = folder / stages[-1].name
            report = evaluated(work, run, faces=title[0] not in "ab")  # without components nothing can be drawn
            lifted = evaluated(work, run, faces=False, balance=LIFT)
            rows.append((title, {**report, "lifted": lifted}))
    (work.folder / "ablation.md").write_text(table(rows, seeds))
    print(table(rows, seeds))
    return True


def evaluated(work: Work, run: Path, faces: bool, balance: float = 0.0) -> dict:
    """Return what `pfvit evaluate` says of a run, exported with this balance; of drawn faces too, if asked."""
    out = run / f"lifted-{balance}" if balance else run
    figures, held_out = out / "evaluate.json", work.data / "ferplus_val.parquet"
    if not figures.exists():
        work.call("-m", "pfvit", "export", run, "--out", out / "pfvit.onnx", "--calibrate", held_out,
                  "--balance", balance)  # fmt: skip
        told = work.call("-m", "pfvit", "evaluate", "--data", held_out, "--weights", out / "pfvit.onnx", "--json",
                         *(["--judge", work.judge()] if faces else ["--no-faces"]), capture=True)  # fmt: skip
        figures.write_text(told)
    return json.loads(figures.read_text())


def table(rows: list[tuple[str, dict]], seeds: int) -> str:
    """Return the ablation as Markdown: mean and standard deviation over seeds, in percent but for SSIM.

    What a variant does not train has a dash: no generator in a, b and c, no residue in a and b.
    """
    columns = {
        "WAR": lambda r: 100 * r["war"],
        "UAR": lambda r: 100 * r["uar"],
        f"WAR, `--balance {LIFT}`": lambda r: 100 * r["lifted"]["war"],
        f"UAR, `--balance {LIFT}`": lambda r: 100 * r["lifted"]["uar"],
        "ECE": lambda r: 100 * r["ece"],
        "JS": lambda r: r["js_distance"],
        "SSIM": lambda r: r["poker"]["reconstruction_ssim"],
        "judge: neutral as drawn back": lambda r: 100 * r["poker"]["judge_neutral_reconstructed"],
        "as drawn calm": lambda r: 100 * r["poker"]["judge_neutral_drawn"],
        "after `poker`": lambda r: 100 * r["poker"]["judge_neutral_carried"],
        "residue probe": lambda r: 100 * r["poker"]["residue_probe"],
    }
    drawn = [name for name in columns if "neutral" in name or "drawn" in name or "poker" in name] + ["SSIM"]
    absent = {"a": [*drawn, "residue probe"], "b": [*drawn, "residue probe"], "c": drawn}
    lines = [f"| variant ({seeds} seeds) | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for title in dict(rows):
        reports = [report for name, report in rows if name == title]
        cells = []
        for name, figure in columns.items():
            if name in absent.get(title[0], ()):
                cells.append("–")
                continue
            values = [figure(report) for report in reports]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.2f} ± {spread:.2f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _by_seed(rows)


def _by_seed(rows: list[tuple[str, dict]]) -> str:
    """Return how much WAR each variant has over another with the same seeds, which their spreads alone do not say."""
    war: dict[str, list[float]] = {}
    for title, report in rows:
        war.setdefault(title, []).append(100 * report["war"])
    pairs = [(one, other) for one in war for other in war if (one[0], other[0]) in COMPARED]
    lines = []
    for one, other in pairs:
        more = [x - y for x, y in zip(war[one], war[other], strict=True)]
        spread = statistics.stdev(more) if len(more) > 1 else 0.0
        each = ", ".join(f"{value:+.1f}" for value in more)
        lines.append(f"* {one}, over {other}: {statistics.mean(more):+.1f} ± {spread:.1f} points of WAR ({each})")
    return "\n" + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*RECIPES, "ablation"))
    parser.add_argument("--scale", choices=EPOCHS, default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="abcde", help="letters of the ablation's table (default: all)")
    parser.add_argument("--minutes", type=float)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("PFVIT_DATA", ROOT.parent / "shared" / "data"))
    )
    options = parser.parse_args()
    if not set(options.variants) or not set(options.variants) <= {title[0] for title in ABLATION}:
        parser.error(f"--variants {options.variants!r}: give letters out of abcde")
    work = Work(options.scale, options.minutes, options.data.resolve())
    done = (
        ablation(work, options.seeds, options.variants) if options.what == "ablation" else weights(work, options.what)
    )
    print("all is done" if done else "out of time: the same command goes on", flush=True)


if __name__ == "__main__":
    main()

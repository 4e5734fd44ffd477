"""Write again every figure that this repository shows of the shipped weights.

    python experiments/evidence.py ferplus_val.parquet [--pairs PHOTOS] [--work FOLDER]

Runs `pfvit report` and `pfvit evaluate --robustness` (ten minutes of two cores), and writes docs/figures.json,
MODEL_CARD.md, the marked parts of docs/results.md and README.md, and docs/images/coverage.png. PHOTOS are pairs of
photos of the same people, as `pfvit report --pairs` takes them. What was made in FOLDER before is used again.
tests/docs checks that all of it agrees with docs/figures.json, and that these are figures of the shipped weights.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pfvit
from pfvit.report import card

ROOT = Path(__file__).parents[1]
FIGURES, CARD, RESULTS, README = "docs/figures.json", "MODEL_CARD.md", "docs/results.md", "README.md"
WORDS = Path(pfvit.__file__).parent / "weights" / "pfvit.md"
Figures = Mapping[str, Any]
#: How docs/results.md names the views of `pfvit evaluate --robustness`.
VIEWS = {
    "framed -12%": "framed 12% tighter",
    "framed -6%": "framed 6% tighter",
    "framed +6%": "6% wider",
    "framed +12%": "12% wider",
    "framed +20%": "20% wider",
    "framed +30%": "30% wider",
    "turned 15°": "turned by 15°",
    "turned 30°": "turned by 30°",
    "covered: mouth": "mouth covered",
    "covered: eyes": "eyes covered",
    "covered: half": "half of the face covered",
    "covered: lower": "lower face covered, as by a mask",
    "20 px wide": "20 px wide",
    "JPEG, quality 15": "JPEG of quality 15",
    "a third of the light": "a third of the light",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--work", type=Path, help="keep the report and the figures of evaluate here")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        measure(options.data, options.pairs, work)
        figures = {"report": kept(_read(work / "report" / "report.json")), "evaluate": _read(work / "evaluate.json")}
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        for name, page in {FIGURES: f"{text}\n", **pages(figures)}.items():
            (ROOT / name).write_text(page, encoding="utf-8")
        shutil.copy(work / "report" / "figures" / "recognition-coverage.png", ROOT / "docs" / "images" / "coverage.png")
    print("Written. Look at what else tells figures: git grep -n 'WAR 0' src docs; CHANGELOG.md.")


def measure(data: Path, pairs: Path | None, work: Path) -> None:
    """Run both commands, unless what they give is there already."""
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pfvit"]
    if not (work / "report" / "report.json").is_file():
        more = [] if pairs is None else ["--pairs", pairs]
        subprocess.run([*command, "report", "--data", data, "--out", work / "report", *more], check=True)
    if not (work / "evaluate.json").is_file():
        words = [*command, "evaluate", "--data", data, "--no-faces", "--robustness", "--json"]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        (work / "evaluate.json").write_text(said, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def kept(report: Figures) -> dict[str, Any]:
    """Return of a report.json what the pages need: not the tables that name faces."""
    wanted = {(section, name) for section, name, _ in card.TABLES} | {card.CHANGED}
    sections = {
        name: part | {"tables": {table: of for table, of in part["tables"].items() if (name, table) in wanted}}
        for name, part in report["sections"].items()
    }
    return {**report, "sections": sections}


def pages(figures: Figures) -> dict[str, str]:
    """Return the model card and the pages with their marked parts renewed, by path."""
    found = {CARD: card.model_card(figures["report"], WORDS.read_text(encoding="utf-8"))}
    for name, parts in ((RESULTS, PARTS), (README, {"results": readme})):
        page = (ROOT / name).read_text(encoding="utf-8")
        for mark, write in parts.items():
            page = replaced(page, mark, write(figures))
        found[name] = page
    recall = {name: value or 0.0 for name, value in figures["evaluate"]["recall"].items()}
    said = f"Contempt ({recall['contempt']:.0%} recall) is mostly missed"
    found[README] = re.sub(r"Contempt \(\d+% recall\) is mostly missed", said, found[README])
    return found


def replaced(page: str, mark: str, text: str) -> str:
    """Return a page with the part between two comments of this name replaced."""
    line = f"<!-- {mark} -->"
    before, _, after = page.split(line)
    return f"{before}{line}\n{text}\n{line}{after}"


def recognition(figures: Figures) -> str:
    told = figures["evaluate"]
    probes = {(row[0], row[1]): row for row in _rows(figures, "separation", "probes")}
    emotion, residue = (probes[name, "linear"][2] for name in ("emotion", "residue"))
    most = probes["none", "always the most frequent emotion"][2]
    rows = [
        ["WAR (accuracy)", _with_ends(told, "war")],
        ["UAR (mean recall)", _with_ends(told, "uar")],
        ["macro F1", _with_ends(told, "macro_f1")],
        ["calibration error (15 bins)", _with_ends(told, "ece")],
        ["Jensen-Shannon distance to the votes", f"{told['js_distance']:.3f}"],
        [
            "emotion read linearly off the emotional component / the residue",
            f"{emotion:.1%} / {residue:.1%} (majority: {most:.1%})",
        ],
    ]
    return card.as_table(["", ""], rows) + "\n\nRecall by emotion: " + _recalls(told) + "."


def _recalls(told: Figures) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in told["recall"].items() if value is not None)


def protocols(figures: Figures) -> str:
    told = figures["evaluate"]
    parts = {"all": told, "majority": told["majority"]}
    rows = [[f"`{name}`", f"{one['n']:,}", f"{one['war']:.3f}", f"{one['uar']:.3f}"] for name, one in parts.items()]
    return card.as_table(["protocol", "faces", "WAR", "UAR"], rows)


def views(figures: Figures) -> str:
    told = figures["evaluate"]
    parts = {"as they are": told} | {VIEWS.get(name, name): one for name, one in told["robustness"].items()}
    rows = [
        [
            name,
            *(f"{one[key]:.3f}" for key in ("war", "uar", "ece")),
            f"{one['unsure']:.0%}",
            f"{one['right_if_sure']:.3f}",
        ]
        for name, one in parts.items()
    ]
    header = ["", "WAR", "UAR", "calibration error", "marked unsure", "right if not"]
    mean = told["mean_of_framings"]
    return (
        card.as_table(header, rows)
        + f"\n\nMean accuracy over framings from 12% tighter to 30% wider, seven of them: {mean:.3f}."
    )


def beside_controls(figures: Figures) -> str:
    """The tables of poker faces beside controls, with what was left out."""
    part = figures["report"]["sections"]["generation"]
    shown = [part["tables"][name] for name in ("controls", "pairs", "pairs-way") if name in part["tables"]]
    said = [f"{table['caption']}\n\n{card.markdown(table['columns'], table['rows'])}" for table in shown]
    return "\n\n".join([*said, *(note for note in part["notes"] if "is not reported" in note)])


def readme(figures: Figures) -> str:
    told = figures["evaluate"]
    majority = told["majority"]

    def shares(key: str) -> list[str]:
        low, high = (100 * end for end in told[f"{key}_ci"])
        return [f"{told[key]:.1%}", f"{low:.1f} to {high:.1f}"]

    link = "docs/results.md#by-the-protocol-of-most-papers"
    rows = [
        ["accuracy (WAR)", *shares("war")],
        ["mean recall (UAR)", *shares("uar")],
        [f"WAR / UAR, [protocol]({link}) `majority`", f"{majority['war']:.1%} / {majority['uar']:.1%}", ""],
        ["macro F1", *shares("macro_f1")],
        ["calibration error (15 bins)", f"{told['ece']:.3f}", "{:.3f} to {:.3f}".format(*told["ece_ci"])],
        ["Jensen-Shannon distance to the annotators' votes", f"{told['js_distance']:.3f}", ""],
    ]
    faces = f"FER+ validation, clean protocol: {told['n']:,} faces, none of them in the training data, "
    return (
        f"{faces}nor exact duplicates of one.\n\n{card.as_table(['measure', 'value', '95% interval'], rows)}\n\n{BELOW}"
    )


BELOW = (
    "`pfvit evaluate --data ferplus_val.parquet` prints this table; one training run, 8-bit weights. "
    "The temperature was fitted\nand rare emotions were weighted on half of these faces."
)
#: By their marks, the parts of docs/results.md that are written here.
PARTS: Mapping[str, Callable[[Figures], str]] = {
    "recognition": recognition,
    "protocols": protocols,
    "views": views,
    "controls": beside_controls,
}


def _rows(figures: Figures, section: str, name: str) -> list[list[Any]]:
    """Return rows of (component, probe, accuracy) and the like: the columns that the card shows."""
    table = figures["report"]["sections"][section]["tables"][name]
    columns = next(columns for part, one, columns in card.TABLES if (part, one) == (section, name))
    places = [table["columns"].index(column) for column in columns]
    return [[row[place] for place in places] for row in table["rows"]]


def _with_ends(told: Figures, key: str) -> str:
    low, high = told[f"{key}_ci"]
    return f"{told[key]:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()

"""The ablation with the recipe that ships: variants a, b and d taught by the answers of the teachers.

    python experiments/ablation_taught.py --data DATA --faces DATA/faces_*.parquet --out runs/ablation-taught \
        --teacher runs/shipped/seed-0/recognition/teachers.safetensors

DATA is the folder with ferplus_train.parquet and ferplus_val.parquet. `pfvit reproduce shipped` leaves the file of the
teachers' answers. The same command goes on where it stopped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from pfvit.commands.reproduce import reproduce
from pfvit.config import Reproduce, Train
from pfvit.config.recipe import Recipe
from pfvit.config.recipes import ABLATION

KEPT = ("pretrain", "a", "b", "d")
#: Of a run of the student that ships, as far as it makes sense in a few epochs.
TAUGHT = {"views": "wild", "window": ("faces_color_112=0.92,-0.08",), "random_erasing": 0.0, "mixup": 0.1}


def recipe(teacher: Path, epochs: float, threads: int | None) -> Recipe:
    """Return the ablation's recipe with its classifiers taught as the student that ships is."""
    kept = [run for run in ABLATION.runs if str(run.out) in KEPT]
    runs = tuple(replace(run, hardware=replace(run.hardware, threads=threads)) for run in kept)
    runs = tuple(
        replace(run, **TAUGHT, teacher=(teacher.resolve(),), epochs=epochs) if isinstance(run, Train) else run
        for run in runs
    )
    rows = tuple(row for row in ABLATION.rows if row.run in KEPT and not row.logit_adjustment)
    labels = {row.label for row in rows}
    compared = tuple(pair for pair in ABLATION.compared if labels.issuperset(pair))
    expected = "a 77.3 ± 0.3, b 78.2 ± 0.3, d 77.7 ± 0.3 in 3 epochs"
    return replace(ABLATION, runs=runs, rows=rows, compared=compared, expected=expected, hours=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faces", type=Path, nargs="+", required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    config = Reproduce(
        name="ablation", data=options.data, faces=tuple(options.faces), out=options.out, seeds=options.seeds
    )
    reproduce(config, recipe(options.teacher, options.epochs, options.threads))


if __name__ == "__main__":
    main()

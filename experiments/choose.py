"""What `pfvit export` should be told of a run: how far rare emotions are lifted, and how far a change is carried.

    PFVIT_DATA=/path/to/data python experiments/choose.py RUN [--mirror]

Prints accuracy and mean recall of the full-precision model for each `--balance`, on the half of FER+ validation that
calibration looks at anyway; and for each `--emphasis`, on evenly spaced training faces, how many expressive faces the
recogniser itself calls neutral after `poker` and how much neutral ones change. Three minutes on two cores.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from pfvit.config import Architecture, Export
from pfvit.data.labelled import Labelled
from pfvit.emotions import EIGHT, NEUTRAL
from pfvit.evaluation import metrics
from pfvit.export.calibration import fit, held_out_faces, logits_of
from pfvit.export.onnx import export_run, load_model
from pfvit.inference.face_edit import carry_over, change_of, due
from pfvit.inference.network import open_recogniser
from pfvit.inference.reading import Artist
from pfvit.training.run import settings

BALANCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
EMPHASES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
FACES, BATCH = 1200, 60


def balance(run: Path, held_out: Path, mirror: bool) -> None:
    """Print what each balance costs and brings."""
    model, record = load_model(run)
    sizes = Architecture(**settings(Architecture, record["config"]["model"]))
    faces = held_out_faces(sizes, held_out, clean=True, order="ferplus")
    logits, truth = logits_of(model, faces.image, mirror), faces.target.argmax(1)
    print(f"{len(truth)} validation faces{', mirrored faces averaged in' if mirror else ''}\nbalance   WAR    UAR")
    for share in BALANCES:
        _, lift = fit(logits, truth, share)
        answers = (logits if lift is None else logits + lift).argmax(1)
        confusion = metrics.confusion_matrix(truth.numpy(), answers.numpy(), sizes.classes)
        print(f"{share:7.2f}  {metrics.war(confusion):.3f}  {metrics.uar(confusion):.3f}", flush=True)


def emphasis(run: Path, training: Path, held_out: Path) -> None:
    """Print what each emphasis does to expressive and to neutral faces."""
    with tempfile.TemporaryDirectory() as folder:
        artist = Artist(open_recogniser(export_run(Export(run, Path(folder) / "some.onnx", held_out))), None)
        labels = artist.recogniser.labels
        every = Labelled([training], EIGHT, "ferplus", clean=True)
        samples = list(every)
        samples = samples[:: len(samples) // FACES][:FACES]
        neutral = labels.index(NEUTRAL)
        named: dict[float, list[bool]] = {times: [] for times in EMPHASES}
        changed: dict[float, list[float]] = {times: [] for times in EMPHASES}
        for start in track(range(0, len(samples), BATCH), "drawing"):
            some = samples[start : start + BATCH]
            images = [sample.image for sample in some]
            shares = artist.recogniser.probabilities(images)[:, neutral].tolist()
            emotion, residue = map(np.stack, zip(*artist.components(images), strict=True))
            old, new = (artist.draw(emotion, residue, strength) for strength in (0.0, 1.0))
            for times in EMPHASES:
                changes = [
                    change_of(image, before, after, times).times(due(share))
                    for image, before, after, share in zip(images, old, new, shares, strict=True)
                ]
                calm = [carry_over(image, change) for image, change in zip(images, changes, strict=True)]
                answers = artist.recogniser.probabilities(calm).argmax(1)
                for sample, before, after, answer in zip(some, images, calm, answers, strict=True):
                    if sample.truth == NEUTRAL:
                        changed[times].append(np.abs(after.astype(float) - before).mean() / 255)
                    else:
                        named[times].append(answer == neutral)
    print(f"{len(samples)} training faces\nemphasis  expressive called neutral  change of neutral")
    for times in EMPHASES:
        print(f"{times:8.2f}  {np.mean(named[times]):26.3f}  {np.mean(changed[times]):17.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PFVIT_DATA", "../shared/data")))
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--only", choices=("balance", "emphasis"))
    options = parser.parse_args()
    training, held_out = (options.data / f"ferplus_{part}.parquet" for part in ("train", "val"))
    if options.only != "emphasis":
        balance(options.run, held_out, options.mirror)
    if options.only != "balance":
        emphasis(options.run, training, held_out)


if __name__ == "__main__":
    main()

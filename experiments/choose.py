"""What to tell `pfvit export` about a run: how much rare emotions are favoured, and how far a change is taken.

    PFVIT_DATA=/path/to/data python experiments/choose.py RUN [--flip-tta]

Prints accuracy and mean recall of the full-precision model for each `--logit-adjustment`, on the half of FER+
validation that calibration sees anyway; and for each `--change-gain`, on evenly spaced training faces, how many
expressive faces the recogniser itself calls neutral after `poker` and how much neutral ones change. Three minutes on
two cores.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from pfvit.config import Export
from pfvit.data.labelled import Labelled
from pfvit.emotions import EIGHT, NEUTRAL
from pfvit.evaluation import metrics
from pfvit.export.calibration import fit, held_out_faces, logits_of
from pfvit.export.onnx import export_run, load_model
from pfvit.inference.drawn_change import drawn_change, neutral_damping
from pfvit.inference.face_edit import apply_change
from pfvit.inference.generator import FaceGenerator
from pfvit.inference.network import open_recogniser
from pfvit.training import checkpoint

ADJUSTMENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
GAINS = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
FACES, BATCH = 1200, 60


def adjustment(run: Path, held_out: Path, flip_tta: bool) -> None:
    """Print what each logit adjustment costs and brings."""
    model, record = load_model(run)
    sizes = checkpoint.architecture_of(record)
    faces = held_out_faces(sizes, held_out, True, "", checkpoint.classes_of(record))
    logits, truth = logits_of(model, faces.image, flip_tta), faces.target.argmax(1)
    print(f"{len(truth)} validation faces{', mirrored faces averaged in' if flip_tta else ''}\nadjusted  WAR    UAR")
    for share in ADJUSTMENTS:
        _, added = fit(logits, truth, share)
        answers = (logits if added is None else logits + added).argmax(1)
        confusion = metrics.confusion_matrix(truth.numpy(), answers.numpy(), sizes.classes)
        print(f"{share:7.2f}  {metrics.war(confusion):.3f}  {metrics.uar(confusion):.3f}", flush=True)


def gain(run: Path, training: Path, held_out: Path) -> None:
    """Print what each change gain does to expressive and to neutral faces."""
    with tempfile.TemporaryDirectory() as folder:
        generator = FaceGenerator(open_recogniser(export_run(Export(run, Path(folder) / "some.onnx", held_out))))
        labels = generator.recogniser.labels
        every = Labelled([training], EIGHT, "ferplus", clean=True)
        samples = list(every)
        samples = samples[:: len(samples) // FACES][:FACES]
        neutral = labels.index(NEUTRAL)
        named: dict[float, list[bool]] = {times: [] for times in GAINS}
        changed: dict[float, list[float]] = {times: [] for times in GAINS}
        for start in track(range(0, len(samples), BATCH), "drawing"):
            some = samples[start : start + BATCH]
            images = [sample.image for sample in some]
            shares = generator.recogniser.probabilities(images)[:, neutral].tolist()
            emotion, residue = map(np.stack, zip(*generator.components(images), strict=True))
            old, new = (generator.generate(emotion, residue, strength) for strength in (0.0, 1.0))
            for times in GAINS:
                changes = [
                    drawn_change(image, before, after, times).times(neutral_damping(share))
                    for image, before, after, share in zip(images, old, new, shares, strict=True)
                ]
                calm = [apply_change(image, change) for image, change in zip(images, changes, strict=True)]
                answers = generator.recogniser.probabilities(calm).argmax(1)
                for sample, before, after, answer in zip(some, images, calm, answers, strict=True):
                    if sample.truth == NEUTRAL:
                        changed[times].append(np.abs(after.astype(float) - before).mean() / 255)
                    else:
                        named[times].append(answer == neutral)
    print(f"{len(samples)} training faces\ngain      expressive called neutral  change of neutral")
    for times in GAINS:
        print(f"{times:8.2f}  {np.mean(named[times]):26.3f}  {np.mean(changed[times]):17.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PFVIT_DATA", "../shared/data")))
    parser.add_argument("--flip-tta", action="store_true")
    parser.add_argument("--only", choices=("adjustment", "gain"))
    options = parser.parse_args()
    training, held_out = (options.data / f"ferplus_{part}.parquet" for part in ("train", "val"))
    if options.only != "gain":
        adjustment(options.run, held_out, options.flip_tta)
    if options.only != "adjustment":
        gain(options.run, training, held_out)


if __name__ == "__main__":
    main()

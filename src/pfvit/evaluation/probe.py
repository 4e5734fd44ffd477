"""A linear probe: how well a linear classifier reads the classes off an encoder that does not learn them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfvit.config import Evaluate
from pfvit.data.labelled import Labelled, batches
from pfvit.data.locate import TRAIN, Found, choose
from pfvit.emotions import in_our_order
from pfvit.errors import InputError, UsageError
from pfvit.evaluation import cross_dataset, measure, metrics
from pfvit.inference.generator import FaceGenerator
from pfvit.utils.console import progress_bar, say
from pfvit.utils.prefetch import prefetch
from pfvit.utils.text import utf8

DECAY = 1e-2  # L2 of the mean loss, as in `metrics.linear_probe`
STEPS = 2000  # of L-BFGS, at most


def linear_probe(config: Evaluate, opened: FaceGenerator) -> tuple[dict[str, Any], int]:
    """Fit a linear classifier to the labelled faces of `config.probe` and measure it on those of `config.data`.

    Features are the encoder's class token and mean patch token, standardised; the classifier is scikit-learn's logistic
    regression. The classes are those of the faces it is fitted to; faces of other classes are left out and counted.
    Returns figures as `measure.evaluate` does, and how many rows were unreadable.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chosen = choose(config.probe, TRAIN, "--probe")
    for note in chosen.notes:
        say(note)
    features, truth, fitted_on = _features(config, chosen.found, None, opened)
    names = list(in_our_order(truth))
    if len(names) < 2:
        raise UsageError(f"--probe needs faces of two or more classes, and these are of {len(names)}")
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (DECAY * len(truth)), max_iter=STEPS))
    fitted.fit(features, np.array([names.index(name) for name in truth]))
    files = [file for path in config.data for file in cross_dataset.test_set(path).files]
    if {_file(found) for found in chosen.found} & {_file(file) for file in files}:
        say("some of --data is what the probe is fitted to: its figures say how well that is remembered")
    tested, answers, faces = _features(config, files, names, opened)
    if not answers:
        raise InputError(f"no face in {', '.join(map(str, config.data))} has a class that --probe has")
    right = np.array([names.index(name) for name in answers])
    probabilities = fitted.predict_proba(tested)
    confusion = metrics.confusion_matrix(right, probabilities.argmax(1), len(names))
    report = {
        "data": [utf8(path.name) for path in config.data],
        "protocol": measure.rows_of(config),
        "weights": opened.recogniser.path.name,
        "probe": [utf8(path.name) for path in config.probe],
        "fitted": len(truth),
        "left_out": faces.left_out(),
        "n": len(right),
        "labels": names,
        "war": metrics.war(confusion),
        "uar": metrics.uar(confusion),
        "macro_f1": metrics.macro_f1(confusion),
        "ece": metrics.calibration_error(probabilities, right),
        "confusion": confusion.tolist(),
        "recall": measure.named(names, metrics.recalls(confusion)),
        "f1": measure.named(names, metrics.f1_scores(confusion)),
    }
    report |= {f"{name}_ci": list(ends) for name, ends in metrics.bootstrap(right, probabilities).items()}
    return report, fitted_on.unreadable + faces.unreadable


def _file(named: Path | Found) -> tuple[Path, str]:
    return (named.path.resolve(), named.part) if isinstance(named, Found) else (named.resolve(), "")


def _features(
    config: Evaluate, paths: Sequence[Path | Found], names: Sequence[str] | None, opened: FaceGenerator
) -> tuple[NDArray[np.floating], list[str], Labelled]:
    """Return features [faces, 2 * width] and classes of labelled faces, and what was left out of them."""
    faces = Labelled(paths, names, config.order, config.clean, config.majority_alone)
    found: list[NDArray[np.floating]] = []
    truth: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("encoding", total=None)
        for some in batches(prefetch(faces), config.batch):
            emotion, residue = map(np.stack, zip(*opened.components([one.image for one in some]), strict=True))
            found.append(measure.features(emotion + residue))  # the two components add up to the encoder's tokens
            truth += [one.truth for one in some]
            progress.advance(task, len(some))
    return np.concatenate(found) if found else np.zeros((0, 1)), truth, faces

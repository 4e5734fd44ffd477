"""Measure recognition and poker faces on labelled faces: what `pfvit evaluate` reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pfvit.config import Evaluate
from pfvit.data.images import Pixels, small
from pfvit.data.labelled import Labelled, Sample, batches
from pfvit.emotions import EIGHT, NEUTRAL
from pfvit.errors import InputError
from pfvit.evaluation import cross_dataset, metrics, robustness
from pfvit.evaluation.figures import reliability, selective_curve
from pfvit.inference import network
from pfvit.inference.drawn_change import drawn_change, neutral_damping
from pfvit.inference.face_edit import apply_change
from pfvit.inference.generator import FaceGenerator, change_of, with_skin
from pfvit.inference.reading import map_of
from pfvit.inference.unsure import unsure
from pfvit.rendering import heat_over, save_sheet, save_whole
from pfvit.utils.console import progress_bar, say
from pfvit.utils.prefetch import prefetch
from pfvit.utils.text import utf8

SHEET_WIDE = 8  # faces to a line
SHEET_SIDE = 96


@dataclass
class Tally:
    """Numbers kept for each face; pictures are not, so memory does not grow with their size."""

    truth: list[int] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)
    votes: list[np.ndarray | None] = field(default_factory=list)
    figures: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, **figures: np.ndarray) -> None:
        """Append figures of a batch of faces; the first axis is the face."""
        for name, values in figures.items():
            self.figures.setdefault(name, []).append(values)

    def add_answers(self, name: str, recogniser: network.Network, images: Sequence[Pixels]) -> np.ndarray:
        """Append what a recogniser answers to a view of some faces, and how reliable that is; return the former."""
        shares, said = recogniser.answers(images)
        reliability = shares.max(1) if said is None else said
        self.add(**{name: shares, f"{name}, reliability": reliability, f"{name}, unsure": unsure(shares, said)})
        return shares

    def __getitem__(self, name: str) -> np.ndarray:
        return np.concatenate(self.figures[name])


def evaluate(config: Evaluate, opened: FaceGenerator | None = None) -> tuple[dict[str, Any], int]:
    """Return all figures of a recogniser (and its generator) on some data, and how many rows were unreadable.

    `opened` is what to measure if it is no weight file: a training run (`export.opened`).
    """
    generator = FaceGenerator(network.open_answering(config.weights)) if opened is None else opened
    recogniser = generator.recogniser
    draws = NEUTRAL in recogniser.labels
    if not draws and (config.faces or config.figures):
        say(f"{recogniser.path.name} has no class neutral, so there are no poker faces to measure or to show")
        config = replace(config, faces=False, judge=None)
    if config.faces:
        _ = generator.small_generator  # that it is missing should be known before minutes of work
    judge = None if config.judge is None else open_judge(config.judge, recogniser)
    files = [file for path in config.data for file in cross_dataset.test_set(path).files]
    faces = Labelled(files, recogniser.labels, config.order, config.clean, config.majority_alone)
    sheet = Sheet(recogniser.labels, config.shown) if config.figures is not None and draws else None
    tally = Tally()
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=None)
        for batch in batches(prefetch(faces), config.batch):
            measure(batch, generator, judge, config.faces, tally, sheet)
            for name in robustness.VIEWS if config.robustness else ():
                images = robustness.seen([sample.image for sample in batch], name)
                tally.add_answers(name, recogniser, images)
            progress.advance(task, len(batch))
    if not tally.truth:
        raise no_face(config.data, faces, recogniser)
    for note in faces.notes():
        say(note)
    known = [index for index, name in enumerate(recogniser.labels) if name in faces.classes]
    report: dict[str, Any] = {
        "data": [utf8(path.name) for path in config.data],
        "protocol": rows_of(config),
        "weights": recogniser.path.name,
        "left_out": faces.left_out(),
        **recognition(tally, recogniser, known),
    }
    if config.majority_alone:
        report["left_out"]["disputed"] = faces.disputed
    elif "all" not in config.protocol and any(votes is not None for votes in tally.votes):
        kept = np.array(tally.agreed)
        if kept.any():
            report["majority"] = recognition(tally, recogniser, known, kept)
    if config.robustness:
        report["robustness"] = other_views(config, tally, known)
        report["mean_of_framings"] = robustness.mean_of_framings(report["war"], report["robustness"])
    if config.faces:
        report["poker"] = poker(tally, generator, judge)
    if config.figures is not None:
        if sheet is not None:
            sheet.save(config.figures)
        _draw_figures(config.figures, tally, known, report["ece"])
    return report, faces.unreadable


def open_judge(path: Path, recogniser: network.Network) -> network.Network:
    """Open the recogniser that says how neutral poker faces look; InputError if it cannot say so."""
    judge = network.open_recogniser(path, components=False)
    if NEUTRAL not in judge.labels:
        raise InputError(f"{path} has no class neutral, so it calls no face neutral: name another --judge")
    if judge.pair == recogniser.pair:
        say(f"--judge {path.name} is what is measured itself: its figures say nothing of how others see poker faces")
    return judge


def no_face(data: Sequence[Path], faces: Labelled, recogniser: network.Network) -> InputError:
    """Return the error that says why there is nothing to measure."""
    what = f"no labelled face in {', '.join(map(str, data))}"
    if faces.unreadable:
        return InputError(f"{what} could be read: what is wrong is named above")
    other = ", ".join(name for name, _ in faces.unknown.most_common(3))
    why = [f"{faces.unlabelled:,} of other classes ({other})"] if other else []
    why += [f"{faces.no_label:,} without a label"] if faces.no_label else []
    told = "; ".join(why)
    return InputError(f"{what} that {recogniser.path} could name{f': {told}' if told else ''}")


def _draw_figures(folder: Path, tally: Tally, known: Sequence[int], error: float) -> None:
    """Write the reliability diagram, with the calibration error, and the curve of selective prediction."""
    probabilities, truth = answers(tally, "probabilities", known)  # those whose accuracy is reported
    save_whole(reliability(probabilities, truth, error), folder / "reliability.png")
    right = probabilities.argmax(1) == truth
    curve = selective_curve(right, tally["probabilities, reliability"], tally["probabilities, unsure"])
    save_whole(curve, folder / "selective.png")


def rows_of(config: Evaluate) -> str:
    """Return which rows are measured, as reports say it: clean or official."""
    return "clean" if config.clean else "official"


def other_views(config: Evaluate, tally: Tally, known: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the figures of recognition of each other view of the faces."""
    agreed = None
    if not config.majority_alone and any(votes is not None for votes in tally.votes):
        agreed = np.array(tally.agreed)
    return {
        name: robustness.figures(*answers(tally, name, known), tally[f"{name}, unsure"], agreed)
        for name in robustness.VIEWS
    }


def answers(tally: Tally, name: str, known: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return answers [faces, known] without the emotions that the data do not distinguish, and the truth."""
    probabilities = tally[name][:, known].astype(np.float64)
    probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities, np.array([known.index(index) for index in tally.truth])


def measure(
    batch: list[Sample],
    generator: FaceGenerator,
    judge: network.Network | None,
    faces: bool,
    tally: Tally,
    sheet: "Sheet | None",
) -> None:
    """Read and draw a batch of faces, let the judge read them, and add the figures to the tally."""
    recogniser = generator.recogniser
    images = [sample.image for sample in batch]
    tally.truth += [recogniser.labels.index(sample.truth) for sample in batch]
    tally.votes += [sample.votes for sample in batch]
    tally.agreed += [sample.agreed for sample in batch]
    shares = tally.add_answers("probabilities", recogniser, images)
    if not faces and sheet is None:
        return
    emotion, residue = map(np.stack, zip(*generator.components(images), strict=True))
    expressive, calm = (generator.generate(emotion, residue, strength) for strength in (0.0, 1.0))
    if generator.moves:  # as `pfvit poker` would
        named = [dict(zip(recogniser.labels, one.tolist(), strict=True)) for one in shares]
        maps, trusts = zip(*generator.careful_maps(images, [one[NEUTRAL] for one in named]), strict=True)
        changes = list(map(change_of, images, maps, trusts, named))
        shown = list(map(map_of, changes))
        changes = list(map(with_skin, images, changes, named, trusts))
    else:
        damping = map(neutral_damping, shares[:, recogniser.labels.index(NEUTRAL)].tolist())
        gain = generator.small_generator.emphasis
        changes = [
            drawn_change(image, old, new, gain).times(part)
            for image, old, new, part in zip(images, expressive, calm, damping, strict=True)
        ]
        shown = list(np.abs(calm - expressive).mean(3))
    carried = list(map(apply_change, images, changes))
    if sheet is not None:
        sheet.add(batch, expressive, carried, shown)
    if not faces:
        return
    target = np.stack([small(image, recogniser.size, recogniser.channels) for image in images])
    tally.add(
        reconstruction=np.abs(expressive - target).mean((1, 2, 3)),
        similarity=np.mean([metrics.ssim(expressive[..., c], target[..., c]) for c in range(recogniser.channels)], 0),
        change=np.array(
            [np.abs(new.astype(float) - old).mean() / 255 for new, old in zip(carried, images, strict=True)]
        ),
        emotion=features(emotion),
        residue=features(residue),
        own_after=recogniser.probabilities(carried).argmax(1),
    )
    if judge is None:
        return
    judged = {"before": images, "drawn": _bytes(calm), "reconstructed": _bytes(expressive), "carried": carried}
    for name, pixels in judged.items():
        answers = judge.probabilities(pixels).argmax(1)
        tally.add(**{f"judge_{name}": np.array(judge.labels)[answers]})


def features(component: np.ndarray) -> np.ndarray:
    """Return what a linear probe sees of a component [batch, 1 + patches, width]: class token and mean patch."""
    return np.concatenate([component[:, 0], component[:, 1:].mean(1)], axis=1)


def recognition(
    tally: Tally, recogniser: network.Network, known: Sequence[int], kept: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the figures of recognition, of the faces `kept` (bool [faces]) or of all.

    Emotions that the data do not distinguish are left out of the answers.
    """
    names = [recogniser.labels[index] for index in known]
    probabilities, truth = answers(tally, "probabilities", known)
    kept = np.ones(len(truth), dtype=bool) if kept is None else kept
    probabilities, truth = probabilities[kept], truth[kept]
    right = probabilities.argmax(1) == truth
    confusion = metrics.confusion_matrix(truth, probabilities.argmax(1), len(known))
    report: dict[str, Any] = {
        "n": len(truth),
        "labels": names,
        "war": metrics.war(confusion),
        "uar": metrics.uar(confusion),
        "macro_f1": metrics.macro_f1(confusion),
        "ece": metrics.calibration_error(probabilities, truth),
        "confusion": confusion.tolist(),
        "recall": named(names, metrics.recalls(confusion)),
        "f1": named(names, metrics.f1_scores(confusion)),
        **robustness.unsure_figures(right, tally["probabilities, unsure"][kept]),
        "selective": robustness.selective_figures(right, tally["probabilities, reliability"][kept]),
    }
    report |= {f"{name}_ci": list(ends) for name, ends in metrics.bootstrap(truth, probabilities).items()}
    of_kept = [votes for votes, keep in zip(tally.votes, kept, strict=True) if keep]
    voted = [(index, votes) for index, votes in enumerate(of_kept) if votes is not None]
    if voted:
        rows = [index for index, _ in voted]
        votes = np.stack([votes for _, votes in voted])[:, [EIGHT.index(name) for name in names]]
        votes /= votes.sum(1, keepdims=True)
        report["js_distance"] = float(metrics.js_distance(probabilities[rows], votes).mean())
    return report


def poker(tally: Tally, generator: FaceGenerator, judge: network.Network | None) -> dict[str, Any]:
    """Return the figures of the generated faces, and of the change applied to the crop (carried).

    L1 is the mean absolute difference of pixels in [0, 1].
    """
    labels, emphasis = generator.recogniser.labels, generator.small_generator.emphasis
    truth = np.array(tally.truth)
    neutral = labels.index(NEUTRAL)
    calm, expressive = truth == neutral, truth != neutral
    report: dict[str, Any] = {
        "expressive": int(expressive.sum()),
        "reconstruction_l1": float(tally["reconstruction"].mean()),
        "reconstruction_ssim": float(tally["similarity"].mean()),
        "emphasis": emphasis,
        "neutral_change_l1": _mean(tally["change"][calm]),
        "expression_change_l1": _mean(tally["change"][expressive]),
        "own_neutral_before": _mean(tally["probabilities"].argmax(1)[expressive] == neutral),
        "own_neutral_after": _mean(tally["own_after"][expressive] == neutral),
        **{f"{name}_probe": _probe(tally[name], truth, len(labels)) for name in ("emotion", "residue")},
        "majority_rate": float(np.bincount(truth).max() / len(truth)),
    }
    if len(truth) < 2:
        say("emotion_probe and residue_probe are not measured: they are fitted on every second face, and here is one")
    if judge is None:
        return report
    said = {name: tally[f"judge_{name}"] for name in ("before", "reconstructed", "drawn", "carried")}
    report["judge"] = judge.path.name
    report["judge_war"] = _mean(said["before"] == np.array(labels)[truth])
    for name, answers in said.items():
        report[f"judge_neutral_{name}"] = _mean(answers[expressive] == NEUTRAL)
    gain = (said["carried"] == NEUTRAL).astype(float) - (said["before"] == NEUTRAL)
    report["judge_neutral_gain"] = _mean(gain[expressive])
    ends = list(metrics.bootstrap_mean(gain[expressive])) if expressive.any() else None
    report["judge_neutral_gain_ci"] = ends
    return report


class Sheet:
    """Contact sheets of the first faces of each emotion: face, reconstruction, poker face, expression map."""

    def __init__(self, labels: Sequence[str], shown: int):
        self.shown = shown
        self.cells: dict[str, list[list[Pixels]]] = {name: [] for name in labels}

    def add(
        self, batch: list[Sample], expressive: np.ndarray, carried: list[Pixels], maps: Sequence[np.ndarray]
    ) -> None:
        """Add the faces of a batch until an emotion has `shown`; `maps` say how much each place changes."""
        for index, sample in enumerate(batch):
            if len(self.cells[sample.truth]) == self.shown:
                continue
            heated = np.asarray(heat_over(sample.image, maps[index]))
            faces = [sample.image, _bytes(expressive[index : index + 1])[0], carried[index], heated]
            self.cells[sample.truth].append([_square(face) for face in faces])

    def save(self, folder: Path) -> None:
        """Write EMOTION.png for each emotion that occurs."""
        for name, cells in self.cells.items():
            if cells:
                columns = [np.stack(column) for column in zip(*cells, strict=True)]
                save_sheet(folder / f"{name}.png", columns, min(SHEET_WIDE, len(cells)), zoom=1)


def _square(face: Pixels) -> Pixels:
    return np.rint(small(face, SHEET_SIDE, 3) * 255).astype(np.uint8)


def _bytes(drawn: np.ndarray) -> list[Pixels]:
    pixels = np.rint(drawn * 255).astype(np.uint8)
    return list(np.repeat(pixels, 3 // pixels.shape[3], axis=3))


def _probe(component: np.ndarray, truth: np.ndarray, classes: int) -> float | None:
    share = metrics.linear_probe(component, truth, classes)
    return None if np.isnan(share) else share


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def named(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """Return a figure of each class by its name; None where the class does not occur."""
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}

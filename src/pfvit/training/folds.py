"""Cross-validation: labelled faces in k parts, none of which has a person, or nearly the same picture, of another."""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pfvit.config import Train
from pfvit.data.columns import person_of
from pfvit.data.dataset import FaceDataset, pixels_of
from pfvit.data.index import RowGroup
from pfvit.datasets import duplicates
from pfvit.errors import PictureError, UsageError
from pfvit.training import checkpoint
from pfvit.training.initialise import Say
from pfvit.training.run import lines_of
from pfvit.utils.files import write_whole

SIDE = 48  # pixels at which pictures are compared
HASH_DISTANCE = 10  # bits of 128, as in `pfvit prepare`
REPORT = "folds.json"
#: Quantiles of Student's t at 97.5% for 1, 2, ... degrees of freedom; beyond, those of the
#: normal distribution (NORMAL) are corrected for the number (`_quantile`).
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
NORMAL = 1.959964


class Mean(NamedTuple):
    """A figure over the folds."""

    mean: float
    low: float
    high: float
    """Of the 95% interval by Student's t, which takes the folds for independent."""


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of a figure over folds and its 95% interval."""
    count, mean = len(values), float(np.mean(values))
    half = _quantile(count - 1) * float(np.std(values, ddof=1)) / count**0.5
    return Mean(mean, mean - half, mean + half)


def _quantile(degrees: int) -> float:
    """Return the 97.5% quantile of Student's t; above 15 degrees of freedom by series (Abramowitz, Stegun, 26.7.5)."""
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    first = (NORMAL**3 + NORMAL) / (4 * degrees)
    return NORMAL + first + (5 * NORMAL**5 + 16 * NORMAL**3 + 3 * NORMAL) / (96 * degrees**2)


def split(faces: FaceDataset, count: int, number: int, person: str) -> tuple[FaceDataset, FaceDataset]:
    """Return the training and the held-out faces of fold `number` of `count`, counted from 1.

    Faces go together by person (`people`) and by near duplicates; folds are about equally large and always the same.
    UsageError if there are too few people to fill them.
    """
    who = people(faces, person)
    held = folds_of(together(who, codes(faces)), count) == number - 1
    train, test = _part(faces, ~held), _part(faces, held)
    test.index.notes, test.index.left_out = [], Counter()  # they are told of the training faces
    if 0 < (missing := int((who < 0).sum())) < len(who):
        train.index.notes.append(f"{missing:,} of {len(who):,} faces have no person: each is taken for one of its own")
    return train, test


def people(faces: FaceDataset, person: str) -> NDArray[np.int64]:
    """Return a number for the person of each face, [faces], in the order of the groups; without any, all differ.

    `person` is a column, the number of a folder in a picture's path (1: the first one), or a pattern whose first group
    (or whole match) in the path is the person; "" takes a column that is named so, if the data have one.
    """
    names = [name for group in faces.groups for name in _names(group, person)]
    if not person and all(name is None for name in names):
        return np.arange(len(names))
    if (missing := sum(name is None for name in names)) and person:
        raise UsageError(
            f"--person {person}: {missing:,} of {len(names):,} faces have none; name what all have, "
            "or leave --person out"
        )
    numbers: dict[str, int] = {}
    return np.array(
        [-1 - row if name is None else numbers.setdefault(name, len(numbers)) for row, name in enumerate(names)]
    )


def _names(group: RowGroup, person: str) -> Iterator[str | None]:
    """Yield the name of the person of each row of a group that takes part."""
    table, first = group.table, sum(group.table.sizes[: group.index])
    column = table.column(person or "person")
    if column is not None or not person:
        for row in group.rows:
            yield None if column is None else person_of(column[first + int(row)])
        return
    for row in group.rows:
        path = table.picture_path(group.index, int(row))
        folders = re.split(r"[/\\]", path)[:-1]
        if person.isdecimal():
            yield folders[int(person) - 1] if 0 < int(person) <= len(folders) else None
        else:
            found = re.search(person, path)
            yield None if found is None else found[1] if found.re.groups else found[0]


def codes(faces: FaceDataset) -> duplicates.Codes:
    """Return the digests and hashes of all faces; those that cannot be decoded get random ones, as they are like no
    other: of random hashes about half the bits differ."""
    rows, drawn = [], np.random.default_rng(0)
    for group in faces.groups:
        for row in group.rows:
            try:
                gray = pixels_of(group, int(row), SIDE, 1)[0]
                rows.append(duplicates.code(np.repeat(gray[:, :, None], 3, 2)))
            except PictureError:
                rows.append(drawn.integers(2**63, size=4).tolist())
    return np.array(rows, dtype=np.uint64)


def together(person: NDArray[np.int64], seen: duplicates.Codes) -> NDArray[np.int64]:
    """Return a number for each face, the same for faces of one person and for near duplicates, in chains too."""
    who = np.unique(person, return_inverse=True)[1].reshape(-1)
    hashes, which = np.unique(seen[:, 2:], axis=0, return_inverse=True)
    which = which.reshape(-1) + who.max(initial=0) + 1
    # A forest of people and hashes: each face joins its person and its hash.
    leader = list(range(int(which.max(initial=0)) + 1))

    def root(place: int) -> int:
        while leader[place] != place:
            leader[place] = place = leader[leader[place]]
        return place

    first = len(leader) - len(hashes)
    for ones, others in duplicates.near_pairs(hashes, HASH_DISTANCE):
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            leader[root(first + one)] = root(first + other)
    for one, other in zip(who.tolist(), which.tolist(), strict=True):
        leader[root(one)] = root(other)
    return np.array([root(one) for one in who.tolist()], dtype=np.int64)


def folds_of(leader: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the fold, from 0, of each face: the largest groups first, each to the fold that has fewest faces."""
    groups, which, sizes = np.unique(leader, return_inverse=True, return_counts=True)
    if len(groups) < count:
        raise UsageError(f"--folds {count}: the faces are of {len(groups)} people or pictures; take fewer folds")
    order = np.random.default_rng(0).permutation(len(groups))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = np.zeros(count, dtype=np.int64)
    fold = np.zeros(len(groups), dtype=np.int64)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[which.reshape(-1)]


def _part(faces: FaceDataset, keep: NDArray[np.bool_]) -> FaceDataset:
    """Return those faces that are kept; `keep` is in the order of the groups."""
    part, groups, first = copy.copy(faces), [], 0
    for group in faces.groups:
        kept = keep[first : first + len(group.rows)]
        first += len(group.rows)
        if kept.any():
            groups.append(replace(group, rows=np.asarray(group.rows, dtype=np.uint32)[kept]))
    part.index = copy.copy(faces.index)
    part.index.groups, part.index.digests, part.index.notes = groups, None, [*faces.index.notes]
    part.groups = groups
    part.reweigh()
    return part


def train_folds(config: Train, train: Callable[[Train], None], say: Say) -> None:
    """Train all folds one after the other, each in a folder of its own, and write their figures together.

    Folds that are done are not trained again, and one that was stopped goes on.
    """
    out = Path(config.out)
    for number in range(1, config.folds + 1):
        folder = out / f"fold-{number}"
        going_on = (folder / checkpoint.LAST).is_file()
        say(f"fold {number} of {config.folds}")
        train(replace(config, fold=number, out=folder, resume=going_on))
    figures = [figures_of(out / f"fold-{number}", bool(config.best)) for number in range(1, config.folds + 1)]
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    report = {name: {**mean_of(values)._asdict(), "folds": values}
              for name in shared if (values := [one[name] for one in figures])}  # fmt: skip
    write_whole(out / REPORT, json.dumps(report, indent=2) + "\n")
    for name in ("validation_war", "validation_uar"):
        if name in report:
            one = report[name]
            say(f"{name} over {config.folds} folds: {one['mean']:.4f} ({one['low']:.4f} to {one['high']:.4f})")


def figures_of(run: Path, best: bool) -> dict[str, float]:
    """Return the figures of a run's last validation, or of its `best` one."""
    found = [line for line in lines_of(run / "metrics.jsonl") if "validation_war" in line]
    if best:
        step = checkpoint.record_of(run)["best"]["step"]
        found = [line for line in found if line["step"] <= step]
    return {name: value for name, value in found[-1].items() if name.startswith("validation_")} if found else {}

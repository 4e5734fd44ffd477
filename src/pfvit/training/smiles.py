"""The face's shape decides between neutral and happiness where teachers answer: they call mild smiles neutral."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfvit.data.index import RowGroup
from pfvit.datasets import mesh_points as mesh
from pfvit.emotions import EIGHT
from pfvit.errors import InputError
from pfvit.training.photo_data import GRAY, MOST_TURNED, points_of

#: Faces of which less than this is neutral or happiness keep their answer: other expressions widen the mouth as well.
LEAST = 0.7
NEUTRAL, HAPPINESS = EIGHT.index("neutral"), EIGHT.index("happiness")
Answers = dict[str, NDArray[np.float32]]


def with_shape(answers: Answers, groups: Mapping[str, RowGroup], points: Path) -> Answers:
    """Return answers in which a smile that the face's shape shows is no longer neutral beyond doubt.

    `answers` are probabilities [rows, 8] in the order of `pfvit.emotions.EIGHT` by the name of a row group; those in
    `groups` are of whole files of faces whose mesh points the file `points` holds. Between neutral and happiness the
    answer becomes what the points say: a logistic regression on strictly neutral and on smiling faces, both as likely
    beforehand. InputError if the points are of other faces.
    """
    files: dict[Path, list[str]] = {}
    for name in sorted(groups, key=lambda name: groups[name].index):
        files.setdefault(groups[name].path, []).append(name)
    named = {path: word for path in files if (word := points_of(path))}
    if not named:
        raise InputError(f"{points} has no mesh points of {', '.join(path.name for path in files)}")
    meshes = {word: mesh.load_mesh_points(points, word) for word in named.values()}
    teacher = _fitted([one for word, one in meshes.items() if word not in GRAY] or list(meshes.values()))
    mixed = dict(answers)
    for path, word in named.items():
        parts = files[path]
        whole = np.concatenate([answers[name] for name in parts])
        if len(whole) != len(meshes[word].found):
            raise InputError(
                f"{points} has {len(meshes[word].found)} faces of {path.name}, which has {len(whole)}: make "
                "the points anew from this file"
            )
        edges = np.cumsum([len(answers[name]) for name in parts])[:-1]
        mixed |= zip(parts, np.split(_mixed(whole, meshes[word], teacher), edges), strict=True)
    return mixed


def _fitted(meshes: list[mesh.MeshPoints]) -> mesh.NeutralTeacher:
    found = np.concatenate([one.found for one in meshes])
    points = np.concatenate([one.points for one in meshes])[found]
    return mesh.NeutralTeacher(points, np.concatenate([one.shares for one in meshes])[found])


def _mixed(answer: NDArray[np.float32], points: mesh.MeshPoints, teacher: mesh.NeutralTeacher) -> NDArray[np.float32]:
    between = answer[:, NEUTRAL] + answer[:, HAPPINESS]
    chosen = np.flatnonzero(points.found & (mesh.turn(points.points) < MOST_TURNED) & (between > LEAST))
    odds = teacher.smile_odds(points.points[chosen]) - mesh.SMILE_ODDS
    shape = np.exp(-np.logaddexp(0, -odds))
    mixed = answer.copy()
    happy = between[chosen] * shape
    mixed[chosen, HAPPINESS] = happy
    mixed[chosen, NEUTRAL] = between[chosen] - happy
    return mixed

"""Where the points of faces lie, and where they would lie without an expression: what the photo model learns.

The points are MediaPipe's face mesh (478 of them; Kartynnik et al., arXiv 1907.06724), found once for every training
face and stored as 80 principal components. `NeutralTeacher` says in closed form where they would be in the same
person's neutral face. It is fitted on unpaired faces; no two pictures of one person are needed.

Points are counted in *face units*: the origin is the middle between the outer corners of the eyes, x runs along the
line between them, y down the face, and 1 is the distance between these corners.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pfvit.emotions import EIGHT
from pfvit.errors import InputError

Array = NDArray[np.float64]

POINTS = 478
#: Outer corners of the eyes: the viewer's left, the viewer's right.
EYES = (33, 263)
#: Points that no expression moves: corners of the eyes, ridge of the nose, forehead, temples, ears. Which points are
#: taken decides the teacher's quality: with the base of the nose among them, the predicted mouth stays too wide.
STABLE = [33, 263, 133, 362, 168, 6, 197, 195, 10, 338, 109, 127, 356, 162, 389, 21, 251, 234, 454]
#: Inner and outer edge of each lip, from the viewer's left corner to the right one.
INNER_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
INNER_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
OUTER_UPPER = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291]
OUTER_LOWER = [146, 91, 181, 84, 17, 314, 405, 321, 375]
#: Two rings of points within each lip, from its inner edge outwards, without the corners.
RING_UPPER = [183, 42, 41, 38, 12, 268, 271, 272, 407]
RING_LOWER = [96, 89, 179, 86, 15, 316, 403, 319, 325]
RING2_UPPER = [184, 74, 73, 72, 11, 302, 303, 304, 408]
RING2_LOWER = [77, 90, 180, 85, 16, 315, 404, 320, 307]
#: Points of the corners' rings that the four lists above leave out.
CORNER_RINGS = [76, 306, 62, 292]
LIPS = [
    *INNER_UPPER, *INNER_LOWER, *OUTER_UPPER, *OUTER_LOWER, *RING_UPPER, *RING_LOWER, *RING2_UPPER, *RING2_LOWER,
    *CORNER_RINGS,
]  # fmt: skip
CORNERS = (61, 291)
JAW = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
    150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
]  # fmt: skip
BROWS = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 336, 296, 334, 293, 300, 276, 283, 282, 295, 285]
UPPER_BROWS = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
LIDS = [
    246, 161, 160, 159, 158, 157, 173, 155, 154, 153, 145, 144, 163, 7, 466, 388, 387, 386, 385, 384, 398, 382,
    381, 380, 374, 373, 390, 249,
]  # fmt: skip

#: A head is turned by so much if the tip of the nose is so far from the middle line, in face units.
FRONTAL = 0.12


def to_face_units(points: Array) -> tuple[Array, Array, Array]:
    """Return points [n, 478, 2] of pictures in face units, and the origin [n, 2] and axis [n, 2] that lead back."""
    left, right = points[:, EYES[0]], points[:, EYES[1]]
    origin, axis = (left + right) / 2, right - left
    away, square = points - origin[:, None], (axis**2).sum(1, keepdims=True)
    x = (away * axis[:, None]).sum(2) / square
    y = (away[..., 1] * axis[:, None, 0] - away[..., 0] * axis[:, None, 1]) / square
    return np.stack([x, y], axis=-1), origin, axis


def from_face_units(points: Array, origin: Array, axis: Array) -> Array:
    """Return points [n, k, 2] in face units as places in pictures: the inverse of `to_face_units`."""
    down = np.stack([-axis[:, 1], axis[:, 0]], axis=-1)
    return origin[:, None] + points[..., :1] * axis[:, None] + points[..., 1:] * down[:, None]


def mouth_opening(points: Array) -> Array:
    """Return the distance between the lips' inner edges in the middle, [n], in face units."""
    return np.linalg.norm(points[:, 13] - points[:, 14], axis=-1)


def mouth_width(points: Array) -> Array:
    """Return the distance between the corners of the mouth, [n], in face units."""
    return np.linalg.norm(points[:, CORNERS[0]] - points[:, CORNERS[1]], axis=-1)


def corner_drop(points: Array) -> Array:
    """Return how far the corners of the mouth lie below the middle of the lips, [n]; negative in a smile."""
    return points[:, CORNERS, 1].mean(1) - points[:, [13, 14], 1].mean(1)


def brow_height(points: Array) -> Array:
    """Return how high the brows' upper edges lie above the line of the eyes, [n], in face units."""
    return -points[:, UPPER_BROWS, 1].mean(1)


def eye_opening(points: Array) -> Array:
    """Return the mean distance between the lids, [n], in face units."""
    return (points[:, 145, 1] - points[:, 159, 1] + points[:, 374, 1] - points[:, 386, 1]) / 2


def turn(points: Array) -> Array:
    """Return how far the tip of the nose lies from the middle line, [n], in face units."""
    return np.abs(points[:, 1, 0])


class MeshPoints(NamedTuple):
    """The points of the faces of one file, in its order."""

    points: Array
    """[n, 478, 2] in face units."""
    origin: Array
    """[n, 2] in shares of the picture's side."""
    axis: Array
    """[n, 2] in shares of the picture's side."""
    found: NDArray[np.bool_]
    """[n]: whether a face was found; the other rows mean nothing."""
    shares: NDArray[np.float32]
    """[n, 8]: the shipped recogniser's probabilities, in the order of `pfvit.emotions.EIGHT`."""
    rows: NDArray[np.int32] | None
    """[n]: which rows of the file (its column `row`) these are; None: all of it, in order."""


def load_mesh_points(path: Path, name: str) -> MeshPoints:
    """Return the points of one set of faces from a file of components; InputError if the file does not hold them."""
    try:
        with path.open("rb") as file, np.load(file) as stored:  # numpy leaves a damaged file open
            if f"{name}_coef" not in stored:
                raise InputError(f"{path} holds no mesh points of {name!r}")
            components, mean = stored["V"].astype(np.float32), stored["mean"].astype(np.float32)
            points = stored[f"{name}_coef"].astype(np.float32) @ components.T + mean
            place = stored[f"{name}_oa"].astype(np.float64)
            rows = stored.get(f"{name}_row")
            return MeshPoints(
                points.reshape(-1, POINTS, 2).astype(np.float64), place[:, :2], place[:, 2:],
                stored[f"{name}_ok"], stored[f"{name}_share"].astype(np.float32), rows,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, BadZipFile) as problem:
        raise InputError(f"{path} cannot be read as mesh points: {problem}") from problem


#: A face is strictly neutral by these: a recogniser's "neutral at 80%" still smiles a little.
STRICT_NEUTRAL, STRICT_HAPPINESS, STRICT_OPENING = 0.8, 0.005, 0.02
#: An emotion's own filter needs so many faces that show it most, with at least this share.
LEAST_FACES, LEAST_SHARE = 40, 0.4
#: Over real pairs the jaw stays where it is, unless the mouth is open: it follows at least by 0.3, and wholly from an
#: opening of 0.25 on.
JAW_FOLLOWS, JAW_OPENING = 0.3, 0.25


#: Log odds of a smile before a face is looked at: in photographs smiles are more common than neutral faces.
SMILE_ODDS = float(np.log(4))


#: A face with a smaller share of neutral has no part that stays as it is.
EXPRESSIVE = 0.25


class NeutralTeacher:
    """Say where a face's points would be in the same person's neutral face.

    1. What the points that no expression moves say of all points: ridge regression on strictly neutral faces.
    2. What that leaves over, in 40 principal components, is neutral variation n plus, in an expressive face, the
       expression e. With n ~ N(m, S) fitted on strictly neutral faces, and the second moment M of e on the faces of one
       emotion (of their mean shift and of what they vary more), the expected neutral face of an observed a = n + e is
       m + S (S + M)^-1 (a - m): a Wiener filter. The second moment and not mean and covariance, because expressions
       come in all strengths: a mild smile is not an average smile's opposite.
    3. Faces without one clear emotion have several such answers, averaged by the recogniser's shares. Between neutral
       and a smile the shape of the face itself decides (a logistic regression along the discriminant of both), because
       recognisers call mild smiles neutral.
    """

    def __init__(self, points: Array, shares: NDArray[np.floating], ridge: float = 30.0, components: int = 40):
        """Fit on points [n, 478, 2] in face units and shares [n, 8]; faces that are turned are left out here."""
        frontal = turn(points) < FRONTAL
        neutral = frontal & strictly_neutral(points, shares)
        expressive = frontal & (shares[:, 0] < 0.15)
        if min(neutral.sum(), expressive.sum()) < 2 * LEAST_FACES:
            raise InputError(
                f"{neutral.sum()} strictly neutral and {expressive.sum()} expressive faces are too few to learn what "
                f"an expression does; give at least {2 * LEAST_FACES} of each"
            )
        stable = points[:, STABLE].reshape(len(points), -1)
        self.stable_mean, self.stable_scale = stable[neutral].mean(0), stable[neutral].std(0) + 1e-6
        self.point_mean = points[neutral].reshape(neutral.sum(), -1).mean(0)
        scaled = (stable[neutral] - self.stable_mean) / self.stable_scale
        wanted = points[neutral].reshape(neutral.sum(), -1) - self.point_mean
        self.regression = np.linalg.solve(scaled.T @ scaled + ridge * np.eye(scaled.shape[1]), scaled.T @ wanted)
        rest = self._rest(points[neutral | expressive])
        self.rest_mean = rest.mean(0)
        some = np.random.default_rng(0).choice(len(rest), min(6000, len(rest)), replace=False)
        self.axes = np.linalg.svd(rest[some] - self.rest_mean, full_matrices=False)[2][:components].T
        seen = self._seen(points)
        self.mean = seen[neutral].mean(0)
        self.spread = np.cov(seen[neutral].T)
        self.counts = {"neutral": int(neutral.sum()), "expressive": int(expressive.sum())}
        self.filters: dict[int, Array] = {}
        for kind in range(1, len(EIGHT)):
            most = (shares.argmax(1) == kind) & (shares[:, kind] > LEAST_SHARE) & frontal
            if most.sum() >= LEAST_FACES:
                self.filters[kind] = self._filter(seen[most], shares[most, kind])
                self.counts[EIGHT[kind]] = int(most.sum())
        self._fit_smile(seen, neutral, frontal & (shares[:, 1] > 0.5))

    def __call__(self, points: Array, shares: NDArray[np.floating]) -> Array:
        """Return neutral points [n, 478, 2] for points in face units and shares [n, 8]."""
        seen = self._seen(points)
        weights = self._weights(seen, shares)
        calm = weights[:, :1] * seen
        for kind, keep in self.filters.items():
            calm += weights[:, kind : kind + 1] * (self.mean + (seen - self.mean) @ keep.T)
        # What the principal components do not hold is left as it is in the neutral share, and left out otherwise.
        known = self._predicted(points) + self.rest_mean
        beyond = points.reshape(len(points), -1) - known - seen @ self.axes.T
        neutral = (known + calm @ self.axes.T + weights[:, :1] * beyond).reshape(points.shape)
        follow = np.clip(mouth_opening(points) / JAW_OPENING, JAW_FOLLOWS, 1.0)[:, None, None]
        neutral[:, JAW] = points[:, JAW] + (neutral[:, JAW] - points[:, JAW]) * follow
        return neutral

    def smile(self, points: Array) -> Array:
        """Return the probability, by shape alone, that a face smiles rather than being neutral: [n]."""
        return _logistic(self.smile_odds(points))

    def smile_odds(self, points: Array) -> Array:
        """Return the logarithm of that probability's odds, of which SMILE_ODDS is the prior's part: [n]."""
        return self._smile_odds(self._seen(points))

    def _predicted(self, points: Array) -> Array:
        stable = points[:, STABLE].reshape(len(points), -1)
        return self.point_mean + (stable - self.stable_mean) / self.stable_scale @ self.regression

    def _rest(self, points: Array) -> Array:
        return points.reshape(len(points), -1) - self._predicted(points)

    def _seen(self, points: Array) -> Array:
        return (self._rest(points) - self.rest_mean) @ self.axes

    def _filter(self, seen: Array, share: NDArray[np.floating]) -> Array:
        """Return the matrix S (S + M)^-1 of an emotion, which keeps neutral variation and takes the expression."""
        shift = np.average(seen, axis=0, weights=share) - self.mean
        more = np.cov(seen.T, aweights=share) - self.spread
        values, vectors = np.linalg.eigh(more)
        moment: Array = (vectors * np.maximum(values, 0)) @ vectors.T + np.outer(shift, shift)
        return np.asarray(np.linalg.solve(_regular(self.spread + moment), self.spread).T, dtype=np.float64)

    def _fit_smile(self, seen: Array, neutral: NDArray[np.bool_], smiling: NDArray[np.bool_]) -> None:
        """Fit a logistic regression along the linear discriminant of neutral and smiling faces, each counting half."""
        both = (np.cov(seen[neutral].T) + np.cov(seen[smiling].T)) / 2
        self.discriminant = np.linalg.solve(_regular(both), seen[smiling].mean(0) - seen[neutral].mean(0))
        x = np.concatenate([seen[neutral] @ self.discriminant, seen[smiling] @ self.discriminant])
        y = np.repeat([0.0, 1.0], [neutral.sum(), smiling.sum()])
        w = np.repeat([0.5 / neutral.sum(), 0.5 / smiling.sum()], [neutral.sum(), smiling.sum()])
        centre, scale = np.average(x, weights=w), x.std()
        x = (x - centre) / scale
        slope, offset = 1.0, 0.0
        for _ in range(50):  # Newton's method on two numbers
            p = _logistic(slope * x + offset)
            gradient = np.array([(w * (p - y) * x).sum() + 1e-3 * slope, (w * (p - y)).sum()])
            curve = w * p * (1 - p)
            hessian = np.array([[(curve * x * x).sum() + 1e-3, (curve * x).sum()], [(curve * x).sum(), curve.sum()]])
            step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
            slope, offset = slope - step[0], offset - step[1]
        self.smile_slope = slope / scale
        self.smile_offset = offset - slope * centre / scale + SMILE_ODDS

    def _smile_odds(self, seen: Array) -> Array:
        odds: Array = seen @ self.discriminant * self.smile_slope + self.smile_offset
        return odds

    def _weights(self, seen: Array, shares: NDArray[np.floating]) -> Array:
        """Return the share of each answer, [n, 8]: neutral (stay as you are), then each emotion's filter."""
        weights = np.zeros((len(seen), len(EIGHT)))
        for kind in self.filters:
            if kind > 1:
                weights[:, kind] = shares[:, kind]
        left = 1 - weights.sum(1)
        smile = np.where(shares[:, 0] < EXPRESSIVE, 1.0, _logistic(self._smile_odds(seen)))
        weights[:, 1] = left * smile
        weights[:, 0] = left * (1 - smile)
        return weights


def _regular(matrix: Array) -> Array:
    """Return a covariance that can be inverted, whatever directions the data left out."""
    return matrix + 1e-6 * np.trace(matrix) / len(matrix) * np.eye(len(matrix))


def _logistic(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


def strictly_neutral(points: Array, shares: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which faces are neutral beyond doubt: by the recogniser, without a trace of a smile, mouth closed."""
    return (
        (shares[:, 0] > STRICT_NEUTRAL) & (shares[:, 1] < STRICT_HAPPINESS) & (mouth_opening(points) < STRICT_OPENING)
    )


def describe(points: Array) -> Mapping[str, Array]:
    """Return the measures of a face by name, each [n] in face units."""
    return {
        "mouth opening": mouth_opening(points), "mouth width": mouth_width(points), "corner drop": corner_drop(points),
        "brow height": brow_height(points), "eye opening": eye_opening(points),
    }  # fmt: skip

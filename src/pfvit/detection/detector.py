"""Find faces in a picture: at any roll, from 14 px to nearly the whole picture, with more looks only where needed.

The network (`pfvit.detection.libfacedetection`) finds large faces at any roll and small ones within some 30 degrees of
upright, and places their points well only there. So the picture is looked at upright first; in other directions if no
face is sure, or where those that are found lie in another; and closer if small faces are found, or none. A find that
is not sure, or may be turned, is looked at again by itself in eight directions: that tells its roll, and tells faces
from what only looks like one in passing. Anything with a method `detect(image) -> list[Face]` can take the detector's
place: `Reader(detector=...)`.
"""

import math
from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pfvit.config.inference import Look
from pfvit.data.images import Pixels
from pfvit.detection.alignment import POINTS
from pfvit.detection.base import Face
from pfvit.detection.libfacedetection import FaceNetwork, Rows, distinct
from pfvit.detection.views import Picture, Sighting, View
from pfvit.errors import UsageError
from pfvit.utils.memory import give_back

#: Longer side in pixels of the first look (of a panorama, the root of its area as if it were 16:9); smaller pictures
#: are looked at as they are, or enlarged to the smallest side: tight crops are found best there.
FIRST, SMALLEST = 480, 256
#: How many times larger each look is than the one before.
CLOSER = 2.5
#: A face that is seen smaller than this, in pixels, may have neighbours that only a closer look finds.
SMALL = 36
#: Closer looks leave larger faces, in pixels, to the looks before: those see them whole.
LARGE = 220
#: If no face is found, faces of this size in pixels of the picture are looked for.
LOOKED_FOR = 64
#: Parts of a large picture without a sure face in which small ones are looked for: a side in pixels, and places.
SAMPLE, SAMPLES = 256, ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
#: What the network scores less is not looked at again; and does not count when it is.
LEAST, FAINT = 0.25, 0.05
#: Upright faces of 60 px and more score 0.92 and more, small ones 0.85; what scores less, or whose points say that it
#: rolls, is looked at again.
SURE, SURE_SMALL, STEEP = 0.91, 0.85, math.radians(4)
#: What a face that was found before must score in a closer look to be placed anew.
LIKELY = 0.7
#: A face's score, from the two looks that know most of it: turned faces of all sizes get 0.85 and more, upright ones
#: that are hard to see sometimes less, textures without a face up to 0.8.
FACE, FACE_UPRIGHT = 0.82, 0.78
FOUND = 0.85  # what is this sure ends the search in other directions
#: The second look: so many times the face's size, at a side in pixels, in eight directions; then at the roll that they
#: tell, with a larger side.
AROUND, AGAIN, UPRIGHT = 1.8, 160, 224
DOUBTFUL = 0.5  # a face that is upright to within 45 degrees scores more in the second look
TOGETHER = 6  # finds that are looked at again together, surest first: after such a group without a face, no more are
FEW_PIXELS = 300_000  # that the network sees at once of a large picture, if one view has no more
SAME = 0.55  # of the smaller box is shared by two boxes of one face
FEW = 0.1  # of the faces: no direction to look in, as they may be none
STRAIGHT, DIAGONAL = (0.0, math.pi / 2, 3 * math.pi / 2, math.pi), tuple(math.pi / 4 * n for n in (1, 7, 3, 5))
EIGHTH = math.pi / 4


class LibFaceDetection:
    """libfacedetection (Shiqi Yu, BSD) on onnxruntime; it may be used by several threads at once, and be pickled.

    `look` says how hard to look. quick: once, upright, for faces from 3% of the longer side. normal: in other
    directions if that finds none, and closer where faces are small. thorough: in eight directions, down to the
    picture's own pixels, which takes some 20 times as long as a first look at a large photo.
    """

    thread_safe = True

    def __init__(self, look: Look = "normal") -> None:
        if look not in get_args(Look):
            raise UsageError(f"look must be one of {', '.join(get_args(Look))}, not {look!r}")
        self.look = look
        self.network = FaceNetwork()

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in uint8 RGB [height, width, 3], left to right."""
        search = _Search(Picture(image), self.network)
        {"quick": search.quick, "normal": search.normal, "thorough": search.thorough}[self.look]()
        if search.most > FEW_PIXELS:  # what it took is not kept, as the next picture may be large
            self.network.give_back()
        if search.picture.large:
            give_back()
        return sorted((sighting.face() for sighting in search.faces), key=lambda face: face.box[:2])


class _Search:
    """The looks at one picture, and the faces found so far."""

    def __init__(self, picture: Picture, network: FaceNetwork) -> None:
        self.picture, self.network = picture, network
        self.faces: list[Sighting] = []
        self.scales = _scales(picture.width, picture.height)
        self.looks: set[tuple[float, float]] = set()
        self.most = 0  # pixels that the network saw at once, after which it did not give its memory back

    def _find(self, images: Pixels, least: float) -> list[Rows]:
        """Ask the network; of large pictures a few pixels at a time, as memory is short while they are held."""
        if not self.picture.large:
            self.most = max(self.most, images[..., 0].size)
            return self.network.find(images, least)
        some = max(1, FEW_PIXELS // (images.shape[1] * images.shape[2]))
        groups = [images[start : start + some] for start in range(0, len(images), some)]
        return [rows for group in groups for rows in self.network.find(group, least, lean=True)]

    @property
    def found(self) -> bool:
        return any(face.score >= FOUND for face in self.faces)

    def quick(self) -> None:
        self._look(self.scales[0], 0.0)

    def normal(self) -> None:
        for number, scale in enumerate(self.scales):
            if number == 0:
                self._look(scale, 0.0)
                if not self.found:
                    self._look(scale / 2, 0.0)  # a face that fills the picture
                self._look_past_noise(scale)
                if not self.found:
                    # Of a small picture's pixels, faces of 14 are too few to read: those of 20 do, for half the cost.
                    self._search(scale * (1 if scale < 0.75 else 0.7), (*STRAIGHT[1:], *DIAGONAL))
            elif not self.found:
                if scale > 1:
                    return
                if number == 1:
                    self._search(scale, STRAIGHT)
                elif LOOKED_FOR * self.scales[number - 1] < SMALL / 2:
                    self._search(scale, STRAIGHT[:1])
                else:
                    self._sample(scale)
                    if not self.found:
                        return
            elif min(face.size for face in self.faces) * self.scales[number - 1] >= SMALL:
                return
            self._follow(scale, math.inf if number == 0 else LARGE)

    def _look_past_noise(self, scale: float) -> None:
        """If none is found, look at the picture without its noise, which hides faces."""
        noisy = self.picture
        self.picture = noisy if self.found else noisy.without_noise()
        for one in (scale, scale / 2):
            if not (self.found or self.picture is noisy):
                self.looks.discard((one, 0.0))
                self._look(one, 0.0)
        self.picture = noisy

    def thorough(self) -> None:
        self._look(self.scales[0] / 2, 0.0)
        for number, scale in enumerate(self.scales):
            for turn in STRAIGHT + DIAGONAL:
                self._look(scale, turn, math.inf if number == 0 else LARGE)
        self._look_past_noise(self.scales[0])

    def _search(self, scale: float, turns: tuple[float, ...]) -> None:
        """Look in one direction after the other until a face is found."""
        for turn in turns:
            self._look(scale, turn)
            if self.found:
                return

    def _follow(self, scale: float, largest: float) -> None:
        """Look in the directions in which faces were found, and in those that this finds."""
        while turns := {turn for turn in self._turns() if (scale, turn) not in self.looks}:
            for turn in sorted(turns):
                self._look(scale, turn, largest)

    def _turns(self) -> set[float]:
        """Return the directions in which faces stand, but for those of a few among many."""
        counts = Counter(_nearest_turn(face) for face in self.faces)
        return {turn for turn, count in counts.items() if count >= FEW * len(self.faces)}

    def _look(self, scale: float, turn: float, largest: float = math.inf) -> None:
        """Look at the picture at a scale in a direction, for faces up to a size in pixels of the view; but once."""
        if (scale, turn) in self.looks or (turn in DIAGONAL and self.picture.narrow):
            return
        self.looks.add((scale, turn))
        seen: list[Sighting] = []
        for view in self.picture.views(scale, turn):
            (rows,) = self._find(view.pixels[None], LEAST)
            seen += [one for one in view.sightings(distinct(rows)) if one.seen <= largest]
        self._settle(seen, scale)

    def _sample(self, scale: float) -> None:
        """Look at some parts, in one direction after the other: if there are hundreds of faces, some are there."""
        places = [complex(self.picture.width * x, self.picture.height * y) for x, y in SAMPLES]
        parts = [self.picture.around(place, SAMPLE / scale, SAMPLE, 0.0, range(4)) for place in places]
        for views in zip(*parts, strict=True):
            found = zip(views, self._find(np.stack([view.pixels for view in views]), LEAST), strict=True)
            self._settle([one for view, rows in found for one in view.sightings(distinct(rows))], scale)
            if self.found:
                return

    def _settle(self, seen: list[Sighting], scale: float) -> None:
        """Take the faces among what a look at a scale has found."""
        seen.sort(key=lambda one: -one.score)
        known = self._known(seen)
        sure = [one for one, before in zip(seen, known, strict=True) if before or _is_sure(one)]
        unsure = [one for one, before in zip(seen, known, strict=True) if not (before or _is_sure(one))]
        if scale < self.scales[-1]:  # a closer look settles most small ones for less; a few tell their direction
            small = [one for one in unsure if one.seen < SMALL]
            unsure = [one for one in unsure if one.seen >= SMALL] + small[:TOGETHER]
        self._take(sure)
        unsure, more = _not_among(unsure, self.faces), list[Sighting]()
        while unsure:
            some, unsure = unsure[:TOGETHER], unsure[TOGETHER:]
            faces = _not_among(self._again(some), self.faces + more)
            if not faces:
                break
            more += faces
            unsure = _not_among(unsure, faces)
        self._take(more)

    def _known(self, seen: list[Sighting]) -> NDArray[np.bool_]:
        """Tell which are faces that were found before, and are seen larger now."""
        small = [face for face in self.faces if face.seen < SMALL]
        ratio = np.array([one.size for one in seen])[:, None] / np.array([face.size for face in small])
        likely = np.array([one.score >= LIKELY and one.seen >= SMALL for one in seen], bool)
        return likely & (_same(seen, small) & (ratio > 0.7) & (ratio < 1.4)).any(axis=1)

    def _take(self, faces: list[Sighting]) -> None:
        """Add faces, each in place of those that are the same and were seen less well: too small, or less sure."""
        both = sorted(self.faces + faces, key=lambda face: (face.seen < SMALL, -face.score))
        same = _same(both, both)
        kept: list[int] = []
        for number in range(len(both)):
            if not same[number, kept].any():
                kept.append(number)
        self.faces = [both[number] for number in kept]

    def _again(self, finds: list[Sighting]) -> list[Sighting]:
        """Return those finds that are faces, as they are seen by themselves and upright."""
        scores, best = np.zeros((len(finds), 8)), list(finds)

        def look(n: int, eighth: int, quarters: tuple[int, ...]) -> list[tuple[int, int, View]]:
            views = self.picture.around(finds[n].centre, AROUND * finds[n].size, AGAIN, eighth * EIGHTH, quarters)
            return [(n, (eighth + 2 * turn) % 8, view) for turn, view in zip(quarters, views, strict=True)]

        def note(looks: list[tuple[int, int, View]]) -> None:
            for (n, direction, _), one in zip(looks, self._middle([view for *_, view in looks]), strict=True):
                if one is not None:
                    best[n] = one if one.score > scores[n].max() else best[n]
                    scores[n, direction] = one.score

        note([seen for n in range(len(finds)) for seen in look(n, 0, (0, 1, 2, 3))])
        hopeful = [n for n in range(len(finds)) if scores[n].max() >= DOUBTFUL]
        # Between the surest direction and its neighbours.
        note([seen for n in hopeful for seen in look(n, 1, _beside(int(scores[n].argmax()) // 2))])
        views = []
        for n in hopeful:
            views += self.picture.around(best[n].centre, AROUND * best[n].size, UPRIGHT, _peak(scores[n]), (0,))
        faces = []
        for n, one in zip(hopeful, self._middle(views), strict=True):
            if one is not None:
                score = (max(finds[n].score, scores[n].max()) + one.score) / 2
                upright = finds[n].roll == 0 and abs(math.remainder(one.roll, 2 * math.pi)) < EIGHTH
                if score >= (FACE_UPRIGHT if upright else FACE):
                    faces.append(replace(one, score=score))
        return faces

    def _middle(self, views: list[View]) -> list[Sighting | None]:
        """Return the surest face in the middle of each of some square views of one side."""
        if not views:
            return []
        side = len(views[0].pixels)
        found: list[Sighting | None] = []
        for view, rows in zip(views, self._find(np.stack([view.pixels for view in views]), FAINT), strict=True):
            off = np.hypot(*(rows[:, 1:3] + rows[:, 3:5] / 2 - side / 2).T)
            size = np.sqrt(rows[:, 3] * rows[:, 4]) * AROUND / side
            near = rows[(off < side / AROUND / 2) & (size > 0.5) & (size < 2)][:1]
            found.append(next(iter(view.sightings(near)), None))
        return found


def _scales(width: int, height: int) -> list[float]:
    """Return the scales of the looks, closer and closer; the last is the picture's own, or twice it if small."""
    longer = max(width, height)
    first = max(min(FIRST, max(longer, SMALLEST)) / longer, min(1, FIRST * 0.75 / math.sqrt(width * height)))
    last = max(first, min(2, max(1, FIRST * CLOSER / longer)))
    scales = [first]
    while scales[-1] * 1.3 < last:
        scales.append(min(last, scales[-1] * CLOSER))
    return scales


def _beside(quarter: int) -> tuple[int, int]:
    """Return the quarters of a turn that, with an eighth, lie on both sides of one."""
    return (quarter + 3) % 4, quarter


def _is_sure(one: Sighting) -> bool:
    """Tell whether a face needs no second look: it is certain, and upright in its view."""
    if one.score < (SURE if one.seen >= SMALL else SURE_SMALL):
        return False
    return abs(math.remainder(_roll(one) - one.roll, 2 * math.pi)) < STEEP


def _roll(one: Sighting) -> float:
    """Return the roll that a face's points tell (`pfvit.detection.alignment.frame`)."""
    model = POINTS @ [1, 1j]
    return float(np.angle(np.vdot(model - model.mean(), one.points - one.points.mean())))


def _nearest_turn(face: Sighting) -> float:
    """Return the direction of the eight in which a face stands most upright."""
    eighths = round(_roll(face) / EIGHTH) % 8
    return min(STRAIGHT + DIAGONAL, key=lambda turn: abs(turn - eighths * EIGHTH))


def _peak(scores: np.ndarray) -> float:
    """Return the roll at which a face is surest: the top of the parabola through the best of eight and its neighbours.

    It is off by 4 degrees in the median, by 9 at the 95th percentile.
    """
    odds = np.log(np.clip(scores, 0.01, 0.995) / (1 - np.clip(scores, 0.01, 0.995)))
    best = int(odds.argmax())
    before, top, after = odds[best - 1], odds[best], odds[(best + 1) % 8]
    bend = before - 2 * top + after
    return float((best + (0.5 * (before - after) / bend if bend < 0 else 0.0)) * EIGHTH)


def _not_among(some: list[Sighting], faces: list[Sighting]) -> list[Sighting]:
    """Return those that are none of these faces."""
    among = np.any(_same(some, faces), axis=1)
    return [some[n] for n in np.flatnonzero(~among)]


def _same(some: list[Sighting], others: list[Sighting]) -> NDArray[np.bool_]:
    """Tell of each of some, and each of others, whether they are one face, bool [some, others].

    Their upright boxes then share much of the smaller one.
    """
    ours, theirs = _boxes(some), _boxes(others)
    same = np.zeros((len(ours), len(theirs)), bool)
    areas = theirs[:, 2] * theirs[:, 3]
    for row, (x, y, across, down) in enumerate(ours.tolist()):
        wide = np.minimum(across + theirs[:, 2] - np.abs(x - theirs[:, 0]), 2 * np.minimum(across, theirs[:, 2]))
        high = np.minimum(down + theirs[:, 3] - np.abs(y - theirs[:, 1]), 2 * np.minimum(down, theirs[:, 3]))
        shared = np.clip(wide, 0, None) * np.clip(high, 0, None)
        same[row] = shared >= SAME * 4 * np.minimum(across * down, areas)
    return same


def _boxes(some: list[Sighting]) -> NDArray[np.float64]:
    """Return centre and half sides of the upright box around each, float64 [some, 4]."""
    return np.array([one.upright for one in some]).reshape(-1, 4)

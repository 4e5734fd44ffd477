"""One pass over the labelled faces: what recognisers answer, what the generator makes, and pictures to show."""

import io
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pfvit.config import Report
from pfvit.data import parquet
from pfvit.data.images import Pixels
from pfvit.data.labelled import Labelled, Sample, batches
from pfvit.data.locate import Found
from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.errors import InputError, UsageError
from pfvit.evaluation import cross_dataset, measure
from pfvit.evaluation.measure import Tally
from pfvit.inference import network
from pfvit.inference.generator import FaceGenerator
from pfvit.inference.network import Network
from pfvit.inference.reader import Reader
from pfvit.inference.reading import Reading
from pfvit.utils.console import progress_bar
from pfvit.utils.prefetch import prefetch
from pfvit.utils.text import utf8

THUMB = 96  # pixels along each side, of the pictures of all faces
THUMB_QUALITY = 90
NAMED = 12  # unknown labels
NO_EMOTION = {*FERPLUS_VOTES} - {*EIGHT}
#: Columns that are taken for groups of people where the data have them and --groups names none.
GROUPS = ("age", "ethnicity", "gender", "group", "race", "sex", "skin")


@dataclass
class Faces:
    """Labelled faces and what was found of them; arrays have one row for each face."""

    generator: FaceGenerator
    names: list[str]
    """The emotions that recogniser and data both distinguish; truth and probabilities count these."""
    truth: NDArray[np.integer]
    probabilities: NDArray[np.float64]
    """[faces, names]"""
    votes: NDArray[np.float64] | None
    """Annotators' counts, or their shares, [faces, 8] (`EIGHT`); None if any face has none."""
    agreed: NDArray[np.bool_]
    """Faces of the papers' protocol."""
    places: list[str]
    """Where each face stands: file#row."""
    groups: dict[str, NDArray[np.str_]]
    """By column, what it says of each face; empty where it says nothing."""
    thumbs: list[bytes]
    pixels: dict[int, Pixels]
    """Faces as they are: the first of each emotion, and `sample`."""
    first: dict[str, list[int]]
    """The first faces of each emotion: unpicked."""
    sample: list[int]
    """Faces drawn at random, for what takes long."""
    tally: Tally
    others: list[tuple[Network, NDArray[np.float64]]]
    """Further recognisers, with their probabilities [faces, their labels]."""
    judge: Network | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    """How many faces are left out by labels that the weights do not know, by label; not those of FER+ for none."""
    drawing: str = ""
    """Why there are no figures of drawn faces; empty if there are."""

    @property
    def recogniser(self) -> Network:
        """The first recogniser."""
        return self.generator.recogniser

    @property
    def protocols(self) -> dict[str, NDArray[np.bool_]]:
        """By name, which faces count: all, and where there are votes those of the papers' protocol."""
        found = {"all": np.ones(len(self.truth), dtype=bool)}
        if self.votes is not None and self.agreed.any():
            found["majority"] = self.agreed
        return found

    def thumb(self, face: int) -> Pixels:
        """Return the small picture of a face, uint8 [THUMB, THUMB, 3]."""
        with Image.open(io.BytesIO(self.thumbs[face])) as picture:
            return np.asarray(picture)

    def read(self, reader: Reader, face: int) -> Reading:
        """Return what is read in a face that is kept as it is."""
        return reader.read(self.pixels[face], whole=True, source=self.places[face])[0]


def collect(config: Report) -> Faces:
    """Read all faces once; InputError if there is none with a label that the first recogniser knows."""
    paths = config.weights or (None,)
    generator = FaceGenerator(network.open_answering(paths[0]))
    others = [network.open_answering(path) for path in paths[1:]]
    recogniser = generator.recogniser
    judge = None if config.judge is None else measure.open_judge(config.judge, recogniser)
    problem = _missing(generator)
    files = [file for path in config.data for file in cross_dataset.test_set(path).files]
    columns = group_columns(files, config.groups)
    faces = Labelled(files, recogniser.labels, config.order, config.protocol == "clean", columns=columns)
    tally, keeper = Tally(), _Keeper(config.shown, config.sample)
    answers: list[list[NDArray[np.float32]]] = [[] for _ in others]
    places: list[str] = []
    said: list[Mapping[str, str]] = []
    with progress_bar() as progress:
        task = progress.add_task("reading faces", total=None)
        for batch in batches(prefetch(faces), config.batch):
            measure.measure(batch, generator, judge, not problem, tally, None)
            if problem and encodes(generator):  # components need no generator
                found = generator.components([sample.image for sample in batch])
                emotion, residue = map(np.stack, zip(*found, strict=True))
                tally.add(emotion=measure.features(emotion), residue=measure.features(residue))
            for other, got in zip(others, answers, strict=True):
                got.append(other.probabilities([sample.image for sample in batch]))
            for sample in batch:
                keeper.add(sample)
            places += [utf8(sample.place) for sample in batch]
            said += [sample.others for sample in batch]
            progress.advance(task, len(batch))
    if not places:
        raise measure.no_face(config.data, faces, recogniser)
    known = [index for index, name in enumerate(recogniser.labels) if name in faces.classes]
    probabilities, truth = measure.answers(tally, "probabilities", known)
    votes = [one for one in tally.votes if one is not None]
    return Faces(
        generator=generator,
        names=[recogniser.labels[index] for index in known],
        truth=truth,
        probabilities=probabilities,
        votes=np.stack(votes) if len(votes) == len(truth) else None,
        agreed=np.array(tally.agreed),
        places=places,
        groups={name: np.array([one[name] for one in said]) for name in columns},
        thumbs=keeper.thumbs,
        pixels=keeper.pixels(),
        first=keeper.first,
        sample=sorted(keeper.drawn),
        tally=tally,
        others=[(other, np.concatenate(got).astype(np.float64)) for other, got in zip(others, answers, strict=True)],
        judge=judge,
        left_out=faces.left_out(),
        unknown=Counter({name: count for name, count in faces.unknown.items() if name not in NO_EMOTION}),
        drawing=problem,
    )


def _missing(generator: FaceGenerator) -> str:
    """Return why the generator cannot be measured, or an empty text."""
    try:
        _ = generator.encoder, generator.small_generator
        generator.check_neutral()
    except InputError as problem:
        return str(problem)
    return ""


def encodes(generator: FaceGenerator) -> bool:
    """Say whether the weights give components."""
    try:
        return bool(generator.encoder)
    except InputError:
        return False


def group_columns(files: Sequence[Path | Found], wanted: Sequence[str]) -> list[str]:
    """Return the columns of groups: those asked for, or those of GROUPS that all files have."""
    there = {file.path: _columns_of(file) for file in files if isinstance(file, Found)}
    for name in wanted:
        if lacking := [path for path, names in there.items() if name not in names]:
            raise UsageError(f"--groups {name}: not all of the data has this column: {lacking[0]} has not")
    return list(wanted) or [name for name in GROUPS if there and all(name in names for names in there.values())]


def _columns_of(found: Found) -> set[str]:
    """Return the columns of a table or a list; those of a list are found in any case. Folders have none."""
    if found.kind == "parquet":
        return {*parquet.column_names(found.path)}
    heading = [name.strip() for name in (found.listing.heading if found.listing else ())]
    return {*heading, *(name.casefold() for name in heading)}


class _Keeper:
    """Keeps small pictures of all faces, and some faces as they are: the first of each emotion, and a drawn sample."""

    def __init__(self, shown: int, sample: int):
        self.shown, self.sample = shown, sample
        self.random = random.Random(0)
        self.thumbs: list[bytes] = []
        self.first: dict[str, list[int]] = {}
        self.drawn: dict[int, Pixels] = {}
        self.unpicked: dict[int, Pixels] = {}

    def add(self, sample: Sample) -> None:
        """Take the next face."""
        face = len(self.thumbs)
        small, file = Image.fromarray(sample.image).resize((THUMB, THUMB), Image.Resampling.BICUBIC), io.BytesIO()
        small.save(file, "JPEG", quality=THUMB_QUALITY)
        self.thumbs.append(file.getvalue())
        first = self.first.setdefault(sample.truth, [])
        if len(first) < self.shown:
            first.append(face)
            self.unpicked[face] = sample.image
        if len(self.drawn) < self.sample:
            self.drawn[face] = sample.image
        elif (place := self.random.randrange(face + 1)) < self.sample:  # every face is as likely to stay
            del self.drawn[list(self.drawn)[place]]
            self.drawn[face] = sample.image

    def pixels(self) -> dict[int, Pixels]:
        """Return all faces that were kept as they are."""
        return self.unpicked | self.drawn

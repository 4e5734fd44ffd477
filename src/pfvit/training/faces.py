"""The faces of a run: those it learns from and those it is validated on, and what a person should know of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pfvit.config import Pretrain, Train
from pfvit.data.columns import person_of
from pfvit.data.dataset import FaceDataset, check_windows
from pfvit.data.formats import is_address
from pfvit.data.label_schemes import SCHEMES
from pfvit.data.labels import too_few
from pfvit.data.locate import HELD_OUT
from pfvit.data.tables import GROUPS_MIXED
from pfvit.emotions import NEUTRAL
from pfvit.errors import InputError, UsageError
from pfvit.training.initialise import SHIPPED, Say

#: What a shard's name has beyond that of its set: -00000-of-00001, and the hash that Hugging Face adds.
SHARD = re.compile(r"[-_]\d+(-of-\d+)?(-[0-9a-f]{8,})?$")


def check_places(config: Pretrain | Train) -> None:
    """Raise InputError, before any data are read, if what a run starts or goes on from is not there."""
    stage_two = isinstance(config, Train)
    if config.resume:
        named = (*config.data, *(config.unlabelled if stage_two else ()))
        advice = f"; if the data have moved, say where they are: --resume {config.out} --data PATH"
    else:
        named = (*([config.start] if config.start else ()), *(config.teacher if stage_two else ()))
        advice = "; give a run folder or a file of weights"
        if stage_two and config.mesh_points and not config.mesh_points.is_file():  # read after the teachers answered
            raise InputError(f"{config.mesh_points} is not there; give the mesh points of the unlabelled faces")
    for path in named:
        if not config.resume and is_address(str(path)):
            raise InputError(f"{path} is an address: download it first")
        if not path.exists() and path != SHIPPED and not is_address(str(path)):
            raise InputError(f"{path} is not there{advice}")


def of_stage_one(config: Pretrain) -> FaceDataset:
    """Return the faces of stage one, whose labels are not looked at."""
    faces = FaceDataset(config.data, labelled=False, **_common(config))
    check_windows(config.windows(), faces)
    return faces


def of_stage_two(config: Train) -> tuple[FaceDataset, list[FaceDataset]]:
    """Return the labelled training faces of stage two, whose classes are those of the run, and the unlabelled ones."""
    common = _common(config) | {"oversample": config.oversample}
    faces = FaceDataset(
        config.data,
        config.model.classes,
        hard=config.labels == "majority",
        order=config.order,
        scheme=config.labels if config.labels in SCHEMES else None,
        **common,
    )
    if len(shown := faces.index.shown()) < 2:  # of numbers and names in a file, which say more classes than are there
        raise too_few(shown, "--data")
    others = []
    if config.unlabelled:
        others = [FaceDataset(config.unlabelled, labelled=False, what="--unlabelled", **common)]
    check_windows(config.windows(), faces, *others)
    return faces, others


def _common(config: Pretrain | Train) -> dict[str, Any]:
    return {"clean": config.protocol == "clean", "windows": config.windows()}


def held_out(config: Train, classes: Sequence[str]) -> dict[str, FaceDataset]:
    """Return the faces of each validation set under its name; shards of one set go together."""
    sets: dict[tuple[Path, str], list[Path]] = {}
    for path in config.validation:
        stem = path.name if path.is_dir() else SHARD.sub("", path.stem)
        sets.setdefault((path.parent, stem), []).append(path)
    names = [stem for _, stem in sets]
    return {
        stem if names.count(stem) == 1 else f"{parent.name}/{stem}": FaceDataset(
            paths,
            classes,
            hard=True,
            order=config.order,
            clean=config.protocol == "clean",
            parts=HELD_OUT,
            what="--validation",
        )
        for (parent, stem), paths in sets.items()
    }


def with_classes(config: Train, classes: Sequence[str], say: Say) -> Train:
    """Return the settings of a run that tells these classes apart.

    A poker face is a neutral face: without `neutral` among the classes recognition alone is trained.
    """
    config = replace(config, model=replace(config.model, classes=len(classes)))
    if NEUTRAL in classes or not config.gan.every:
        return config
    why = f"none of the classes ({', '.join(classes)}) is neutral, and a poker face is a neutral face"
    if config.generator_only:
        raise UsageError(f"{why}: there is nothing for the generator to learn")
    say(f"{why}: recognition alone is trained, as with --gan.every 0")
    return replace(config, gan=replace(config.gan, every=0))


def tell(trained_on: Sequence[FaceDataset], validation: Mapping[str, FaceDataset], say: Say) -> None:
    """Say what takes part, what is left out, and which pictures are trained and validated on."""
    for faces in trained_on:
        for line in faces.index.lines():
            say(line)
        if faces.index.is_sorted():
            say(
                f"{faces.index.what}: the rows are sorted by class, and {GROUPS_MIXED} row groups are mixed at a time: "
                "steps show few classes each, --oversample does little, and accuracy suffers. Write the rows in random "
                "order"
            )
    for name, others in validation.items():
        for line in others.index.lines():
            say(line.replace("--validation", f"--validation {name}", 1))
        if shared := sum(faces.index.shared_with(others.index) for faces in trained_on):
            say(
                f"{shared:,} of {len(others):,} pictures of --validation {name} are trained on too: its figures say "
                "how well they are remembered, not how well others are read"
            )
        known = {person for faces in trained_on for person in _people(faces)}
        if again := sum(person in known for person in _people(others)):
            say(
                f"{again:,} of {len(others):,} faces of --validation {name} show people who are trained on too, by "
                "their column of people: figures of strangers may be lower"
            )


def _people(faces: FaceDataset) -> Iterator[tuple[Path, str]]:
    """Yield the person of each face as its table says, and where the table lies: elsewhere names are other people's."""
    columns = {id(table): table.column("person") for table in faces.index.tables}
    for group in faces.groups:
        if (column := columns[id(group.table)]) is not None:
            first = sum(group.table.sizes[: group.index])
            names = (person_of(column[first + int(row)]) for row in group.rows)
            yield from ((group.path.parent, name) for name in names if name is not None)

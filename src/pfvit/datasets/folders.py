"""Any set with one folder per class, with or without `train` and `test` above them; and unlabelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

from pfvit.config import Prepare
from pfvit.data import labels
from pfvit.data.formats import PICTURES
from pfvit.data.labels import Cells, canonical, meaning
from pfvit.data.lists import folders_in
from pfvit.data.parts import part_of
from pfvit.datasets.base import Bad, Item, Layout, Listing, below, share
from pfvit.emotions import EIGHT, NONE, named
from pfvit.errors import InputError

PARTS = {"train", "val", "test"}


def listing(source: Path, config: Prepare) -> Listing:
    """List the pictures of `SOURCE/CLASS` or `SOURCE/SPLIT/CLASS`; without splits a share is held out."""
    parts = {child: part_of(child.name) for child in folders_in(source) if part_of(child.name) in PARTS}
    found: list[Item] = []
    for part in parts or [source]:
        folders = folders_in(part)
        classes = _classes([folder.name for folder in folders], config.order, str(part))
        if not any(classes):
            raise InputError(
                f"{part} has the folders {', '.join(f.name for f in folders) or '(none)'}: name one folder after each "
                f"emotion ({', '.join(EIGHT)}), with train/ and test/ above them if you have a split; or name your own "
                "classes with --order"
            )
        for folder, name in zip(folders, classes, strict=True):
            if not name:
                known = ", ".join(meaning(config.order) or EIGHT)
                reason = f"it names none of {known}, and nothing else: rename it, or name all classes with --order"
                yield Bad(str(folder.relative_to(source)), None, reason)
                continue
            for path in below(folder, PICTURES):
                name_ = str(path.relative_to(source))
                split = parts.get(part) or ("test" if share(path.stem) < config.held_out else "train")
                found.append(Item(split, len(found), name_, name_, path, name, folder.name))
    Random(0).shuffle(found)  # training mixes rows that lie near each other: emotion by emotion would be a poor order
    yield from found


def _classes(names: Sequence[str], order: Sequence[str], place: str) -> list[str]:
    """Return the class that each folder's name stands for, "" for none; UsageError for numbers that say nothing."""
    if names and all(name.isdecimal() for name in names):
        read = labels.read(Cells(names, place, bare_from=labels.NEVER), order)
        return [read.names[code] if code >= 0 else NONE for code in read.codes]
    own = meaning(order)
    if len(order) > 1:
        return [name if (name := canonical(folder)) in own else NONE for folder in names]
    return [named(folder) or NONE for folder in names]


def unlabelled(source: Path, config: Prepare) -> Listing:
    """List every picture below a folder; each may hold any number of faces."""
    for row, path in enumerate(below(source, PICTURES)):
        name = str(path.relative_to(source))
        yield Item("faces", row, name, name, path, crop="align")


LABELLED = Layout("folders", "Folders of pictures", "you", "Yours to know.", EIGHT, listing, {})
UNLABELLED = Layout("faces", "Unlabelled pictures", "you", "Yours to know.", (), unlabelled, {})

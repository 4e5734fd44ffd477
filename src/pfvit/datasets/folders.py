"""Any set with one folder per emotion, with or without `train` and `test` above them; and unlabelled pictures."""

from pathlib import Path
from random import Random

from pfvit.config import Prepare
from pfvit.data.formats import PICTURES
from pfvit.datasets.base import Bad, Item, Layout, Listing, below, share
from pfvit.emotions import EIGHT, named
from pfvit.errors import InputError

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def listing(source: Path, config: Prepare) -> Listing:
    """List the pictures of `SOURCE/EMOTION` or `SOURCE/SPLIT/EMOTION`; without splits a share is held out."""
    children = _folders(source)
    parts = {child: SPLITS[child.name.casefold()] for child in children if child.name.casefold() in SPLITS}
    found: list[Item] = []
    for part in sorted(parts) or [source]:
        emotions = _folders(part)
        if not any(named(folder.name) for folder in emotions):
            raise InputError(
                f"{part} has the folders {', '.join(f.name for f in emotions) or '(none)'}: name one folder after each "
                f"emotion ({', '.join(EIGHT)}), with train/ and test/ above them if you have a split"
            )
        for folder in emotions:
            emotion = named(folder.name)
            if emotion is None:
                yield Bad(str(folder.relative_to(source)), None, f"it names none of {', '.join(EIGHT)}: rename it")
                continue
            for path in below(folder, PICTURES):
                name = str(path.relative_to(source))
                split = parts.get(part) or ("test" if share(path.stem) < config.held_out else "train")
                found.append(Item(split, len(found), name, name, path, emotion, folder.name))
    Random(0).shuffle(found)  # training mixes rows that lie near each other: emotion by emotion would be a poor order
    yield from found


def unlabelled(source: Path, config: Prepare) -> Listing:
    """List every picture below a folder; each may hold any number of faces."""
    for row, path in enumerate(below(source, PICTURES)):
        name = str(path.relative_to(source))
        yield Item("faces", row, name, name, path, crop="align")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


LABELLED = Layout("folders", "Folders of pictures", "you", "Yours to know.", EIGHT, listing, {})
UNLABELLED = Layout("faces", "Unlabelled pictures", "you", "Yours to know.", (), unlabelled, {})

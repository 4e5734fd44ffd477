"""FER+: the pixels of `fer2013.csv` (Kaggle) joined, row by row, with the ten votes of `fer2013new.csv` (Microsoft)."""

import csv
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from pfvit.config import Prepare
from pfvit.datasets.base import Bad, Item, Layout, Listing, need
from pfvit.emotions import EIGHT, FERPLUS_VOTES, ORDERS
from pfvit.errors import InputError

SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
COUNT = re.compile("[0-9]{1,2}")
HINT = (
    "SOURCE is a folder with fer2013.csv (or icml_face_data.csv) from Kaggle and fer2013new.csv from FER+; without the "
    "second, pfvit prepare fer2013 takes Kaggle's own labels"
)


def listing(source: Path, config: Prepare) -> Listing:
    """List the rows that FER+ gives a name; those without were found to hold no face."""
    faces = need(source, ("fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv"), HINT)
    votes = need(source, ("fer2013new.csv", "FERPlus/fer2013new.csv"), HINT)
    for row, (face, vote) in enumerate(zip_longest(_faces(faces), _votes(votes))):
        if face is None or vote is None:
            shorter, longer = (faces, votes) if face is None else (votes, faces)
            raise InputError(
                f"{shorter.name} ends after row {row}, {longer.name} goes on: they are joined row by row, so download "
                f"{shorter.name} again"
            )
        label, usage, span = face
        line = row + 2
        if vote["Usage"] != usage:
            raise InputError(
                f"row {line} is {usage} in {faces.name} and {vote['Usage']} in {votes.name}: they are joined row by "
                "row, so take both unsorted, as published"
            )
        name = (vote.get("Image name") or "").strip()
        if not name:
            continue
        if usage not in SPLITS:
            yield Bad(faces.name, line, f"Usage is {', '.join(SPLITS)}, not {usage!r}")
            continue
        if label not in map(str, range(7)):
            yield Bad(faces.name, line, f"emotions are 0 to 6, not {label!r}; take the row from the original file")
            continue
        counts = [(vote.get(column) or "").strip() for column in FERPLUS_VOTES]
        if not all(map(COUNT.fullmatch, counts)) or not sum(map(int, counts)):
            yield Bad(
                votes.name, line, f"the votes {','.join(counts)} are no ten counts; take the row from the original"
            )
            continue
        votes_ = tuple(map(int, counts))
        winner = FERPLUS_VOTES[votes_.index(max(votes_))]
        place = f"{faces.name}, row {line}"
        yield Item(SPLITS[usage], row, name, place, faces, winner, label, votes=votes_, span=span)


def _faces(file: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Yield label, usage, and where the pixels stand: reading 300 MB of digits is left to those who need them."""
    with file.open("rb") as opened:
        first = opened.readline()
        header = [word.strip() for word in first.decode("utf-8-sig", "replace").split(",")]
        if not {"emotion", "pixels", "Usage"} <= set(header):
            raise InputError(f"{file} has the columns {', '.join(header)}, not emotion, pixels, Usage: {HINT}")
        emotion, pixels, usage = (header.index(name) for name in ("emotion", "pixels", "Usage"))
        start = len(first)
        for line in opened:
            words = line.rstrip(b"\r\n").split(b",")
            if len(words) == len(header):
                before = sum(len(word) + 1 for word in words[:pixels])
                span = start + before, len(words[pixels])
                yield _text(words[emotion]), _text(words[usage]), span
            elif any(words):
                yield "", "?", (start, 0)
            start += len(line)


def _text(word: bytes) -> str:
    return word.decode(errors="backslashreplace").strip()


def _votes(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as opened:
        reader = csv.DictReader(opened)
        missing = {"Usage", "Image name", *FERPLUS_VOTES} - set(reader.fieldnames or ())
        if missing:
            raise InputError(f"{file} lacks the columns {', '.join(sorted(missing))}: {HINT}")
        try:
            yield from reader
        except csv.Error as problem:
            raise InputError(
                f"{file} is no CSV from row {reader.line_num} on ({problem}): download it again"
            ) from problem


SET = Layout(
    "ferplus",
    "FER+",
    "Barsoum, Zhang, Canton Ferrer, Zhang, ICMI 2016 (arXiv 1608.01041), https://github.com/microsoft/FERPlus; "
    "pictures: FER2013, Goodfellow et al., 2013 (arXiv 1307.0414), Kaggle",
    "The votes are MIT. The pictures were gathered by web search for a research contest and have no open licence: "
    "research only.",
    EIGHT,
    listing,
    # Rows with a name, by what most saw (ties: the first column): our own count of the official files. Of the test
    # part only the number is known to us: 3,573, of which 3,546 show an emotion.
    {
        "train": dict(zip(FERPLUS_VOTES, (10308, 7528, 3562, 3515, 2467, 191, 652, 165, 170, 2), strict=True)),
        "val": {"": 3579},
        "test": {"": 3573},
    },
    "val is PublicTest, test is PrivateTest; ties between votes go to the first column",
    {str(number): name for number, name in enumerate(ORDERS["fer2013"])},
)

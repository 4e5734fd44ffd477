"""A prepared folder: its manifest says which files it holds, what is in them, and how they came about."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pfvit.emotions import EIGHT, FERPLUS_VOTES
from pfvit.errors import InputError
from pfvit.utils.files import is_file
from pfvit.utils.text import parsed

#: {split: {emotion: faces}}
Counts = Mapping[str, Mapping[str, int]]

FORMAT = "pfvit-data-1"
NAME = "manifest.json"
BAD = "bad.jsonl"
SHOWN = 5  # bad rows named on the terminal; all are in the file
#: Settings that earlier versions called otherwise.
RENAMED = {"near": "hash_distance"}
AGAIN = "delete the folder and prepare it again"


def load(folder: Path, whole: bool = True) -> dict[str, Any]:
    """Return the manifest of a prepared folder; InputError if there is none that this version reads.

    Without `whole` it need not say more than the name of the set, its files and its labels.
    """
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"{folder} is no prepared folder: it has no {NAME}; make one with pfvit prepare")
    try:
        manifest = parsed(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise InputError(f"{path} is damaged ({problem}); {AGAIN}") from problem
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not of the format {FORMAT}, which this version reads; {AGAIN}")
    try:
        _look(manifest, whole)
        return manifest | {"settings": renamed(manifest.get("settings", {}))}
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as problem:
        raise InputError(f"{path} is damaged: it does not say all that it should ({problem}); {AGAIN}") from problem


def _look(manifest: dict[str, Any], whole: bool) -> None:
    """Look at what is read later; what is not there, or of another kind, raises one error or another."""
    for split in manifest["splits"].values():
        for file in split["files"]:
            if Path(file["name"]).name != file["name"]:
                raise ValueError(f"{file['name']} is no file in the folder")
            if whole:
                "".join((file["sha256"], f"{file['bytes']:d}"))
    str.strip(manifest["name"])
    dict(manifest.get("labels", {}))
    if whole:
        for _ in lines(manifest):
            pass


def renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run under today's names."""
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def verify(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise InputError at the first file that is not as the manifest says: absent, cut short or changed."""
    for split in manifest["splits"].values():
        for file in split["files"]:
            path = folder / file["name"]
            if not is_file(path):
                raise InputError(f"{path} is absent, but {NAME} lists it; {AGAIN}")
            if (size := path.stat().st_size) != file["bytes"]:
                raise InputError(f"{path} has {size} bytes, but {NAME} says {file['bytes']}: it is cut short; {AGAIN}")
            if digest(path) != file["sha256"]:
                raise InputError(f"{path} was changed: its SHA-256 is not the one in {NAME}; {AGAIN}")


def shards(folder: Path, split: str) -> list[Path]:
    """Return the Parquet files of a split; InputError that names the splits if there is no such."""
    splits = load(folder)["splits"]
    if split not in splits:
        raise InputError(f"{folder} has no part {split!r}, only {', '.join(splits)}")
    return [folder / file["name"] for file in splits[split]["files"]]


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(published: Counts, counts: Counts) -> list[str]:
    """Say where the numbers of faces are not those published; `all` is all splits together, "" any emotion."""
    totals, said = [], []
    found: dict[str, Counter[str]] = {split: Counter(values) for split, values in counts.items()}
    found["all"] = sum((Counter(values) for values in counts.values()), Counter())
    for split, expected in published.items():
        here = found.get(split, Counter())
        if (total := sum(here.values())) != (should := sum(expected.values())):
            totals.append(f"{split}: {total:,} faces, published {should:,}")
        if not total:
            continue
        said += [
            f"{split}: {name} {here[name]:,}, published {count:,}"
            for name, count in expected.items()
            if name and here[name] != count
        ]
    return totals + said


def lines(manifest: Mapping[str, Any], bad: Sequence[str] = ()) -> Iterator[str]:
    """Yield what a person should know of a prepared folder, line by line; `bad` are the rows set aside."""
    order = [*EIGHT, *FERPLUS_VOTES[-2:]]
    for split, about in manifest["splits"].items():
        counts = manifest["counts"].get(split, {})
        named = ", ".join(
            f"{name} {counts[name]:,}" for name in dict.fromkeys([*order, *counts]) if name and counts.get(name)
        )
        yield f"{split}: {about['rows']:,} faces in {len(about['files'])} files" + (f" ({named})" if named else "")
        for other, counted in about["also_in"].items():
            if any(counted.values()):
                share = counted["exact"] / about["rows"]
                yield f"  also in {other}: {counted['exact']:,} exactly ({share:.1%}), {counted['near']:,} nearly"
        if about["repeated"]:
            yield f"  dropped: {about['repeated']:,} that repeat another"
    yield from (f"  dropped: {count:,} {why}" for why, count in manifest["dropped"].items())
    if manifest["gray"] and manifest["colour"]:
        rare = min(("gray", "colour"), key=lambda colour: manifest[colour])
        yield (
            f"{manifest['gray']:,} pictures are gray and {manifest['colour']:,} in colour (the first in {rare}: "
            f"{manifest['first'][rare]}). Training brings all to the channels of its preset, but a colour preset could "
            "learn from the difference: if it goes with the label, take a gray one, such as compact"
        )
    if manifest["differs"]:
        more = len(manifest["differs"]) - SHOWN
        rest = [f"and {more} more numbers, see {NAME}"] if more > 0 else []
        yield "not as published: " + "; ".join([*manifest["differs"][:SHOWN], *rest])
    elif manifest["published"]:
        yield "all counts are the published ones"
    if manifest["note"]:
        yield f"note: {manifest['note']}"
    if manifest["bad"]:
        yield f"{manifest['bad']:,} rows were set aside, see {BAD}:"
        yield from (f"  {row}" for row in bad[:SHOWN])

"""`pfvit prepare`: from a data set's official download to checked Parquet files, duplicates marked."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from pfvit import __version__
from pfvit.config import Prepare
from pfvit.data.labels import meaning
from pfvit.datasets import SETS, duplicates, manifest, parts
from pfvit.datasets.base import Bad, Item, Layout
from pfvit.datasets.crop import Cutter
from pfvit.emotions import EIGHT, NONE, in_our_order
from pfvit.errors import InputError, OutputError, UsageError
from pfvit.utils.console import progress_bar, say
from pfvit.utils.cores import cores
from pfvit.utils.files import atomic_write, is_file, lock, write_whole
from pfvit.utils.parallel import parallel_map
from pfvit.utils.text import parsed

PARTS = ".parts"
LOCK = "lock"
#: Settings that do not change what comes out.
FREE = {"jobs", "strict", "source", "out"}


def prepare(config: Prepare) -> dict[str, Any]:
    """Prepare a data set, or go on with it, or check it if it is done; return the manifest."""
    layout = _checked(config)
    if (config.out / manifest.NAME).exists():
        report = manifest.load(config.out)
        manifest.verify(config.out, report)
        if not _same(report["settings"], config):
            raise InputError(f"{config.out} was prepared with other settings; choose another folder, or delete it")
        rmtree(config.out / PARTS, ignore_errors=True)  # left if it was killed at the very end
        say(f"{config.out} is prepared already, and its files are as {manifest.NAME} says")
        return report
    say(f"{layout.title}: {layout.source}")
    say(f"Licence: {layout.licence}")
    folder = config.out / PARTS
    with _hold(config, folder):
        done, bad = _cut(config, layout, folder)
        if not any(summary["rows"] for summaries in done.values() for summary in summaries):
            first = f"; the first: {bad[0]}" if bad else ""
            raise InputError(f"no usable face in {config.source}: {len(bad)} rows were set aside{first}")
        report = _report(config, layout, done, bad)
        if config.strict and report["differs"]:
            raise InputError(f"--strict: {'; '.join(report['differs'])}")
        report["splits"] = _join(config, done, folder, report["emotions"])
        if bad:
            lines = "".join(json.dumps(row._asdict()) + "\n" for row in bad)
            write_whole(config.out / manifest.BAD, lines, durable=True)
        write_whole(config.out / manifest.NAME, json.dumps(report, indent=1) + "\n", durable=True)
    rmtree(folder)
    for line in manifest.lines(report, [str(row) for row in bad]):
        say(line)
    return report


def _checked(config: Prepare) -> Layout:
    """Return the set's layout; InputError for settings that make no sense."""
    if config.name not in SETS:
        raise UsageError(f"there is no data set {config.name!r}; choose from {', '.join(SETS)}")
    if not config.source.is_dir():
        raise InputError(f"{config.source} is no folder; give the one that the download unpacks to")
    if is_file(config.out):
        raise InputError(f"{config.out} is a file; choose a folder")
    if config.out.resolve().is_relative_to(config.source.resolve()):
        raise UsageError(f"{config.out} lies in {config.source}; choose a folder elsewhere")
    layout = SETS[config.name]
    own = meaning(config.order)
    return layout if set(own) <= {*EIGHT, NONE} else replace(layout, emotions=in_our_order(own))


def _same(earlier: dict[str, Any], config: Prepare) -> bool:
    """Return whether a folder was made with these settings; an earlier version knew no --order."""
    return {"order": []} | earlier == _settings(config)


def _settings(config: Prepare) -> dict[str, Any]:
    every = json.loads(json.dumps(asdict(config), default=str))
    return {name: value for name, value in every.items() if name not in FREE}


@contextmanager
def _hold(config: Prepare, folder: Path) -> Iterator[None]:
    """Hold the output folder: made if it is not there, or left by a run with the same settings; InputError if not."""
    record = folder / "settings.json"
    begun = folder.is_dir() and any(path.name not in (record.name, LOCK) for path in folder.iterdir())
    if record.is_file() and begun:
        try:
            same = _same(manifest.renamed(parsed(record.read_text())), config)
        except (ValueError, TypeError, AttributeError):
            same = False
        if not same:
            raise InputError(f"{config.out} was begun with other settings; choose another folder, or delete it")
    elif config.out.exists() and any(config.out.iterdir()) and not folder.exists():
        raise InputError(f"{config.out} is not empty and not from pfvit prepare; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(f"{config.out} cannot be made: {problem.strerror}") from problem
    with (folder / LOCK).open("w") as file:
        lock(file, config.out)
        write_whole(record, json.dumps(_settings(config)), durable=True)
        yield


def _cut(config: Prepare, layout: Layout, folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[Bad]]:
    """Cut out all faces; return the summaries of each split's parts, and the bad rows in order."""
    cutter = Cutter(config.crop, config.size, config.smallest, config.sharpness, every_face=not layout.emotions)
    done: dict[str, list[dict[str, Any]]] = {}
    listed_bad: list[Bad] = []
    found_bad: list[Bad] = []
    with progress_bar() as progress:
        task = progress.add_task("faces", total=None)

        def pieces() -> Iterator[parts.Part]:
            listed = 0
            for part in _parts(config, layout, folder, cutter, listed_bad):
                listed += len(part.items)
                yield part
            progress.update(task, total=listed)

        for summary in parallel_map(parts.make, pieces(), config.jobs or cores()):
            done.setdefault(summary["split"], []).append(summary)
            found_bad += [Bad(**row) for row in summary["bad"]]
            if config.strict and (bad := listed_bad + found_bad):
                raise InputError(f"--strict: {bad[0]}")
            progress.advance(task, summary["listed"])
    if config.strict and listed_bad:
        raise InputError(f"--strict: {listed_bad[0]}")
    return done, listed_bad + found_bad


def _parts(config: Prepare, layout: Layout, folder: Path, cutter: Cutter, bad: list[Bad]) -> Iterator[parts.Part]:
    """Yield the listed rows in parts, each of one split; rows that cannot be used go to `bad`."""
    classes = EIGHT if set(layout.emotions) <= set(EIGHT) else layout.emotions
    waiting: dict[str, list[Item]] = {}
    numbers: Counter[str] = Counter()

    def part(split: str) -> parts.Part:
        numbers[split] += 1
        return parts.Part(folder, split, numbers[split] - 1, tuple(waiting.pop(split)), cutter, classes)

    for item in layout.listing(config.source, config):
        if isinstance(item, Bad):
            bad.append(item)
            continue
        waiting.setdefault(item.split, []).append(item)
        if len(waiting[item.split]) == parts.ROWS_PER_PART:
            yield part(item.split)
    for split in sorted(waiting):
        yield part(split)


def _join(
    config: Prepare, done: dict[str, list[dict[str, Any]]], folder: Path, emotions: tuple[str, ...]
) -> dict[str, Any]:
    """Find the duplicates across all parts, and write the shards; return what the manifest says of each split."""
    splits = [split for split in parts.SPLITS if split in done]
    codes = {
        split: np.concatenate([np.load(folder / f"{summary['stem']}.npy") for summary in done[split]])
        for split in splits
    }
    others = [
        (f"{path.name}:{file.stem.removeprefix('codes-')}", np.load(file))
        for path in config.apart_from
        for file in _codes_of(path)
    ]
    names = [*splits, *(name for name, _ in others)]
    every = [*codes.values(), *(values for _, values in others)]
    together = np.concatenate(every)
    part = np.repeat(np.arange(len(every)), [len(values) for values in every])
    found = duplicates.overlaps(together, part, config.hash_distance)
    repeated = np.zeros(len(together), dtype=bool)
    if not emotions:  # nothing but faces: each is wanted once
        repeated[part == 0] = duplicates.repeated(codes[splits[0]], config.hash_distance)
    result: dict[str, Any] = {}
    shards: list[parts.Shard] = []
    for number, split in enumerate(splits):
        mine = part == number
        exact, near, drop = found.exact[mine], found.near[mine], repeated[mine]
        masks, index = np.unique(exact | near, return_inverse=True)
        also_in = tuple("+".join(name for bit, name in enumerate(names) if mask >> bit & 1) for mask in masks.tolist())
        index = np.where(drop, -1, index.reshape(-1))
        twin = np.where(exact > 0, 2, np.where(near > 0, 1, 0)).astype(np.int8)
        with atomic_write(config.out / f"codes-{split}.npy", durable=True) as new:
            np.save(new, codes[split][~drop])
        stems = [folder / f"{summary['stem']}.parquet" for summary in done[split]]
        files = []
        for paths, rows in parts.grouped(stems, [summary["rows"] for summary in done[split]]):
            if (index[rows] >= 0).any():
                path = config.out / f"{split}-{len(files):05d}.parquet"
                shards.append(parts.Shard(path, paths, emotions, also_in, index[rows], twin[rows]))
                files.append({"name": path.name, "rows": int((index[rows] >= 0).sum())})
        result[split] = {
            "rows": int((~drop).sum()),
            "files": files,
            "repeated": int(drop.sum()),
            "also_in": {
                name: {"exact": _held(exact[~drop], bit), "near": _held(near[~drop], bit)}
                for bit, name in enumerate(names)
                if bit != number
            },
        }
    with progress_bar() as progress:
        task = progress.add_task("files", total=len(shards))
        for _ in parallel_map(parts.join, shards, min(len(shards), config.jobs or cores())):
            progress.advance(task)
    for split in result.values():
        for file in split["files"]:
            path = config.out / file["name"]
            file |= {"bytes": path.stat().st_size, "sha256": manifest.digest(path)}
    return result


def _held(masks: np.ndarray, bit: int) -> int:
    return int((masks >> bit & 1).sum())


def _codes_of(folder: Path) -> list[Path]:
    """Return the files that hold the codes of a prepared folder's faces."""
    manifest.load(folder)
    files = sorted(folder.glob("codes-*.npy"))
    if not files:
        raise InputError(f"{folder} has no codes-*.npy to compare with; prepare it again")
    return files


def _report(config: Prepare, layout: Layout, done: dict[str, list[dict[str, Any]]], bad: list[Bad]) -> dict[str, Any]:
    """Return the manifest without its files: what was found, and where it differs from what was published."""
    every = [summary for summaries in done.values() for summary in summaries]
    counts = {split: dict(_sum(summary["counts"] for summary in summaries)) for split, summaries in done.items()}
    seen = {name for split in counts.values() for name in split}
    rows, gray = (sum(summary[name] for summary in every) for name in ("rows", "gray"))
    first = {colour: place for summary in reversed(every) for colour, place in summary["first"].items()}
    emotions = layout.emotions if layout.published else tuple(name for name in layout.emotions if name in seen)
    return {
        "format": manifest.FORMAT,
        "name": layout.name,
        "title": layout.title,
        "source": layout.source,
        "licence": layout.licence,
        "note": layout.note,
        "made_by": f"pfvit {__version__}",
        "settings": _settings(config),
        "emotions": emotions,
        "labels": layout.labels or {},
        "counts": counts,
        "published": layout.published,
        "differs": manifest.differences(layout.published, counts),
        "bad": len(bad),
        "dropped": dict(_sum(summary["dropped"] for summary in every)),
        "gray": gray,
        "colour": rows - gray,
        "first": first,
    }


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    return sum(map(Counter, counts), Counter[str]())

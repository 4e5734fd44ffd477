"""Runs that go on: their settings from their checkpoint, and which of these may differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pfvit.config import Pretrain, Train
from pfvit.config.presets import ARCHITECTURES
from pfvit.config.several import are_paths, is_path
from pfvit.errors import InputError, UsageError
from pfvit.training import checkpoint

#: Settings that may differ between a run and its continuation: the weights do not depend on them.
FREE = {
    *("out", "resume", "minutes", "checkpoint_minutes", "evaluate_every", "sheet_every", "log_every", "validation"),
    *("best", "patience", "keep"),
    *(f"hardware.{name}" for name in ("workers", "resident", "devices", "threads", "shard", "accumulate", "recompute")),
    "hardware.deterministic",
}
#: Settings that may be changed on purpose, after a loss that was not finite, say; the change is told.
CHANGEABLE = ("lr", "max_grad_norm", "gan.discriminator_lr")
#: What names data: compared by what is in it, not by where it lies.
PLACES = ("data", "unlabelled", "teacher", "start", "mesh_points")
#: What a run's record calls the folder that its relative paths are relative to.
STARTED_IN = "started_in"
Settings = TypeVar("Settings", Pretrain, Train)


def words_of(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the run that `--resume RUN`, or `--resume` with `--out RUN`, names, and the other words.

    `--resume=RUN` and RUN/last.safetensors mean the same. UsageError if no run is named.
    """
    rest = [
        part for word in words for part in (word.split("=", 1) if word.startswith(("--resume=", "--out=")) else [word])
    ]
    place = rest.index("--resume")
    del rest[place]
    if place < len(rest) and not rest[place].startswith("-") and rest[place] not in ARCHITECTURES:
        run = Path(rest.pop(place))
        return (run.parent if run.name == checkpoint.LAST and run.is_file() else run), rest
    if "--out" in rest[:-1]:
        return Path(rest[rest.index("--out") + 1]), rest
    raise UsageError("--resume names no run: give its folder, as in --resume runs/two")


def is_run(run: Path) -> bool:
    """Return whether a folder holds a checkpoint."""
    return (run / checkpoint.LAST).is_file()


def settings_of(run: Path, kind: type[Settings], words: Sequence[str] = ()) -> tuple[Settings, list[str]]:
    """Return the settings of a run to resume, from its checkpoint, and the words without the name of a preset.

    UsageError if a preset is named that is not the run's.
    """
    record = checkpoint.record_of(run)
    if record["stage"] != kind.__name__.lower():
        raise InputError(f"{run} is a run of `pfvit {record['stage']}`, not of `pfvit {kind.__name__.lower()}`")
    config = _found(_typed(kind, record["config"]), record.get(STARTED_IN))
    rest = list(words)
    if rest and rest[0] in ARCHITECTURES:
        named = ARCHITECTURES[rest.pop(0)]
        typed = {word.partition("=")[0].removeprefix("--model.").replace("-", "_") for word in rest}
        differ = [
            f"{field.name} {getattr(config.model, field.name)} (of the preset {getattr(named, field.name)})"
            for field in fields(named)
            if field.name not in {*typed, "classes"} and getattr(config.model, field.name) != getattr(named, field.name)
        ]
        if differ:
            raise UsageError(f"the run in {run} is not of the preset {words[0]}, it has {', '.join(differ)}")
    return replace(config, out=run, resume=True), rest


def _found(config: Settings, started_in: str | None) -> Settings:
    """Return settings whose relative paths are there, if they are where the run was started and not here."""

    def found(path: Path) -> Path:
        there = Path(started_in or "", path)
        return there if not path.exists() and there.exists() else path

    moved: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if are_paths(field.type):
            moved[field.name] = tuple(map(found, value))
        elif is_path(field.type) and value is not None:
            moved[field.name] = found(value)
    return replace(config, **moved)


def _typed(kind: type[Any], record: Mapping[str, Any]) -> Any:
    """Return settings from what JSON holds of them; what an earlier version did not have gets its plain value."""
    values = {}
    for field in fields(kind):
        if field.name not in record:
            continue
        value = record[field.name]
        nested = field.default_factory if field.default_factory is not MISSING else None
        if isinstance(nested, type) and is_dataclass(nested):
            value = _typed(nested, value)
        elif are_paths(field.type):
            value = tuple(map(Path, [value] if isinstance(value, str) else value or ()))
        elif is_path(field.type):
            value = None if value is None else Path(value)
        elif isinstance(value, list):
            value = tuple(value)
        values[field.name] = value
    return kind(**values)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], config: Any, folder: Path) -> list[str]:
    """Return what is changed on purpose; InputError if a run's record and that of its continuation do not fit."""
    before = _defaults(config) | dict(_flat(old["config"]))  # an earlier version did not have all settings
    after = dict(_flat(new["config"]))
    free = set(FREE)
    if "content" in old and "content" in new:
        free |= {*PLACES, "order"}  # the content is that of the pictures and their targets
        if old["content"] != new["content"]:
            raise InputError(
                f"the run in {folder} was started on other data: {_names(before['data'])}; the data must hold the "
                "same rows and labels, wherever they lie. To go on from its weights on other data: a new run with "
                f"--start {folder}"
            )
    else:
        for side in (before, after):
            side["order"] = [side["order"]] if isinstance(side.get("order"), str) else side.get("order") or ["ferplus"]
            side["data"] = _names(side["data"])
        free |= {"start"}
    if before.get("hardware.precision") == "auto":
        free |= {"hardware.precision"}
    differ = [name for name in after if name not in free and before.get(name) != after[name]]
    told = [f"{name} {before.get(name)!r} -> {after[name]!r}" for name in differ]
    if refused := [text for name, text in zip(differ, told, strict=True) if name not in CHANGEABLE]:
        raise InputError(
            f"the run in {folder} was started with other settings: {', '.join(refused)}. A run goes on with its own: "
            f"--resume {folder} alone is enough; only {', '.join(CHANGEABLE)} and what the weights do not depend on "
            "may be changed"
        )
    return told


def _names(paths: Any) -> str:
    return ", ".join(Path(path).name for path in paths or ())


def _defaults(config: Any) -> dict[str, object]:
    """Return the plain values of settings that have one, flat, as a record holds them."""
    plain = {}
    for field in fields(config):
        if field.default is not MISSING:
            plain[field.name] = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
            plain[field.name] = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return dict(_flat(json.loads(json.dumps(plain, default=str))))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

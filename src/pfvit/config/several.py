"""Settings that take any number of words. Left out they are empty, of which tyro's help would say "(default: )"."""

from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from tyro.conf import arg

ANY_NUMBER = arg(help_behavior_hint=lambda default: f"(default: {default})" if default else "")

Words = Annotated[tuple[str, ...], ANY_NUMBER]
Paths = Annotated[tuple[Path, ...], ANY_NUMBER]


def bare(kind: Any) -> Any:
    """Return the type of a setting without what is said to tyro about it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def are_paths(kind: Any) -> bool:
    """Return whether a setting of this type holds any number of paths."""
    return bare(kind) == tuple[Path, ...]


def is_path(kind: Any) -> bool:
    """Return whether a setting of this type holds one path (or None)."""
    return Path in (bare(kind), *get_args(bare(kind))) and not are_paths(kind)

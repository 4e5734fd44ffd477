"""What settings check of themselves when they are made: UsageError says which one is wrong, and how it must be."""

import math
import re
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

import numpy as np
from tyro.conf import Suppress

from pfvit.config.several import bare
from pfvit.emotions import ORDERS
from pfvit.errors import UsageError

#: Of the processor, for a model.
MOST_THREADS = 1024


def at_least(least: float, settings: Any, *names: str) -> None:
    """Refuse what is smaller than `least`, or no number; None means that a setting was not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError(f"{flag(name, settings)} must be {least} or more, not {value}")


def positive(settings: Any, *names: str) -> None:
    """Refuse what is not more than 0, or no number; None means that a setting was not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{flag(name, settings)} must be more than 0, not {value}")


def within(low: float, high: float, settings: Any, *names: str) -> None:
    """Refuse what does not lie from `low` to `high`; None means that a setting was not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f"{flag(name, settings)} must be from {low} to {high}, not {value}")


def below_one(settings: Any, *names: str) -> None:
    """Refuse what does not lie from 0 to below 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise UsageError(f"{flag(name, settings)} must be from 0 to below 1, not {value}")


def check_order(settings: Any) -> None:
    """Refuse an `order` that is neither one that is known nor names; one that Python gives as text becomes a tuple."""
    if isinstance(settings.order, str):
        object.__setattr__(settings, "order", (settings.order,))
    order = settings.order
    if len(order) == 1 and order[0] not in ORDERS:
        names = f"{', '.join(ORDERS)}, or the names of two classes or more"
        raise UsageError(f"--order must be one of {names}, not {order[0]}")
    if len({*order}) < len(order):
        raise UsageError(f"--order names a class twice: {' '.join(order)}")
    if len(order) > 1 and (known := [name for name in order if name in ORDERS]):
        raise UsageError(f"--order {' '.join(order)}: {known[0]} is an order by itself; name it alone, or name classes")


def check_folds(config: Any) -> None:
    """Refuse settings of cross-validation that do not fit each other."""
    at_least(1, config, "folds", "fold")
    if (config.fold is not None or config.person) and config.folds == 1:
        raise UsageError("--fold and --person say how --folds are made: give --folds 2 or more")
    if config.folds > 1 and config.validation:
        raise UsageError("--folds hold a part of --data out to validate on: leave --validation out")
    if config.fold is not None and config.fold > config.folds:
        raise UsageError(f"--fold must be from 1 to --folds, which is {config.folds}, not {config.fold}")
    if config.person and not config.person.isdecimal():
        try:
            re.compile(config.person)
        except re.error as problem:
            raise UsageError(f"--person {config.person} is no pattern: {problem}") from problem


def check_best(config: Any) -> None:
    """Refuse settings that choose a checkpoint where there is nothing to choose by."""
    at_least(0, config, "keep")
    at_least(1, config, "patience")
    if config.best and not config.validation and config.folds == 1:
        raise UsageError(f"--best {config.best} is a figure of --validation: name faces to validate on")
    if config.patience is not None and not config.best:
        raise UsageError("--patience waits for a figure to improve: name it with --best, as in --best uar")


def typed(name: str, value: Any, kind: Any) -> Any:
    """Return a setting that Python gives, a number as the command line would make it; UsageError for another type.

    `kind` is the type of its field. Paths and settings within settings are not looked at.
    """
    kind = bare(kind)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"{name} must be one of {', '.join(map(str, get_args(kind)))}, not {value!r}")
        return value
    if get_origin(kind) is tuple and isinstance(value, tuple) and get_args(kind)[-1] is Ellipsis:
        return tuple(typed(name, one, get_args(kind)[0]) for one in value)
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    known = [one for one in kinds if one in _TYPES]
    if not known or (value is None and NoneType in kinds):
        return value
    for one in known:
        if isinstance(value, _TYPES[one][0]) and (one is bool or not isinstance(value, bool)):
            return cast(Any, one)(value)
    raise UsageError(f"{name} must be {' or '.join(_TYPES[one][1] for one in known)}, not {value!r}")


#: What Python may give for a setting of a type, NumPy's numbers included, and what that is called.
_TYPES = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: ((bool, np.bool_), "True or False"),
    str: (str, "text"),
}


def flag(name: str, settings: Any = None) -> str:
    """Return a setting's name as the command line has it; of `settings`, one without a flag as Python has it."""
    full = getattr(settings, "PREFIX", "") + name
    kinds = {} if settings is None else {field.name: field.type for field in fields(settings)}
    if Suppress in getattr(kinds.get(name), "__metadata__", ()):
        return full
    return f"--{full.replace('_', '-')}"

"""What settings check of themselves when they are made: UsageError says which one is wrong, and how it must be."""

import math
from dataclasses import fields
from typing import Any

from tyro.conf import Suppress

from pfvit.errors import UsageError


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


def flag(name: str, settings: Any = None) -> str:
    """Return a setting's name as the command line has it; of `settings`, one without a flag as Python has it."""
    full = getattr(settings, "PREFIX", "") + name
    kinds = {} if settings is None else {field.name: field.type for field in fields(settings)}
    if Suppress in getattr(kinds.get(name), "__metadata__", ()):
        return full
    return f"--{full.replace('_', '-')}"

"""What settings check of themselves when they are made: UsageError says which one is wrong, and how it must be."""

import math

from pfvit.errors import UsageError


def at_least(least: float, settings: object, *names: str) -> None:
    """Refuse what is smaller than `least`, or no number; None means that a setting was not given."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise UsageError(f"{flag(name)} must be {least} or more, not {value}")


def within(low: float, high: float, settings: object, *names: str) -> None:
    """Refuse what does not lie from `low` to `high`."""
    for name in names:
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UsageError(f"{flag(name)} must be from {low} to {high}, not {value}")


def flag(name: str) -> str:
    """Return a setting's name as the command line has it."""
    return f"--{name.replace('_', '-')}"

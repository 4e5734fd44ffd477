"""The docstrings of settings, as `pfvit VERB --help` shows them."""

from dataclasses import Field, fields, is_dataclass
from types import MappingProxyType
from typing import Any, cast


def unwrap(settings: type) -> None:
    """Make each setting's docstring one paragraph, also in settings within settings.

    tyro keeps the line breaks of docstrings whose next line is indented, wherever the lines of the terminal end. It
    prefers `help` in a field's metadata to the docstring.
    """
    from docstring_parser import parse_from_object  # tyro's, and only needed for help

    texts: dict[str, str] = {}
    for base in reversed(settings.__mro__[:-1]):
        texts |= {one.arg_name: one.description or "" for one in parse_from_object(base).params}
    for field in cast("tuple[Field[Any], ...]", fields(settings)):
        if text := " ".join(texts.get(field.name, "").split()):
            field.metadata = MappingProxyType({**field.metadata, "help": text})
        if isinstance(field.type, type) and is_dataclass(field.type):
            unwrap(field.type)

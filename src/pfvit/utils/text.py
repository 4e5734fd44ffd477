"""Text that terminals, tables and other programs take, and JSON that others wrote."""

import json
from collections.abc import Iterable
from typing import Any

#: Characters of an error message; more are a file's content.
LONGEST_MESSAGE = 4000
LONGEST_NAME, MOST_NAMES = 60, 30  # of names in a message


def utf8(text: str) -> str:
    """Return text that can be encoded as UTF-8.

    File names may hold bytes that are no UTF-8; Python keeps them as lone surrogates, which JSON readers and tables
    refuse. They become escapes: `b"caf\\xe9.jpg"` gives `caf\\\\xe9.jpg`.
    """
    if text.isascii():
        return text
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def counted(number: int, what: str, one: str = "", several: str = "") -> str:
    """Return `1 frame` or `2 frames`, with a verb of each number behind it if given."""
    verb = one if number == 1 else several
    return f"{number} {what}{'' if number == 1 else 's'}{' ' if verb else ''}{verb}"


def shortened(words: Iterable[str]) -> str:
    """Return names of columns, parts or folders, for a message: a few, with the ends of long ones left out."""
    shown = [word if len(word) <= LONGEST_NAME else f"{word[:LONGEST_NAME]}..." for word in words]
    return ", ".join([*shown[:MOST_NAMES], *(["..."] if len(shown) > MOST_NAMES else [])])


def parsed(text: str | bytes) -> Any:
    """Return what JSON says; ValueError for anything else, brackets within brackets without end included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its brackets lie too deep in each other") from None


def printable(text: str) -> str:
    """Return text that any terminal takes: as UTF-8, with control characters written as escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in utf8(text))


def message(text: str) -> str:
    """Return an error's lines for a terminal: control characters as escapes, and the middle of a long one left out.

    Names of columns and classes come from files, which may have millions of them.
    """
    text = "\n".join(printable(line) for line in text.split("\n"))
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:2000]} ... {text[-1000:]}"

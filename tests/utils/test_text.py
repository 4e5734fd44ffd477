"""Names that any terminal, table and JSON reader takes."""

import json
import os

import pytest

from pfvit.utils.text import message, printable, utf8


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain.jpg", "plain.jpg"),
        ("日本語.jpg", "日本語.jpg"),
        (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),
        (os.fsdecode("é".encode() + b"\xff"), r"é\xff"),
        ("\ud83d alone", r"\ud83d alone"),
    ],
)
def test_text_becomes_utf8_and_says_which_bytes_there_were(text, told):
    assert utf8(text) == told
    assert json.loads(json.dumps(utf8(text)).encode()) == told


def test_control_characters_are_shown():
    assert printable("a\nb\x1b[2Jc") == r"a\nb\x1b[2Jc"


def test_a_message_says_what_a_file_holds_without_obeying_it():
    assert message("classes: \x1b[31mred\x07,\n  two") == "classes: \\x1b[31mred\\x07,\n  two"
    long = message("columns " + ", ".join(map(str, range(1_000_000))) + ": name one")
    assert len(long) < 4000 and long.startswith("columns 0, 1,") and long.endswith("999999: name one")

"""Names that any terminal, table and JSON reader takes."""

import json
import os

import pytest

from pfvit.utils.text import printable, utf8


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

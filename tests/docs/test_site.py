"""The site of `make docs` builds without a warning and asks no other host for anything."""

import re
import subprocess
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import ROOT

if find_spec("zensical") is None:
    pytest.skip('no Zensical: pip install "pfvit[docs]"', allow_module_level=True)

SITE = ROOT / "site"
#: What a browser fetches by itself when it shows a page.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    done = subprocess.run([ROOT / "scripts" / "docs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(SITE.rglob("*.html"))


class Fetches(HTMLParser):
    """Collects what a page fetches, and whether it holds a diagram, which the theme would draw with a script from a
    content delivery network."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.diagrams = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in FETCHED and (address := values.get(FETCHED[tag])):
            self.addresses.append(address)
        self.diagrams += "mermaid" in (values.get("class") or "")


def test_pages_fetch_nothing_from_other_hosts(pages):
    assert len(pages) > 15
    for page in pages:
        found = Fetches()
        found.feed(page.read_text())
        outside = [address for address in found.addresses if re.match(r"(\w+:)?//", address)]
        assert not outside and not found.diagrams, f"{page}: {outside}"
        for address in found.addresses:
            if not address.startswith(("data:", "/")):
                assert (page.parent / address.partition("#")[0].partition("?")[0]).exists(), f"{page}: {address}"


def test_style_sheets_fetch_nothing_from_other_hosts(pages):
    for sheet in SITE.rglob("*.css"):
        assert not re.search(r"url\([\"']?(\w+:)?//|@import", sheet.read_text()), sheet


def test_docstrings_are_shown(pages):
    text = (SITE / "python-api" / "index.html").read_text()
    assert "Return the crop with this share of its expression removed" in text and "pfvit.inference.reader.read" in text

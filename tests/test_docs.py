"""The README's examples run as they stand, and its commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from pfvit.__main__ import VERBS
from pfvit.weights import SHIPPED

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        found += [(page.name, code) for code in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]
    return found


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no weights are shipped in this tree")
@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_examples_run(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes((ROOT / "assets" / "astronaut.jpg").read_bytes())
    exec(compile(code, page, "exec"), {})


@pytest.mark.parametrize(("page", "code"), blocks("sh"))
def test_commands_in_the_pages_exist(page, code):
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["pfvit"]:
            assert words[1] in VERBS, line
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        for word in words:
            if word.startswith(("experiments/", "benchmarks/", "scripts/")) and word.endswith((".sh", ".py")):
                assert (ROOT / word).is_file(), line


def test_sections_of_the_paper_s_page_that_the_code_cites_are_there():
    there = set(re.findall(r'<a id="s([0-9-]+)"></a>', (ROOT / "docs" / "paper.md").read_text()))
    cited: set[str] = set()
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for found in re.findall(
            r"docs/paper\.md, (?:sections? )?((?:[0-9.]*[0-9](?:, | and | to )?)+)", file.read_text()
        ):
            cited |= {number.replace(".", "-") for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", found)}
    assert len(cited) > 8 and cited <= there, cited - there


def test_pages_show_pictures_that_are_there():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)|src=\"([^\":]+)\"", page.read_text()):
            path = next(filter(None, target))
            assert (page.parent / path).exists(), f"{page.name}: {path}"

"""Every code block of the README and of docs/ runs, or is held against the real command line; links lead somewhere."""

import ast
import os
import re

import pytest
import yaml
from pages import BLOCKS, LANGUAGES, PAGES, ROOT, prose, sandbox
from shell import VERBS, cheap, check, flags_of, flags_of_scripts, lines, makefile_targets, run
from test_architecture import FILES, ORDER, SOURCE

from pfvit import __version__
from pfvit.config.recipes import PHOTO, RECIPES

PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
#: Tested elsewhere, with what they need: a server that answers (test_serving.py), and what they leave behind
#: (test_extending.py).
ELSEWHERE = ("docs/serving.md", "docs/extending.md")
MOST_WORDS = 900
#: Flags of other programs that the pages name.
OTHERS_FLAGS = {"--constraint", "--data-binary", "--editable", "--local-addr", "--max-restarts", "--requeue",
                "--standalone", "--norm_pix_loss", "--ntasks", "--ntasks-per-node", "--signal"}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(sandbox(tmp_path))
    return tmp_path


def test_every_block_says_what_it_is():
    assert len(PYTHON) > 15 and len(SHELL) > 25
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block}: {block.language or 'no language'} is none of {LANGUAGES}"


@pytest.mark.parametrize("block", [block for block in PYTHON if block.page not in ELSEWHERE], ids=str)
def test_python_blocks_run(block, folder):
    exec(compile(block.code, str(block), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_blocks_exist_as_shown(block):
    for line in lines(block.code):
        check(line)


@pytest.mark.parametrize("page", sorted({block.page for block in SHELL if cheap(block.code)}))
def test_cheap_commands_run(page, folder, capfd):
    """Those of one page run one after another in one folder, as a reader would type them."""
    for block in SHELL:
        if block.page == page:
            for line in cheap(block.code):
                assert run(line) == 0, f"{block}: {line}\n{capfd.readouterr().err}"


def test_the_manifest_is_yaml_and_of_this_version():
    (block,) = (block for block in BLOCKS if block.language == "yaml")
    deployment, service = yaml.safe_load_all(block.code)
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{__version__}")
    check(f"pfvit serve {' '.join(container['args'])}")


def test_training_is_among_the_commands_that_run():
    words = {line.split()[1] for block in SHELL if block.page == "docs/training.md" for line in cheap(block.code)}
    assert words == {"pretrain", "train", "export", "predict"}


def test_flags_in_the_text_exist():
    known = set.union(flags_of_scripts(), OTHERS_FLAGS, *(flags_of(verb) for verb in VERBS))
    for page in PAGES:
        if page.name in ("CHANGELOG.md", "lab-book.md"):  # they tell of flags that are gone
            continue
        for code in re.findall(r"`([^`\n]+)`", prose(page)):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9_.-]*[a-z0-9]", code):
                assert flag in known, f"{page.name}: `{code}` has a flag that does not exist"


def test_the_sections_of_the_command_line_name_their_own_flags():
    page = (ROOT / "docs" / "cli.md").read_text()
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(VERBS) <= set(sections)
    for verb in VERBS:
        assert "Exit status" in sections[verb], f"{verb} has no exit status"
        for code in re.findall(r"`(--[a-z][a-z0-9.-]*)", re.sub(r"```.*?```", "", sections[verb], flags=re.DOTALL)):
            assert code in flags_of(verb), f"{verb} has no {code}"


def slug(heading: str) -> str:
    plain = re.sub(r"`|\*|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    documented = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r'<a id="([^"]+)"', text)) | set(documented)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", prose(page)):
        path, _, anchor = next(filter(None, target)).partition("#")
        if path.startswith(("http://", "https://")):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {path} is not there"
        if page.parent == ROOT / "docs":
            assert there.parent in (page.parent, page.parent / "images"), f"{page.name}: {path} is not in the site"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{page.name}: {path} has no {anchor}"


def test_the_site_has_every_page():
    shown = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert shown == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_files_that_the_pages_name_are_there():
    for page in PAGES:
        if page.name in ("CHANGELOG.md", "lab-book.md"):
            continue
        for name in re.findall(
            r"`(?:python )?((?:src|tests|scripts|benchmarks|experiments|docs)/[\w./-]+)", prose(page)
        ):
            assert (ROOT / name.rstrip(".")).exists(), f"{page.name}: {name} is not there"


def test_sections_of_the_paper_s_page_that_the_code_cites_are_there():
    there = set(re.findall(r'<a id="s([0-9-]+)"></a>', (ROOT / "docs" / "paper.md").read_text()))
    cited: set[str] = set()
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for found in re.findall(
            r"docs/paper\.md, (?:sections? )?((?:[0-9.]*[0-9](?:, | and | to )?)+)", file.read_text()
        ):
            cited |= {number.replace(".", "-") for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", found)}
    assert len(cited) > 8 and cited <= there, cited - there


def test_the_readme_is_short():
    words = (ROOT / "README.md").read_text().split()
    assert len(words) <= MOST_WORDS, f"{len(words)} words"
    assert (ROOT / "README.md").read_text().count("<!-- results -->") == 2


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_import_table_is_the_tested_one():
    table = ARCHITECTURE.split("<!-- order -->")[1]
    rows = [set(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| \d+ \|(.*)\|$", table, re.MULTILINE)]
    assert rows == [set(row) for row in ORDER]


def names_in(module: str) -> set[str]:
    """Return the functions and classes of a file, and the methods as Class.method."""
    found = set()
    for node in ast.parse(FILES[module].read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_the_walks_name_functions_that_are_there():
    """`folder/file.py`: `name` says where a function is; other names in the walks are somewhere in the package."""
    everywhere = set().union(*map(names_in, FILES))
    walks = ARCHITECTURE[ARCHITECTURE.index("## The walk of a photo") :]
    pairs = re.findall(r"`((?:\w+/)*\w+)\.py`: `([\w.]+)`", walks)
    assert len(pairs) > 30
    for file, name in pairs:
        assert name in names_in(file.replace("/", ".")), f"{file}.py has no {name}"
    for name in re.findall(r"`([A-Za-z_][\w.]*)`", walks):
        if not name.endswith(".py") and name not in VERBS:
            assert name in everywhere, f"there is no {name}"


def test_folders_of_the_package_are_explained():
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    explained = set(re.findall(r"`(\w+)/`", ARCHITECTURE.split("## Who may import whom")[0]))
    assert folders <= explained, folders - explained


def test_the_citation_names_this_version_and_no_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == "MIT"
    assert citation["references"][0]["notes"] == "arXiv:2207.11081"


def test_the_hook_runs_what_make_runs():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert hook["entry"] == "make check" and "check" in makefile_targets()
    for script in ("check", "docs", "test"):
        assert os.access(ROOT / "scripts" / script, os.X_OK)


def test_recipes_are_told_as_they_are():
    table = (ROOT / "docs" / "recipes.md").read_text()
    rows = {
        row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \| ([\d.]+), [^|]*\|$", table, re.MULTILINE)
    }
    recipes = {**RECIPES, "photo": PHOTO}
    assert set(rows) == set(recipes)
    for name, recipe in recipes.items():
        expected, hours = rows[name]
        assert recipe.expected.startswith(expected), f"{name}: expected {recipe.expected}"
        assert float(hours) == recipe.hours, f"{name}: {recipe.hours} hours"

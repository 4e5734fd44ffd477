"""Shell lines of the pages: each is held against the real command line, and the cheap ones are run."""

import contextlib
import io
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

from conftest import pfvit
from pages import ROOT

from pfvit.__main__ import VERBS, main, parse

#: Verbs that are run wherever they are shown, and the preset that is trained where it is shown.
READING = {"predict", "poker", "info"}
SMALL_PRESET = "nano"
#: Commands of other people's, shown as they are.
OTHERS = {"docker", "git", "pre-commit", "pytest", "python", "serve"}


def lines(code: str) -> list[str]:
    """Return the commands of a block, without comments; one that goes on after a backslash is one."""
    joined = code.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s)#.*", "", one).strip() for one in joined) if line]


def check(line: str) -> None:
    """Refuse a command that does not exist as it is shown: a verb, a flag, a target, a file, an extra."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # settings of the environment
        words.pop(0)
    if "|" in words:
        words = words[words.index("|") + 1 :]
    program = words[0]
    if program == "pfvit":
        check_verb(words[1:])
    elif program in ("torchrun", "python") and "pfvit" in words:
        assert words[words.index("pfvit") - 1] == "-m", line
        check_verb(words[words.index("pfvit") + 1 :])
    elif program == "python" and words[1] != "-m":
        check_script(words[1], words[2:])
    elif program == "make":
        for word in words[1:]:
            assert "=" in word or word in makefile_targets(), f"make {word}: there is no such target"
    elif program == "pip":
        check_extras(line)
    elif program.startswith(("scripts/", "experiments/", "benchmarks/")):
        check_script(program, words[1:])
    else:
        assert program in OTHERS, f"{line}: no test knows {program}"


def check_verb(words: list[str]) -> None:
    """Parse the words as the command line does, up to the point where the verb would begin."""
    if words[0] in ("--help", "--version"):
        return
    assert words[0] in VERBS, f"there is no verb {words[0]}"
    if "--help" not in words:
        try:
            parse(words[0], words[1:])
        except SystemExit as refused:
            raise AssertionError(f"pfvit {shlex.join(words)} is refused with status {refused.code}") from None


def check_script(name: str, words: list[str]) -> None:
    path = ROOT / name
    assert path.is_file(), f"{name} is not there"
    text = path.read_text()
    for flag in (word for word in words if word.startswith("--")):
        assert f'"{flag}"' in text, f"{name} has no {flag}"


def check_extras(line: str) -> None:
    named = {extra for found in re.findall(r"\[([a-z,]+)\]", line) for extra in found.split(",")}
    assert named <= extras(), f"{line}: there is no extra {named - extras()}"


def cheap(code: str) -> list[str]:
    """Return the commands of a block that are run: those that read, and all of a block that trains the small preset."""
    commands = [line for line in lines(code) if line.startswith("pfvit ") and "|" not in line and "--help" not in line]
    if any(line.split()[1:3] == ["train", SMALL_PRESET] for line in commands):
        return commands
    return [line for line in commands if line.split()[1] in READING and "--weights" not in line]


def run(line: str) -> int:
    """Run a line of `pfvit` and return its exit status: in this process, but for what the checks of shapes disturb."""
    words = shlex.split(line)[1:]
    if words[0] == "export":  # torch cannot trace functions whose annotations are checked
        return pfvit(*words).returncode
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


@cache
def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def extras() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def flags_of(verb: str) -> set[str]:
    """Return every flag that a verb's help shows."""
    shown = io.StringIO()
    words = [SMALL_PRESET, "--help"] if VERBS[verb].presets else ["--help"]
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        parse(verb, words)
    return set(re.findall(r"--[a-z][a-z0-9.-]*", shown.getvalue()))


def flags_of_scripts() -> set[str]:
    """Return every flag of the scripts that are no part of the package."""
    found: set[str] = set()
    for folder in ("benchmarks", "experiments"):
        for path in sorted(Path(ROOT, folder).glob("*.py")):
            found |= set(re.findall(r'"(--[a-z][a-z0-9-]*)"', path.read_text()))
    return found

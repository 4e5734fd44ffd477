"""`pfvit` itself: its verbs, their help without extras, exit status, signals, and a stdout that takes no more."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import fake_weights
import numpy as np
import pytest
from conftest import inside, pfvit, png

from pfvit import __version__
from pfvit.__main__ import EXTRAS, FIRST_FLAGS, VERBS, main


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "weights").mkdir()
    return fake_weights.write(tmp_path / "weights")


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").write_bytes(png(np.full((20, 20, 3), number, np.uint8)))
    return folder


def test_the_list_of_verbs_says_what_needs_which_extra(capsys):
    done = inside(capsys, "--help")
    assert done.returncode == 0
    for name, verb in VERBS.items():
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"  {name} "))
        assert verb.summary in line and line.endswith(f"[{verb.extra}]") == bool(verb.extra)
    assert inside(capsys, "--version").stdout.strip() == __version__
    assert (inside(capsys).returncode, inside(capsys, "divine").returncode) == (2, 2)


def test_a_wrong_verb_is_told_what_it_may_have_been_meant_as(capsys, tmp_path):
    photo = tmp_path / "my photo.jpg"
    photo.touch()
    for word, told in (
        ("predct", "pfvit: there is no verb 'predct'; did you mean predict?"),
        (str(photo), f"pfvit: there is no verb '{photo}': to read it, write pfvit predict '{photo}'"),
        ("divine", "pfvit: there is no verb 'divine'"),
    ):
        done = inside(capsys, word)
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, told)


@pytest.fixture(scope="module")
def help_without_extras() -> dict[str, list]:
    """Status and text of each verb's help in a process that can import nothing of any extra."""
    code = f"""
import contextlib, io, json, sys
from importlib.abc import MetaPathFinder
class Bare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set.union(*EXTRAS.values())!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Bare())
from pfvit.__main__ import VERBS, main
told = {{}}
for name in VERBS:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            status = main([name, "--help"])
        except SystemExit as end:
            status = end.code
    told[name] = [status, out.getvalue()]
print(json.dumps(told))
"""
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", VERBS)
def test_help_needs_no_extra_and_shows_how_to_begin(name, help_without_extras):
    status, told = help_without_extras[name]
    assert status == 0 and f"pfvit {name}" in told.splitlines()[0]
    assert all(f"  {example}\n" in told for example in VERBS[name].examples)
    assert (f'pip install "pfvit[{VERBS[name].extra}]"' in told) == bool(VERBS[name].extra)
    assert "(default: )" not in " ".join(told.replace("│", " ").split()), "an empty default says nothing"
    if not VERBS[name].presets:  # types as a person reads them
        assert "{None}" not in told and "STR" not in told.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "begin", "end"),
    [
        ("video", "How thoroughly to search", "many times as long."),
        ("train nano", "What labels 0, 1, 2", "if not given."),
        ("train nano", "How emotion and residue are separated", "none."),  # of settings within settings
    ],
)
def test_lines_of_help_end_where_the_terminal_ends(words, begin, end, capsys, monkeypatch):
    """Not where those of the source do."""
    monkeypatch.setenv("COLUMNS", "500")
    (line,) = (line for line in inside(capsys, *words.split(), "--help").stdout.splitlines() if begin in line)
    assert end in line


def test_the_flags_of_training_that_matter_come_first_on_one_screen(help_without_extras):
    told = help_without_extras["train"][1]
    places = [told.index(f"\n  --{flag} ") for flag in FIRST_FLAGS]
    assert len(places) == 7 and places == sorted(places) and places[-1] < told.index("subcommands")
    assert len(told.splitlines()) < 50
    assert not {"--validation", "--best"} & {*help_without_extras["pretrain"][1].split()}


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if not verb.presets])
def test_the_examples_are_settings_that_can_be(name):
    from pfvit.__main__ import parse

    for example in VERBS[name].examples:
        assert parse(name, shlex.split(example)[2:]) is not None


def test_what_is_wrong_with_the_command_line_is_told_before_anything_is_opened(capsys, tmp_path):
    for words, why in (
        (["predict"], "name at least one picture"),
        (["predict", "a.jpg", "--top", 0], "--top must be 1 or more, not 0"),
        (["poker", "a.jpg", "--out", tmp_path, "--strength", "nan"], "--strength must be from -1 to 1"),
        (["evaluate", "--data", "a.parquet", "--order", "mine"], "--order must be one of"),
        (["evaluate", "--data", "a.parquet", "--merge", "joy=fear"], "--merge takes EMOTION=EMOTION"),
        (["evaluate", "--data", "a.parquet", "--merge", "contempt=disgust"], "give --cross too"),
        (["evaluate", "--data", "a.parquet", "--cross", "b", "--robustness"], "--cross measures recognition alone"),
        (["train", "--data", "a.parquet", "--out", tmp_path], "name a preset first, as in pfvit train small-conv"),
        (["pretrain", "nanoo", "--data", "a.parquet"], "there is no preset 'nanoo'; choose from compact"),
        (["train", "nano", "--epoch", 1], "pfvit train nano --help"),
        (["prepare", "rafdb", "a", "b", "--held-out", 1], "--held-out is a share between 0 and 1"),
        (["serve", "--port", 70000], "--port must be from 0 to 65535"),
        (["serve", "--limits.images", 0], "--limits.images must be more than 0"),
        (["batch", "a.jpg", "--out", tmp_path, "--rows", 0], "--rows must be 1 or more"),
        (["video", "a.mp4", "--out", tmp_path, "--min-score", 2], "--min-score must be from 0 to 1"),
    ):
        done = inside(capsys, *words)
        assert (done.returncode, done.stdout) == (2, "") and why in done.stderr, (words, done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(("name", "more"), [("", ["--json"]), ("", []), ("1.png", ["--json"])])
def test_a_full_disk_behind_stdout_is_told(name, more, photos, weights):
    words = [sys.executable, "-m", "pfvit", "predict", photos / name, "--whole", "--weights", weights, *more]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "pfvit predict: standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["predict", "--help"]])
def test_a_full_disk_behind_the_help_is_told(words):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "pfvit", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert f"pfvit {words[0]}: standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_process_that_is_started_with_a_closed_stream(closed, photos, weights):
    words = [sys.executable, "-m", "pfvit", "predict", str(photos / "1.png"), "--whole", "--weights", str(weights)]
    done = subprocess.run(f"{shlex.join(words)} {closed}", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert ("1.png" in done.stdout) == (closed == "2>&-")


def test_standard_input_that_is_closed_or_empty(weights):
    words = [sys.executable, "-m", "pfvit", "predict", "-", "--weights", str(weights)]
    for closed in ("<&-", "</dev/null"):
        done = subprocess.run(f"{shlex.join(words)} {closed}", shell=True, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, "standard input is empty\n")


def test_a_file_whose_name_begins_with_a_dash(photos, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-face.png").write_bytes((photos / "1.png").read_bytes())
    with pytest.raises(SystemExit):
        main(["predict", "-face.png"])
    assert "-face.png is a file whose name begins as an option does: write ./-face.png" in capsys.readouterr().err
    assert main(["predict", "./-face.png", "--whole", "--weights", str(weights)]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
def test_a_request_to_end_cleans_up_as_ctrl_c_does(photos, weights, tmp_path):
    words = ["predict", photos, "--weights", weights, "--output", tmp_path / "out.csv", "--whole"]
    # It stops itself in the middle of the pictures: a signal from here could come before or after.
    code = (
        "import os, signal, sys; from pfvit.__main__ import run; from pfvit.inference.reader import Reader; "
        "read = Reader.read_found; "
        "Reader.read_found = lambda *a: (os.kill(os.getpid(), signal.SIGTERM), read(*a))[1]; "
        f"sys.argv[1:] = {list(map(str, words))!r}; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert done.stderr.splitlines()[-1] == "stopped" and "Traceback" not in done.stderr
    assert (tmp_path / "out.csv.part").exists() and not (tmp_path / "out.csv").exists()
    assert pfvit(*words, "--resume").returncode == 0


def test_main_can_be_called_in_a_thread(photos, weights, capsys):
    from concurrent.futures import ThreadPoolExecutor

    words = ["predict", str(photos), "--whole", "--json", "--weights", str(weights)]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, words).result() == 0
    assert len(capsys.readouterr().out.splitlines()) == 40

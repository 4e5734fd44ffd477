"""Files that are whole or not there, whatever goes wrong while they are written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pfvit.errors import InputError, OutputError
from pfvit.utils.files import atomic_write, held, lock


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path, durable=True) as new:
        new.write_text("new")
        assert path.read_text() == "old" and new.suffix == ".txt" and new.name.startswith(".")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), ZeroDivisionError(), OSError(errno.ENOSPC, "no room")])
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(problem, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = OutputError if isinstance(problem, OSError) else type(problem)
    with pytest.raises(expected), atomic_write(path) as new:
        new.write_text("half")
        raise problem
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_takes_nothing_is_told_without_a_second_error(tmp_path, monkeypatch):
    """On a read-only disk the part cannot be removed either: that must not hide what happened."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OutputError) as told, atomic_write(tmp_path / "a.txt") as new:
        new.write_text("")
    assert str(told.value) == f"{tmp_path / 'a.txt'} cannot be written: Read-only file system"
    with pytest.raises(OutputError, match=r"cannot be written \(Read-only file system\): try"):  # noqa: SIM117
        with atomic_write(tmp_path / "a.txt", remedy=": try another folder") as new:
            new.write_text("")


def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os; from pathlib import Path; from pfvit.utils.files import atomic_write\n"
        f"with atomic_write(Path({str(path)!r})) as new: new.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 9
    half = next(tmp_path.glob(".a.part-*-*.txt"))
    assert path.read_text() == "old" and half.read_text() == "half"
    if os.name != "posix":  # where only its age tells that nobody writes it any more
        os.utime(half, (0, 0))
    with atomic_write(tmp_path / "b.txt") as new:
        new.write_text("new")
    assert not half.exists() and sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_several_processes_write_one_file_and_each_writes_its_own_half(tmp_path):
    path = tmp_path / "a.txt"
    code = (
        "import sys; from pathlib import Path; from pfvit.utils.files import atomic_write\n"
        f"with atomic_write(Path({str(path)!r})) as new:\n"
        " new.write_text('other'); print('begun', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        half = next(tmp_path.glob(".a.part-*.txt"))
        with atomic_write(path) as new:
            new.write_text("mine")
        assert path.read_text() == "mine" and half.read_text() == "other", "a process that writes is left alone"
        other.communicate("")
    assert other.returncode == 0 and path.read_text() == "other" and list(tmp_path.iterdir()) == [path]


def test_only_what_nobody_writes_any_more_goes(tmp_path):
    kept = [".a.part-0123abcd-1.png", ".a.part.png", "a.part-0123abcd-1.png", ".part-0123abcd-1", ".a.part-x-1.png"]
    for name in [*kept, ".b.part-0123abcd-1.png"]:
        (tmp_path / name).write_text("")
    for name in [*kept[1:], ".b.part-0123abcd-1.png"]:  # the first is written by another machine just now
        os.utime(tmp_path / name, (0, 0))
    with atomic_write(tmp_path / "c.txt") as new:
        new.write_text("")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*kept, "c.txt"])


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\U0001f642"])
def test_names_may_be_as_long_as_the_disk_takes_them(letter, tmp_path):
    path = tmp_path / f"{letter * (250 // len(os.fsencode(letter)))}.txt"
    with atomic_write(path) as new:
        new.write_text("")
    assert path.exists()


def test_one_lock_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    with (tmp_path / "lock").open("w") as one, (tmp_path / "lock").open("w") as other:
        lock(one, tmp_path)
        with pytest.raises(InputError, match="by another process"):
            lock(other, tmp_path)


def test_what_several_files_belong_to_is_written_by_one(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "new" / "a.onnx"
    with held(path):
        with pytest.raises(InputError, match=r"a\.onnx is being written by another process"), held(path):
            pass
        path.write_text("")
    with held(path):
        pass
    assert [file.name for file in path.parent.iterdir()] == ["a.onnx"]
    with pytest.raises(OutputError, match=r"b\.onnx cannot be written"), held(path / "b.onnx"):
        pass

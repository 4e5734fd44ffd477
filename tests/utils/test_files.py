"""Files that are whole or not there, whatever goes wrong while they are written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pfvit.errors import InputError, OutputError
from pfvit.utils.files import atomic_write, held, lock, unfinished


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
    assert path.read_text() == "old" and unfinished(path).read_text() == "half"
    with atomic_write(path) as new:
        new.write_text("new")
    assert path.read_text() == "new" and not unfinished(path).exists()


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

"""Runs lose nothing: they end when they are asked to, go on by their folder alone, and keep other processes off it."""

import errno
import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import forked
import pytest
from conftest import inside
from forked import Forked
from helpers import STAGES, lines

from pfvit.__main__ import parse
from pfvit.config import Hardware
from pfvit.errors import InputError, OutputError, UsageError
from pfvit.training import checkpoint, distributed, resume, signals
from pfvit.training.pretrainer import pretrain
from pfvit.training.run import keep_lines, span
from pfvit.training.trainer import train
from pfvit.utils import files


def begun(data: Path, out: Path, steps: int = 3) -> Forked:
    """A training in a process of its own, so many steps after its begin."""
    process = Forked(forked.train, (replace(STAGES["train"], data=(data,), out=out, epochs=2000),))
    log, end = out / "metrics.jsonl", time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        if log.exists() and log.read_text().count("\n") >= steps:
            return process
        time.sleep(0.02)
    raise AssertionError(process.kill().stderr)


@pytest.fixture(scope="module")
def short(made_up, tmp_path_factory):
    """A run of stage two that was stopped after its first step."""
    out = tmp_path_factory.mktemp("short") / "run"
    train(replace(STAGES["train"], data=(made_up,), out=out, minutes=1e-4))
    return out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_request_to_end_finishes_the_step_and_writes_a_checkpoint(name, made_up, tmp_path):
    process = begun(made_up, tmp_path / "run")
    number = getattr(signal, name)
    os.kill(process.pid, number)
    done = process.wait(120)
    said = done.stderr
    assert done.returncode in (128 + number, -number), said
    step = checkpoint.record_of(tmp_path / "run")["step"]
    assert step >= 3 and len(lines(tmp_path / "run")) == step, "no step is lost"
    assert f"go on with: pfvit train --resume {tmp_path / 'run'}" in said


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2", "SIGXCPU"])
def test_what_schedulers_and_closed_terminals_send_is_a_request_to_end(name):
    number = getattr(signal, name)
    with signals.noted() as requests:
        os.kill(os.getpid(), number)
        assert requests.number == number


def test_a_process_that_outlives_its_terminal_goes_on_when_that_is_closed():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.noted() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not requests.number
    finally:
        signal.signal(signal.SIGHUP, before)


def test_requests_are_noted_once_and_handlers_put_back():
    before = signal.getsignal(signal.SIGUSR1)
    with signals.noted() as requests:
        assert not requests.number
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert requests.number == signal.SIGUSR1
        os.kill(os.getpid(), signal.SIGINT)  # torchrun's, right after the person's own
        requests.since -= 60
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.parametrize(
    ("words", "run", "rest"),
    [
        ("--resume runs/a", "runs/a", []),
        ("--resume runs/a --minutes 5", "runs/a", ["--minutes", "5"]),
        ("nano --data x --out runs/a --resume", "runs/a", ["nano", "--data", "x", "--out", "runs/a"]),
        ("--resume nano --out runs/a", "runs/a", ["nano", "--out", "runs/a"]),
        ("--resume=runs/a --minutes=5", "runs/a", ["--minutes=5"]),
        ("--out=runs/a --resume", "runs/a", ["--out", "runs/a"]),
    ],
)
def test_which_run_is_to_go_on(words, run, rest):
    assert resume.words_of(words.split()) == (Path(run), rest)
    with pytest.raises(UsageError, match="--resume names no run: give its folder"):
        parse("train", ["nano", "--resume"])


def test_a_run_goes_on_by_its_folder_alone(short, made_up, tmp_path):
    whole = replace(STAGES["train"], data=(made_up,), out=short, resume=True)
    assert parse("train", ["--resume", str(short)]) == replace(
        whole, hardware=replace(whole.hardware, precision="32"), minutes=1e-4, model=replace(whole.model, classes=8)
    )
    assert parse("train", [f"--resume={short}"]) == parse("train", ["--resume", str(short / checkpoint.LAST)])
    config = parse("train", ["nano", "--data", str(tmp_path / "x"), "--out", str(short), "--resume", "--minutes", "3"])
    assert config.minutes == 3 and config.data == (tmp_path / "x",) and config.mixup == 0 and config.gan.batch == 8
    with pytest.raises(UsageError, match=r"is not of the preset compact, it has image_size 24 \(of the preset 48\)"):
        parse("train", ["compact", "--out", str(short), "--resume"])
    with pytest.raises(InputError, match="is a run of `pfvit train`, not of `pfvit pretrain`"):
        parse("pretrain", ["--resume", str(short)])
    with pytest.raises(UsageError, match="there is no checkpoint in it; name a run folder, or begin the run anew"):
        parse("train", ["--resume", str(tmp_path)])


def test_data_are_known_by_content_and_other_settings_are_refused_by_name(short, made_up, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    shutil.copy(made_up, tmp_path / "moved.parquet")
    again = replace(STAGES["train"], data=(tmp_path / "moved.parquet",), out=tmp_path / "run", resume=True, epochs=1.6)
    with pytest.raises(InputError, match=r"other settings: mixup 0\.0 -> 0\.5\. A run goes on with its own"):
        train(replace(again, mixup=0.5))
    again = replace(again, minutes=1e-4)
    train(replace(again, validation=(made_up,), lr=1e-4, hardware=replace(again.hardware, precision="auto")))
    record = checkpoint.record_of(tmp_path / "run")
    assert record["step"] == 2 and record["config"]["lr"] == 1e-4
    from conftest import write_faces

    other = write_faces(tmp_path / "other.parquet", 210, seed=9)
    with pytest.raises(InputError, match=r"was started on other data: moved\.parquet; .* --start"):
        train(replace(again, data=(other,), lr=1e-4))


def test_a_run_goes_on_from_another_folder_and_asks_for_data_that_moved(made_up, tmp_path, monkeypatch):
    shutil.copy(made_up, tmp_path / "faces.parquet")
    monkeypatch.chdir(tmp_path)
    train(replace(STAGES["train"], data=(Path("faces.parquet"),), out=Path("run"), minutes=1e-4))
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    config = parse("train", ["--resume", "../run"])
    assert config.data == (tmp_path / "faces.parquet",)
    train(config)
    assert checkpoint.record_of(Path("../run"))["step"] == 2
    (tmp_path / "faces.parquet").rename(tmp_path / "moved.parquet")
    with pytest.raises(InputError, match=r"not there; if the data have moved, say where they are: --resume \.\./run"):
        train(parse("train", ["--resume", "../run"]))


def test_a_damaged_checkpoint_says_how_to_go_on(short, tmp_path):
    shutil.copytree(short, tmp_path / "run")
    (tmp_path / "run" / checkpoint.LAST).write_bytes(b"")
    with pytest.raises(InputError, match=r"is empty; if it cannot be copied again, delete it: the run then begins"):
        parse("train", ["--resume", str(tmp_path / "run")])
    (tmp_path / "run" / "checkpoints").mkdir()
    whole = (short / checkpoint.LAST).read_bytes()
    (tmp_path / "run" / "checkpoints" / "0000001.safetensors").write_bytes(whole)
    (tmp_path / "run" / checkpoint.LAST).write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"is damaged: .*; copy .*/checkpoints/0000001\.safetensors over it"):
        parse("train", ["--resume", str(tmp_path / "run")])


def test_what_is_not_there_is_said_before_data_are_read(tmp_path):
    config = replace(STAGES["train"], data=(tmp_path / "none.parquet",), out=tmp_path / "run")
    for named in ({"start": tmp_path / "gone"}, {"teacher": (tmp_path / "gone",)}):
        with pytest.raises(InputError, match="gone is not there"):
            train(replace(config, **named))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file: choose another --out"):
        train(replace(config, out=tmp_path / "file"))


def test_a_folder_that_cannot_be_written_is_said_before_data_are_read(tmp_path, monkeypatch):
    def refuse(dir, **_):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    for out in (tmp_path, tmp_path / "new" / "run"):
        for name, run in (("train", train), ("pretrain", pretrain)):
            with pytest.raises(OutputError, match=rf"{re.escape(str(out))} cannot be written: Read-only file system"):
                run(replace(STAGES[name], data=(tmp_path / "none.parquet",), out=out))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        train(replace(STAGES["train"], data=(tmp_path / "none.parquet",), out=tmp_path / "file" / "run"))


def test_a_drive_without_locks_is_trusted(tmp_path, monkeypatch):
    def refuse(number):
        def flock(*_):
            raise OSError(number, "no")

        monkeypatch.setattr("fcntl.flock", flock)

    refuse(errno.ENOLCK)
    files.hold(tmp_path)
    refuse(errno.EWOULDBLOCK)
    with pytest.raises(InputError, match="is being written by another process"):
        files.hold(tmp_path)


def test_a_start_without_a_checkpoint_is_no_dead_end(made_up, tmp_path, capsys):
    out = tmp_path / "run"
    (out / "board").mkdir(parents=True)
    (out / "metrics.jsonl").write_text('{"step": 1}\n')
    config = replace(STAGES["train"], data=(made_up,), out=out, minutes=1e-4)
    train(config)
    assert "holds a start that got no checkpoint: the run begins anew" in capsys.readouterr().err
    assert len(lines(out)) == checkpoint.record_of(out)["step"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds other files, thesis\.tex among them"):
        train(replace(config, out=tmp_path / "mine"))
    with pytest.raises(InputError, match="exists and is not empty; --resume continues it"):
        train(config)


def test_two_runs_in_one_folder_are_refused(made_up, tmp_path):
    process = begun(made_up, tmp_path / "run")
    try:
        with pytest.raises(InputError, match="is being written by another process"):
            train(replace(STAGES["train"], data=(made_up,), out=tmp_path / "run"))
    finally:
        process.kill()


def test_a_torn_line_of_the_log_is_left_out(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(b'{"step": 1, "x": 2}\n\xff\xfe\n[]\n{"step": 9}\n{"step": 2}\n{"step": 3, "cl')
    keep_lines(log, 3)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2]


def test_advice_after_a_loss_that_is_not_finite_can_be_followed(made_up, tmp_path):
    config = replace(STAGES["train"], data=(made_up,), out=tmp_path / "run", lr=1e12, max_grad_norm=1e12)
    with pytest.raises(InputError, match=r"There is no checkpoint yet: give the same command with --lr 2e\+11") as said:
        train(config)
    assert len(str(said.value)) < 600, "not the names of all rows"
    train(replace(config, lr=0.01, max_grad_norm=2.0, minutes=1e-4))
    with pytest.raises(InputError, match=r"The checkpoint of step \d+ is whole: go on from it with --resume"):
        train(replace(config, resume=True, max_grad_norm=1e12))
    train(replace(config, lr=0.01, max_grad_norm=2.0, resume=True, minutes=1e-4))


def test_a_log_file_gets_lines_that_are_whole(made_up, tmp_path, capsys):
    words = ("train", "nano", "--data", made_up, "--out", tmp_path / "run", "--epochs", 0.5, "--log-every", 1)
    told = inside(capsys, *words).stderr
    told = [line for line in told.splitlines() if line.startswith("step ")]
    assert len(told) == 2 and told[0].startswith("step 1 of ") and told[-1].endswith("faces/s, 0 s left")
    assert all(", lr " in line for line in told)
    assert (span(8), span(130), span(6000), span(90000)) == ("8 s", "2 min", "1 h 40 min", "25 h 00 min")


SLURM = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NAME": "x.sh"}


def test_a_batch_script_without_srun_runs_what_is_asked_for(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert distributed.world(Hardware()) == (1, 1) and distributed.world(Hardware(devices=2)) == (2, 1)
    assert [type(one).__name__ for one in distributed.environment()] == ["LightningEnvironment"]
    assert distributed.make_fabric(Hardware(precision="32", threads=1)).world_size == 1


def test_srun_says_how_many_processes_there_are(monkeypatch):
    for name, value in (SLURM | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}).items():
        monkeypatch.setenv(name, value)
    assert distributed.world(Hardware()) == (4, 2) == distributed.world(Hardware(devices=4))
    with pytest.raises(UsageError, match=r"srun started 4 tasks a node and --hardware\.devices is 2"):
        distributed.world(Hardware(devices=2))


def test_devices_that_torchrun_does_not_start_are_told(monkeypatch, capsys):
    monkeypatch.setattr(distributed, "world", lambda hardware: (1, 1))
    assert distributed.make_fabric(Hardware(precision="32", threads=1, devices=2)).world_size == 1
    assert "torchrun started 1 process a node: --hardware.devices 2 is passed over" in capsys.readouterr().err
    distributed.make_fabric(Hardware(precision="32", threads=1))
    assert "passed over" not in capsys.readouterr().err


def test_numbers_that_nobody_gave_this_process_are_passed_over(monkeypatch, capsys):
    monkeypatch.delenv(distributed.OUR_PROCESS, raising=False)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "3")
    assert distributed.make_fabric(Hardware(precision="32", threads=1)).global_rank == 0
    said = capsys.readouterr().err
    assert "RANK, LOCAL_RANK, WORLD_SIZE: set, but neither torchrun nor srun started this process" in said


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    distributed.check_gpus(1)
    with pytest.raises(UsageError, match=r"2 processes need a GPU each, and this machine shows 1: take --hard"):
        distributed.check_gpus(2)


def test_little_shared_memory_is_told_before_it_crashes(monkeypatch):
    monkeypatch.setattr(distributed, "SHARED_BYTES", 1 << 60)
    with pytest.raises(UsageError, match=r"has \d+ MB free, too little for --hardware\.workers 2"):
        distributed.check_shared_memory(Hardware(workers=2))
    distributed.check_shared_memory(Hardware())

"""One command from one process to several: the same losses, in less memory, through a lost process, and what is said.

Processes talk over gloo on this machine. A convolutional stem is the documented exception: its batch norm sees each
process's share, so its losses differ a little from one process's.
"""

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import command, write_faces
from forked import LOOPBACK, ranks_of
from helpers import EXACT, STAGES, lines
from safetensors.torch import load_file

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.data.dataset import FaceDataset, Stream, read_all
from pfvit.data.face_batch import FaceBatch
from pfvit.data.locate import locate
from pfvit.errors import InputError, UsageError
from pfvit.training import checkpoint, distributed
from pfvit.training.distributed import check_share
from pfvit.training.loop import pieces
from pfvit.training.trainer import train

#: Of 16 faces each: the second pass over the 200 begins at the 13th.
STEPS = 14
PLAIN: dict[str, object] = {}
PIECES = {"accumulate": 2}
SHARDED = {"shard": True}
MUON = {"optimizer": "muon"}
ALL = SHARDED | PIECES | {"recompute": True}
RUNS = {
    1: {"plain": PLAIN, "less": PIECES | {"recompute": True}, "muon": MUON},
    2: {"plain": PLAIN, "shard": SHARDED, "all": ALL, "muon-all": MUON | ALL},
    4: {"plain": PLAIN},
}
#: The run of one process that each is to equal.
ONE = {(world, kind): "muon" if kind.startswith("muon") else "plain" for world, kinds in RUNS.items() for kind in kinds}
OTHERS = [(world, kind) for (world, kind), one in ONE.items() if (world, kind) != (1, one)]
#: Finished runs that are loaded and written again by: (processes, settings).
AGAIN = {"1-plain": (2, ALL), "2-all": (4, PLAIN)}


def torchrun(processes: int, *more: str) -> list[str]:
    # Without an address torchrun tells the ranks this machine's name, which need not resolve where tests run.
    where = ("--local-addr", "127.0.0.1", *(more if "--nnodes" in more else ("--standalone", *more)))
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *where]


def start(words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": LOOPBACK}
    return subprocess.Popen(
        words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )


def finish(processes: list[subprocess.Popen], seconds: float = 200) -> list[str]:
    """Return what each process said once all have ended; one that hangs is ended, and the rest with it."""
    try:
        return [process.communicate(timeout=seconds)[1] for process in processes]
    except subprocess.TimeoutExpired:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)  # the ranks as well, which hold the pipe
        told = [process.communicate()[1] for process in processes]
        raise AssertionError(f"no end after {seconds} s: {told}") from None


def trained(world: int, *configs: Pretrain | Train) -> str:
    """Train in so many processes and return what they said."""
    ended = [rank.wait() for rank in ranks_of(world, *configs)]
    told = "\n".join(rank.stderr for rank in ended)
    assert [rank.returncode for rank in ended] == [0] * world, told
    return told


def settings(stage: str, data: Path, out: Path, kind: dict[str, object], **more: object) -> Pretrain | Train:
    optimizer = {name: value for name, value in kind.items() if name == "optimizer"}
    hardware = {name: value for name, value in kind.items() if name != "optimizer"}
    given = {"hardware": replace(EXACT, **hardware), "epochs": STEPS * 16 / 200, **optimizer, **more}
    return replace(STAGES[stage], data=(data,), out=out, **given)


@pytest.fixture(scope="module")
def runs(made_up, tmp_path_factory) -> Path:
    """All of RUNS in both stages; each number of processes starts once and does its runs in turn.

    The processes of several are started as torchrun does, without its waiting for torch in each of them; torchrun
    itself is in the tests of lost processes and of nodes.
    """
    folder = tmp_path_factory.mktemp("scale")
    for world, kinds in RUNS.items():
        todo = [
            settings(stage, made_up, folder / f"{stage}-{world}-{name}", kind)
            for stage in STAGES
            for name, kind in kinds.items()
        ]
        for name, (other, kind) in AGAIN.items():
            if other == world:
                shutil.copytree(folder / f"train-{name}", folder / f"again-{name}")
                todo.append(settings("train", made_up, folder / f"again-{name}", kind, resume=True))
        (folder / f"{world}.txt").write_text(trained(world, *todo))
    return folder


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("world", "kind"), OTHERS)
def test_losses_are_those_of_one_process_on_the_joined_batch(world, kind, stage, runs):
    one, other = (lines(runs / f"{stage}-{name}") for name in (f"1-{ONE[world, kind]}", f"{world}-{kind}"))
    assert len(one) == len(other) == STEPS
    for expected, ours in zip(one, other, strict=True):
        assert ours == pytest.approx(expected, abs=1e-5, rel=0)


@pytest.mark.parametrize("stage", STAGES)
def test_muon_takes_other_steps(stage, runs):
    adamw, muon = (lines(runs / f"{stage}-1-{name}") for name in ("plain", "muon"))
    assert adamw[0] == muon[0] and adamw[-1] != muon[-1]


def test_sharded_processes_hold_a_share_and_clocks_are_logged(runs):
    told = (runs / "2.txt").read_text()
    shares = {tuple(line.split(" M weights")[0].split()[-3::2]) for line in told.splitlines() if " of 0." in line}
    assert shares and all(float(share) == pytest.approx(float(whole) / 2, rel=0.05) for share, whole in shares), told
    last = json.loads((runs / "train-2-plain" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["faces_per_second"] > 0 and 0 <= last["loading"] < 1
    assert last["straggler"] >= 1 and last["straggler_rank"] in (0, 1)


@pytest.mark.parametrize("name", AGAIN)
def test_a_checkpoint_loads_in_another_world_sharded_or_not(name, runs):
    before, after = (runs / f"{run}-{name}" / checkpoint.LAST for run in ("train", "again"))
    assert before.stat().st_mtime_ns < after.stat().st_mtime_ns, "it was not written again"
    before, after = load_file(before), load_file(after)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[tensor], after[tensor]) for tensor in before)


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
@pytest.mark.parametrize(("stage", "kind"), [("pretrain", "plain"), ("train", "shard")])
def test_a_rank_killed_is_replaced_and_the_run_ends_bitwise_as_unbroken(stage, kind, runs, made_up, tmp_path):
    config = settings(stage, made_up, tmp_path / "cut", RUNS[2][kind], checkpoint_minutes=1e-5)
    agent = start([*torchrun(2, "--max-restarts", "1"), *command(config)[1:]])
    log = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 3) and agent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(children(agent.pid)[1], signal.SIGKILL)
    told = finish([agent])[0]
    assert agent.returncode == 0, told
    assert "SIGKILL" in told or "exitcode: -9" in told, told
    whole, cut = (load_file(folder / checkpoint.LAST) for folder in (runs / f"{stage}-2-{kind}", tmp_path / "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert lines(runs / f"{stage}-2-{kind}") == lines(tmp_path / "cut")


def test_two_nodes_do_what_one_process_does(runs, made_up, tmp_path):
    script = command(settings("pretrain", made_up, tmp_path / "run", PLAIN))[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    node = torchrun(1, "--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-id", "faces", "--rdzv-endpoint", where)
    nodes = [start([*node, *script]) for _ in range(2)]
    told = finish(nodes)
    assert [node.returncode for node in nodes] == [0, 0], told
    for ours, expected in zip(lines(tmp_path / "run"), lines(runs / "pretrain-1-plain"), strict=True):
        assert ours == pytest.approx(expected, abs=1e-5, rel=0)


@pytest.mark.parametrize("in_a_group", [True, False])
def test_a_process_of_a_group_ends_before_the_interpreter_shuts_down(in_a_group, tmp_path):
    join = f"torch.distributed.init_process_group('gloo', init_method='file://{tmp_path}/store', rank=0, world_size=1)"
    words = (
        "import atexit, sys, torch; atexit.register(print, 'shut down'); "
        f"from pfvit.training import distributed; {join if in_a_group else 'pass'}; "
        "distributed.leave_at_exit(); print('said'); distributed.end_process(3); sys.exit(4)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == ((3, "said\n") if in_a_group else (4, "said\nshut down\n")), done.stderr


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_the_verbs_end_the_process_after_training(verb, monkeypatch):
    called = []
    module = importlib.import_module(f"pfvit.commands.{verb}")
    monkeypatch.setattr(getattr(module, f"{verb}er" if verb == "pretrain" else "trainer"), verb, called.append)
    monkeypatch.setattr(distributed, "end_process", lambda: called.append("ended"))
    getattr(module, verb)("settings")
    assert called == ["settings", "ended"]


def test_a_restart_resumes_only_where_there_is_something(tmp_path, monkeypatch):
    config = Pretrain(data=(tmp_path,), out=tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert distributed.restarted() and not distributed.auto_resume(config).resume
    (tmp_path / checkpoint.LAST).touch()
    assert distributed.auto_resume(config).resume
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not distributed.auto_resume(config).resume
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert distributed.auto_resume(config).resume


def test_pieces_are_the_shares_of_as_many_processes(made_up):
    faces = FaceDataset([made_up])
    whole = next(iter(Stream(faces, 16, 24, 1, seed=0)))
    for rank, piece in enumerate(pieces(whole, 4)):
        share: FaceBatch = next(iter(Stream(faces, 16, 24, 1, seed=0, rank=rank, world=4)))
        assert share.name == piece.name and share.place == piece.place and torch.equal(share.image, piece.image)


def test_shares_that_are_not_even_are_refused_with_a_remedy(made_up, tmp_path):
    with pytest.raises(InputError, match=r"--batch 64 cannot be shared evenly by 3 processes.*take --batch 63"):
        check_share(64, 3, 1, "--batch")
    with pytest.raises(UsageError, match=r"gan\.batch 6 cannot be shared evenly"):
        train(Train(data=(made_up,), out=tmp_path / "x", batch=16, gan=Gan(batch=6), hardware=Hardware(accumulate=4)))
    assert not (tmp_path / "x").exists()


def test_torchrun_says_how_many_processes_there_are(monkeypatch):
    assert distributed.world(Hardware(devices=3)) == (3, 1)
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "12")
    assert distributed.world(Hardware()) == (4, 3)


def test_damaged_shards_are_named_with_a_remedy(tmp_path):
    whole = write_faces(tmp_path / "whole.parquet", 64, group=32)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cut\.parquet cannot be read as Parquet.*copy it again"):
        FaceDataset([whole, cut])
    holed = bytearray(whole.read_bytes())
    place = pq.ParquetFile(whole).metadata.row_group(1).column(2).data_page_offset
    holed[place : place + 200] = bytes(200)
    (tmp_path / "holed.parquet").write_bytes(holed)
    with pytest.raises(InputError, match=r"holed\.parquet, row group 1, cannot be read.*copy it again"):
        read_all(FaceDataset([tmp_path / "holed.parquet"], labelled=False, clean=False), 24, 1)


def test_a_folder_stands_for_its_shards(tmp_path):
    for name in ("b", "a"):
        write_faces(tmp_path / f"{name}.parquet", 8)
    (tmp_path / "manifest.json").write_text("{}")
    assert [found.path.name for found in locate(tmp_path)] == ["a.parquet", "b.parquet"]
    assert len(FaceDataset([tmp_path])) == 16
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds neither Parquet files nor pictures"):
        locate(tmp_path / "empty")

"""`pfvit batch`: a great many pictures through the reader, on all cores of one machine or on a Ray cluster.

The pictures are cut into parts (`pfvit.batch.partition`), each part becomes one Parquet file under its own number, and
that file appears whole or not at all. So every row is there exactly once however often a part is begun, the order is
that of the numbers, and a run that was killed goes on with the parts that are missing.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from importlib import import_module
from pathlib import Path

from pfvit.batch.partition import MOST_ROWS, Partition, partition
from pfvit.batch.worker import Done, Worker
from pfvit.config import Batch
from pfvit.data.filesystem import Place, place
from pfvit.errors import InputError
from pfvit.inference.reader import Reader
from pfvit.utils.console import progress_bar, say, stderr
from pfvit.utils.cores import cores
from pfvit.utils.files import lock
from pfvit.utils.parallel import parallel_map
from pfvit.utils.text import counted, parsed

PLAN = "plan.json"
FORMAT = 1
#: Without a terminal a line of progress is printed so often, in seconds.
REPORT_EVERY = 60


def batch(config: Batch) -> int:
    """Read every part that is not done yet; return 0 if every picture could be read, else 1."""
    out = place(config.out)
    processes = config.processes or max(1, cores() // config.threads)
    rows = config.rows or (_rows_before(out) if config.resume else None)
    if rows is None and config.ray and config.processes is None:
        rows = MOST_ROWS  # how many processes a cluster has is known later
    parts, inputs, rows, notes = partition(config.paths, rows, out, processes)
    if all(part.problem for part in parts):  # nothing is begun, so that the corrected command is not refused
        for part in parts:
            say(part.problem)
        return 1
    for note in notes:
        say(note)
    pair = Reader(config.weights, threads=1).recogniser.pair  # unusable weights should be known before any work
    plan = {"format": FORMAT, "inputs": inputs, "rows": rows, "whole": config.whole, "weights": pair}
    plan["look"] = config.look
    with ExitStack() as held:
        _take(out, plan, config.resume, held)
        ready = _done(out)
        left = [part for part in parts if part.number not in ready]
        total, began = sum(part.rows for part in parts), time.monotonic()
        read = before = total - sum(part.rows for part in left)
        reported = began
        with progress_bar() as progress:
            task = progress.add_task("reading", total=total, completed=read)
            with closing(_on_ray(config, left) if config.ray else _here(config, left, processes)) as work:
                for done in work:
                    read += done.rows
                    progress.advance(task, done.rows)
                    if not stderr().is_terminal and time.monotonic() - reported > REPORT_EVERY:
                        reported = time.monotonic()
                        speed = (read - before) / (reported - began)
                        say(f"{read:,} of {total:,}, {speed:.3g}/s, {(total - read) / speed:.0f} s left")
    return _report(out, total, len(left), time.monotonic() - began)


def _here(config: Batch, parts: Sequence[Partition], processes: int) -> Generator[Done]:
    """Read partitions in processes of this machine."""
    if parts:
        begin, remedy = partial(_begin, config), "--resume goes on"
        yield from parallel_map(_work, parts, min(processes, len(parts)), begin, remedy)


_worker: Worker | None = None


def _begin(config: Batch) -> None:
    """Make a process ready to work."""
    global _worker  # a process has no other place to keep it
    _worker = Worker(config)
    if multiprocessing.parent_process() is not None:
        gc.freeze()  # what is loaded now stays: it need not be looked through at every collection


def _work(part: Partition) -> Done:
    if _worker is None:
        raise RuntimeError("this process was not made ready")
    return _worker.work(part)


class Actor:
    """A worker as Ray Data calls it: a part in, what came of it out. Ray starts it anew if its machine is lost."""

    def __init__(self, config: Batch) -> None:
        self.worker = Worker(config)

    def __call__(self, row: dict[str, str]) -> dict[str, int]:
        """Read one part."""
        number, file, start, stop, names, problem = json.loads(row["part"])
        return self.worker.work(Partition(number, file, start, stop, tuple(names), problem))._asdict()


def _on_ray(config: Batch, parts: Sequence[Partition]) -> Generator[Done]:
    """Read parts in Ray Data actors."""
    ray, ray_data = import_module("ray"), import_module("ray.data")  # by name: types are checked without the extra
    if not parts:
        return
    try:
        ray.init(address=config.address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as problem:
        raise InputError(f"no Ray cluster answers at {config.address}: {problem}") from problem
    try:
        there = int(ray.cluster_resources().get("CPU", 1))
        count = min(config.processes or max(1, there // config.threads), len(parts))
        ray_data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        table = ray_data.from_items([{"part": json.dumps(part)} for part in parts], override_num_blocks=len(parts))
        needs = {"num_cpus": config.threads, "num_gpus": int(config.provider == "cuda")}
        pool = ray_data.ActorPoolStrategy(size=count)
        work = table.map(Actor, fn_constructor_args=(config,), compute=pool, **needs)
        for row in work.iter_rows():
            yield Done(**row)
    finally:
        ray.shutdown()


def _take(out: Place, plan: Mapping[str, object], resume: bool, held: ExitStack) -> None:
    """Take the folder, new or with what an earlier run of the same plan left, and keep other processes off."""
    from pyarrow.fs import FileType

    file = out.below(PLAN)
    try:
        if out.files.get_file_info(out.path).type == FileType.File:
            raise InputError(f"{out.url} is a file; --out names a folder")
        for name in ("faces", "failed"):
            out.files.create_dir(out.below(name).path)
        if out.local:  # other file systems have no locks
            lock(held.enter_context(Path(out.path, ".lock").open("a")), Path(out.url))  # noqa: SIM115 (held holds it)
        if out.files.get_file_info(file.path).type != FileType.File:
            file.put(json.dumps(plan, indent=1).encode())
        elif not resume:
            raise InputError(f"{file.url} is from an earlier run: --resume goes on with it, or choose another --out")
        else:
            with out.files.open_input_stream(file.path) as stream:
                _same(parsed(stream.read()), plan, out)
    except OSError as problem:
        raise InputError(f"{out.url} cannot be written: {problem.strerror or problem}") from problem
    except ValueError as problem:
        raise InputError(f"{file.url} is not what an earlier run left; choose another --out") from problem


def _rows_before(out: Place) -> int | None:
    """Return the rows of a partition in the run that is gone on with; None if there is no plan that can be read."""
    try:
        with out.files.open_input_stream(out.below(PLAN).path) as stream:
            return int(parsed(stream.read())["rows"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _same(before: Mapping[str, object], plan: Mapping[str, object], out: Place) -> None:
    """Refuse to go on with other pictures or settings: the parts would not fit."""
    before = {"look": Batch.look, **before}  # plans of before it could be chosen say nothing of it
    if other := [name for name, value in plan.items() if before.get(name) != value]:
        raise InputError(f"{out.url} was begun with other {', '.join(other)}: give the same, or another --out")


def _done(out: Place) -> set[int]:
    """Return the numbers of the parts that are there."""
    from pyarrow.fs import FileSelector

    names = [info.base_name for info in out.files.get_file_info(FileSelector(out.below("faces").path))]
    return {int(name[5:-8]) for name in names if name.startswith("part-") and name.endswith(".parquet")}


def _report(out: Place, total: int, parts: int, seconds: float) -> int:
    """Say what came of it; return the exit status."""
    from pyarrow import parquet
    from pyarrow.fs import FileSelector

    failed = 0
    for info in out.files.get_file_info(FileSelector(out.below("failed").path)):
        if info.base_name.startswith("part-"):
            with out.files.open_input_file(info.path) as file:
                failed += parquet.ParquetFile(file).metadata.num_rows
    read = "1 picture is" if total - failed == 1 else f"{total - failed:,} pictures are"
    say(f"{read} read: {out.url}/faces ({counted(parts, 'part')} now, in {seconds:.1f} s)")
    if failed:
        say(f"{failed:,} could not be read: {out.url}/failed says why")
    return 1 if failed else 0

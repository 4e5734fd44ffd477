"""Dynamic batching: pictures of all requests wait in one fair queue, and one thread per core takes from it.

While all threads are busy, pictures gather, and a thread that becomes free reads several together. A free thread waits
for more pictures only while requests are arriving, and at most `Limits.gather` seconds: a single caller never waits.
"""

import asyncio
import gc
import logging
import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pfvit.config import Limits
from pfvit.data.images import Photo, Pixels
from pfvit.errors import InputError, without_frames
from pfvit.inference.network import AT_ONCE
from pfvit.inference.reader import FaceCrop, Reader
from pfvit.inference.reading import Reading
from pfvit.service.errors import Problem, overloaded
from pfvit.service.fair_queue import NOBODY, Caller, FairQueue
from pfvit.service.images import MOST_MEMORY, decoded, weigh
from pfvit.service.uploads import Upload
from pfvit.utils.budget import Budget
from pfvit.utils.memory import give_back, give_back_at_once

log = logging.getLogger("pfvit.commands.serve")

#: What a job weighs: a crop that is only read is 1, and a batch is full at AT_ONCE.
DETECTION, DRAWING, BYTES_PER_UNIT = 15, 5, 100_000
#: More than so many crops together are hardly faster each, so a free thread waits for no more.
ENOUGH = 8
#: What one request may have in the queue: its other pictures wait their turn, so that small requests pass it by.
WINDOW = 2 * AT_ONCE
#: Bytes of decoded pictures that one thread holds together, unless one picture has more.
TOGETHER = MOST_MEMORY // 4
WARM = 64  # pixels a side of the picture that is read at the start

Finish = Callable[[Photo, list[Reading]], Any]


class Job:
    """One picture to be read, and the function that makes the answer of its readings."""

    def __init__(self, upload: Upload, whole: bool, finish: Finish, draws: bool = False, caller: Caller = NOBODY):
        self.source, self.content = upload
        self.caller = caller
        self.whole, self.finish, self.draws = whole, finish, draws
        weight = 1 + (0 if whole else DETECTION) + (DRAWING if draws else 0) + len(self.content) // BYTES_PER_UNIT
        self.weight = min(weight, AT_ONCE)
        self.arrived = math.inf
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take_content(self) -> bytes:
        """Return the file, and keep it no longer."""
        content, self.content = self.content, b""
        return content


class Engine:
    """Reads pictures for many callers with one Reader, in `threads` threads."""

    def __init__(self, weights: Path | None, threads: int, limits: Limits):
        self.limits = limits
        give_back_at_once()  # before the weights are loaded, so that what is free of their memory is not kept either
        # Each thread runs the model on its own core: no threads that spin while they wait for each other.
        self.reader = Reader(weights, threads=1)
        self.reader.generator.check()  # a missing file should be known now, and weights that cannot be run
        _ = self.reader.read(np.zeros((WARM, WARM, 3), np.uint8), whole=True)[0].poker_face()
        self.waiting: FairQueue[Job] = FairQueue(limits.waiting)
        self.arriving = self.idle = self.working = 0
        self.memory = Budget(MOST_MEMORY)
        self.closed = False
        self.change = threading.Condition()
        self.lanes = [threading.Thread(target=self._work, name=f"lane-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Read a picture, so that everything is loaded, and start the threads."""
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of sizes and stray metadata; the limits are ours
        with suppress(InputError):  # in a build without a detector, faces that are cropped already can still be read
            self.reader.read(np.zeros((WARM, WARM, 3), np.uint8))
        for lane in self.lanes:
            lane.start()
        gc.collect()
        give_back()
        gc.freeze()  # what is loaded by now stays: the collector need not look through it again and again

    def stop(self) -> None:
        """Finish the jobs that were accepted, then end the threads."""
        with self.change:
            self.closed = True
            self.change.notify_all()
        for lane in self.lanes:
            lane.join(self.limits.seconds)

    @property
    def ready(self) -> bool:
        """Whether pictures can be read now."""
        return not self.closed and all(lane.is_alive() for lane in self.lanes)

    @property
    def depth(self) -> int:
        """Pictures that wait or are being worked on."""
        return len(self.waiting) + self.working

    def admits(self, caller: Caller) -> bool:
        """Return whether another picture of a caller may wait."""
        with self.change:
            return self.waiting.admits(caller)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Announce a request that is arriving: pictures that wait may be read together with its own."""
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    async def run(self, jobs: Sequence[Job]) -> list[Any]:
        """Return the answer of each job, or a Problem where there is none; raise Problem if the queue is full.

        If the caller is cancelled, jobs that have not begun are dropped.
        """
        if self.closed or (jobs and not self.admits(jobs[0].caller)):
            raise overloaded()
        left = deque(jobs)
        flying: dict[asyncio.Future[Any], int] = {}
        try:
            while left or flying:
                turn = []
                while left and (not flying or sum(flying.values()) + left[0].weight <= WINDOW):
                    turn.append(left.popleft())
                    flying[turn[-1].answer] = turn[-1].weight
                self._put(turn)
                if len(jobs) == 1:
                    return [await jobs[0].answer]
                done, _ = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
                for answer in done:
                    del flying[answer]
            return [job.answer.result() for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()

    def _put(self, jobs: Sequence[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            job.arrived = now
        with self.change:
            for job in jobs:
                self.waiting.put(job)
            self.change.notify(len(jobs))

    def _work(self) -> None:
        while taken := self._work_once():
            with self.change:
                self.working -= taken

    def _work_once(self) -> int:
        """Answer the next jobs, and return how many; a function, so that none of them stays while others are awaited.

        0 when the service is closed.
        """
        jobs = self._take()
        wanted = [job for job in jobs if not job.answer.cancelled()]
        try:
            answers = self._answers(wanted)
        except Exception as error:
            answers = [(job, as_problem(error)) for job in wanted]
        if answers:  # one wake-up of the event loop for all of them
            with suppress(RuntimeError):  # it may be closed by now: nobody waits any more
                answers[0][0].answer.get_loop().call_soon_threadsafe(_deliver, answers)
        return len(jobs)

    def _take(self) -> list[Job]:
        """Wait for jobs, and return those to be done together; an empty list when the service is closed."""
        with self.change:
            self.idle += 1
            while not self._enough():
                if self.closed and not self.waiting:
                    self.idle -= 1
                    return []
                self.change.wait(self._patience())
            share = math.ceil(len(self.waiting) / self.idle)  # other free threads take theirs
            self.idle -= 1
            taken = [self.waiting.pop()]
            weight = taken[0].weight
            while self.waiting and len(taken) < share and weight + self.waiting.first().weight <= AT_ONCE:
                taken.append(self.waiting.pop())
                weight += taken[-1].weight
            self.working += len(taken)
            return taken

    def _enough(self) -> bool:
        """Return whether to begin with the jobs that wait."""
        patience = self._patience()
        if patience is None:
            return False
        return self.closed or not self.arriving or len(self.waiting) >= ENOUGH or patience <= 0

    def _patience(self) -> float | None:
        """Return for how many seconds more the oldest job may wait; None if none waits."""
        if not self.waiting:
            return None
        return max(0.0, self.waiting.first().arrived + self.limits.gather - time.monotonic())

    def _answers(self, jobs: Sequence[Job]) -> list[tuple[Job, Any]]:
        """Return each job with its answer, which is a Problem where there is none."""
        answers: list[tuple[Job, Any]] = []
        some: list[Job] = []
        total = 0
        for job in jobs:
            try:
                size = weigh(job.content, self.limits, job.draws)
            except Exception as error:
                answers.append((job, as_problem(error)))
                continue
            if some and total + size > TOGETHER:
                answers += self._read(some, total)
                some, total = [], 0
            some.append(job)
            total += size
        return answers + (self._read(some, total) if some else [])

    def _read(self, jobs: Sequence[Job], size: int) -> list[tuple[Job, Any]]:
        """Return jobs with their answers; their pictures take `size` bytes, for which other threads may have to end."""
        with self.memory.take(size):
            if size > MOST_MEMORY // 2 and (photo := self.reader.generator.photo) is not None:
                photo.give_back()  # what faces that were drawn before have left
            answers = self._read_now(jobs)  # a function, so that its pictures are gone when others have the memory
            if size > TOGETHER:
                give_back()
            return answers

    def _read_now(self, jobs: Sequence[Job]) -> list[tuple[Job, Any]]:
        answers: list[tuple[Job, Any]] = []
        ready: list[tuple[Job, Photo, list[FaceCrop]]] = []
        for job in jobs:
            try:
                photo = decoded(job.take_content(), self.limits)
                ready.append((job, photo, self._found(photo.pixels, job.whole)))
            except Exception as error:
                answers.append((job, as_problem(error)))
        read = self.reader.read_found([found for _, _, found in ready], [job.source for job, _, _ in ready])
        for (job, photo, _), readings in zip(ready, read, strict=True):
            try:
                answers.append((job, job.finish(photo, readings)))
            except Exception as error:
                answers.append((job, as_problem(error)))
        return answers

    def _found(self, pixels: Pixels, whole: bool) -> list[FaceCrop]:
        try:
            return self.reader.find(pixels, whole)
        except InputError as error:
            raise Problem("no-detector", str(error)) from None


def as_problem(error: Exception) -> Problem:
    """Return the problem to answer an error with; unexpected ones are logged by type and place, without data."""
    if isinstance(error, Problem):
        return without_frames(error)
    if isinstance(error, MemoryError):
        return overloaded()
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "?" if place is None else f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
    log.error("a picture failed in the service: %s in %s", type(error).__name__, where)
    return Problem("internal")


def _deliver(answers: Sequence[tuple[Job, Any]]) -> None:
    for job, answer in answers:
        if not job.answer.done():
            job.answer.set_result(answer)

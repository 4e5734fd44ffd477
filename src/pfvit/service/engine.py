"""Dynamic batching: pictures of all requests wait in one bounded queue, and a thread per core reads what is there.

While every thread is busy, pictures gather, and go through the model together when one is free. A thread that is free
waits for more only while requests are still arriving, and at most `Limits.gather`: a lone caller never waits.
"""

import asyncio
import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pfvit.config import Limits
from pfvit.data import pictures
from pfvit.data.pictures import FORMATS, SMALLEST_SIDE, Pixels
from pfvit.errors import InputError
from pfvit.reader import CutOut, Reader, Reading
from pfvit.service.problems import Problem
from pfvit.weights import AT_ONCE

#: What a job weighs: a crop that is only read is 1; a batch is full at AT_ONCE.
DETECTION, DRAWING, BYTES_PER_UNIT = 15, 5, 100_000
MEGA = 1_000_000
WARM = 64  # pixels a side of the picture that is read at the start

Finish = Callable[[Pixels, list[Reading]], Any]


class Job:
    """One picture to be read, and what is to be made of its readings."""

    def __init__(self, source: str, content: bytes, whole: bool, finish: Finish, draws: bool = False):
        self.source, self.content, self.whole, self.finish = source, content, whole, finish
        weight = 1 + (0 if whole else DETECTION) + (DRAWING if draws else 0) + len(content) // BYTES_PER_UNIT
        self.weight = min(weight, AT_ONCE)
        self.arrived = time.monotonic()
        self.late = math.inf
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.answer.cancelled()


class Engine:
    """Reads pictures for many callers with one Reader; `threads` of it work at once."""

    def __init__(self, weights: Path | None, threads: int, limits: Limits):
        self.limits = limits
        # Each thread runs the model on its own core: no threads that spin while they wait for each other.
        self.reader = Reader(weights, threads=1)
        self.waiting: deque[Job] = deque()
        self.arriving = 0
        self.idle = 0
        self.working = 0
        self.closed = False
        self.change = threading.Condition()
        self.lanes = [threading.Thread(target=self._work, name=f"lane-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Load what is only loaded when needed, read one picture of each kind, and start the threads."""
        warm = np.zeros((WARM, WARM, 3), np.uint8)
        self.reader.read(warm)
        _ = self.reader.read(warm, whole=True)[0].poker_face()
        # The detector's library is not safe for threads in its first call only, which was just made.
        if hasattr(self.reader.detector, "lock"):
            self.reader.detector.lock = nullcontext()
        for lane in self.lanes:
            lane.start()

    def stop(self) -> None:
        """Finish what was taken, then end the threads."""
        with self.change:
            self.closed = True
            self.change.notify_all()
        for lane in self.lanes:
            lane.join(self.limits.seconds)

    @property
    def depth(self) -> int:
        """Pictures that wait or are being worked on."""
        return len(self.waiting) + self.working

    @property
    def full(self) -> bool:
        """Whether another picture must be turned away."""
        return len(self.waiting) >= self.limits.waiting

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Say that a request is arriving: what already waits may be read together with it."""
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    async def run(self, jobs: Sequence[Job]) -> list[Any]:
        """Return the answers of jobs, or the Problem of each that has none; Problem if the queue is full.

        If the caller is cancelled, what has not begun is never begun.
        """
        with self.change:
            if self.closed or (self.waiting and len(self.waiting) + len(jobs) > self.limits.waiting):
                raise overloaded()
            for job in jobs:
                job.late = job.arrived + self.limits.seconds
            self.waiting.extend(jobs)
            self.change.notify(len(jobs))
        try:
            return await asyncio.gather(*(job.answer for job in jobs))
        finally:
            for job in jobs:
                job.answer.cancel()

    def _work(self) -> None:
        while jobs := self._take():
            answers = self._answers([job for job in jobs if not job.given_up])
            # One wake-up of the event loop for the whole batch.
            if answers:
                answers[0][0].answer.get_loop().call_soon_threadsafe(_deliver, answers)
            with self.change:
                self.working -= len(jobs)

    def _take(self) -> list[Job]:
        """Return the next jobs to be done together; none when the service is closed."""
        with self.change:
            self.idle += 1
            while not self._ready():
                if self.closed and not self.waiting:
                    self.idle -= 1
                    return []
                self.change.wait(self._patience())
            share = math.ceil(len(self.waiting) / self.idle)  # other free threads take theirs
            self.idle -= 1
            taken = [self.waiting.popleft()]
            weight = taken[0].weight
            while self.waiting and len(taken) < share and weight + self.waiting[0].weight <= AT_ONCE:
                taken.append(self.waiting.popleft())
                weight += taken[-1].weight
            self.working += len(taken)
            return taken

    def _ready(self) -> bool:
        if not self.waiting:
            return False
        enough = self.closed or not self.arriving or len(self.waiting) >= AT_ONCE
        return enough or (self._patience() or 0) <= 0

    def _patience(self) -> float | None:
        if not self.waiting:
            return None
        return max(0.0, self.waiting[0].arrived + self.limits.gather - time.monotonic())

    def _answers(self, jobs: list[Job]) -> list[tuple[Job, Any]]:
        """Return each job with its answer, which is a Problem where there is none."""
        answers: list[tuple[Job, Any]] = []
        ready: list[tuple[Job, Pixels, list[CutOut]]] = []
        for job in jobs:
            if time.monotonic() > job.late:
                answers.append((job, overloaded()))
                continue
            try:
                pixels = decoded(job.content, self.limits)
                ready.append((job, pixels, self.reader.find(pixels, job.whole)))
            except Exception as problem:
                answers.append((job, as_problem(problem)))
        read = self.reader.read_found([found for _, _, found in ready], [job.source for job, _, _ in ready])
        for (job, pixels, _), readings in zip(ready, read, strict=True):
            try:
                answers.append((job, job.finish(pixels, readings)))
            except Exception as problem:
                answers.append((job, as_problem(problem)))
        return answers


def decoded(content: bytes, limits: Limits) -> Pixels:
    """Return a picture's pixels; Problem for what is none, from its header where that is enough."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            width, height = picture.size
    except UnidentifiedImageError:
        raise Problem("not-an-image", f"send one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(limits) from None
    except Exception:  # Pillow's readers raise nearly every built-in kind on damaged files
        raise Problem("damaged-image") from None
    if width * height > limits.megapixels * MEGA:
        raise _too_many_pixels(limits)
    if min(width, height) < SMALLEST_SIDE:
        raise Problem("image-too-small", f"{width}x{height} pixels; at least {SMALLEST_SIDE} are needed")
    try:
        return pictures.decode(content)
    except InputError:
        raise Problem("damaged-image") from None


def as_problem(problem: Exception) -> Problem:
    """Return the problem that callers are told."""
    return problem if isinstance(problem, Problem) else Problem("internal")


def overloaded() -> Problem:
    """Return the refusal that tells callers when to come back."""
    return Problem("overloaded", "try again in a second", {"Retry-After": "1"})


def _too_many_pixels(limits: Limits) -> Problem:
    return Problem("too-many-pixels", f"at most {limits.megapixels:g} million")


def _deliver(answers: list[tuple[Job, Any]]) -> None:
    for job, answer in answers:
        if not job.answer.done():
            job.answer.set_result(answer)

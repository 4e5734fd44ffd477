"""Many callers at once: what is read together, what is turned away, and for whom nothing is read."""

import asyncio
import threading
from types import SimpleNamespace

import fake_weights
import pytest
from conftest import png
from helpers import flat
from starlette.testclient import TestClient

from pfvit.config import Limits, Serve
from pfvit.inference.network import AT_ONCE
from pfvit.service.app import create_app
from pfvit.service.batching import Engine, Job
from pfvit.service.errors import TYPE, Problem
from pfvit.service.fair_queue import FairQueue, address
from pfvit.service.uploads import Room, Upload

CROP = png(flat(100))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return fake_weights.write(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def make_engine(weights):
    """Engines whose answers wait for a gate, and the batches that they read."""
    made = []

    def make(threads: int = 1, **limits) -> tuple[Engine, threading.Event, list[int]]:
        engine = Engine(weights, threads, Limits(**limits))
        gate, batches = threading.Event(), []
        read = engine._answers

        def held(jobs):
            batches.append(len(jobs))
            gate.wait(20)
            return read(jobs)

        engine._answers = held
        engine.start()
        made.append((engine, gate))
        return engine, gate, batches

    yield make
    for engine, gate in made:
        gate.set()
        engine.stop()


def crop_job() -> Job:
    return Job(Upload("a.png", CROP), whole=True, finish=lambda photo, faces: faces[0].emotion)


async def until(reached, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.001)


def test_what_waits_is_read_together_and_two_threads_share_it(make_engine):
    async def run(threads: int, count: int) -> list[int]:
        engine, gate, batches = make_engine(threads)
        first = [asyncio.ensure_future(engine.run([crop_job()])) for _ in range(threads)]
        await until(lambda: len(batches) == threads)
        rest = [asyncio.ensure_future(engine.run([crop_job()])) for _ in range(count)]
        await until(lambda: len(engine.waiting) == count)
        gate.set()
        answers = await asyncio.gather(*first, *rest)
        assert all(len(answer) == 1 and isinstance(answer[0], str) for answer in answers)
        return batches[threads:]

    assert asyncio.run(run(1, AT_ONCE + 8)) == [AT_ONCE, 8]
    assert max(asyncio.run(run(2, 20))) <= AT_ONCE


def test_it_waits_for_requests_that_are_arriving_but_not_for_long(make_engine):
    async def run(gather: float, meanwhile: int) -> list[int]:
        engine, gate, batches = make_engine(gather=gather)
        gate.set()
        with engine.expecting():
            tasks = [asyncio.ensure_future(engine.run([crop_job()])) for _ in range(meanwhile)]
            if gather > 1:
                await until(lambda: len(engine.waiting) == meanwhile)
                assert not batches
            else:
                await asyncio.gather(*tasks)  # though the other request never comes
        with engine.change:
            engine.change.notify_all()
        await asyncio.gather(*tasks, engine.run([crop_job()]))
        return batches

    assert asyncio.run(run(60, 3))[0] >= 3
    assert sum(asyncio.run(run(0.005, 3))) == 4


def test_beyond_the_bound_callers_are_turned_away(make_engine):
    async def run() -> None:
        engine, gate, batches = make_engine(waiting=4)
        first = asyncio.ensure_future(engine.run([crop_job()]))
        await until(lambda: batches)
        rest = [asyncio.ensure_future(engine.run([crop_job()])) for _ in range(4)]
        await until(lambda: len(engine.waiting) == 4)
        with pytest.raises(Problem) as refused:
            await engine.run([crop_job()])
        assert refused.value.kind == "overloaded" and refused.value.headers["Retry-After"] == "1"
        gate.set()
        assert len(await asyncio.gather(first, *rest)) == 5
        assert len(await engine.run([crop_job()])) == 1

    asyncio.run(run())


def test_a_request_with_many_pictures_lets_others_pass(make_engine):
    async def run() -> None:
        engine, gate, _ = make_engine(waiting=4)
        jobs = [crop_job() for _ in range(300)]
        many = asyncio.create_task(engine.run(jobs))
        await until(lambda: engine.depth >= 2)
        assert engine.depth < 100
        gate.set()
        assert len(await many) == 300

    asyncio.run(run())


def test_what_nobody_waits_for_is_not_read(make_engine):
    async def run() -> None:
        engine, gate, batches = make_engine()
        first = asyncio.ensure_future(engine.run([crop_job()]))
        await until(lambda: batches)
        gone = [asyncio.ensure_future(engine.run([crop_job()])) for _ in range(5)]
        await until(lambda: len(engine.waiting) == 5)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        gate.set()
        await first
        await until(lambda: engine.depth == 0)
        assert batches == [1, 0]

    asyncio.run(run())


def test_a_lane_survives_what_it_does_not_expect(make_engine):
    async def run() -> None:
        engine, gate, _ = make_engine()
        gate.set()
        engine.reader.read_found = None
        (answer,) = await engine.run([crop_job()])
        assert answer.kind == "internal" and engine.ready
        del engine.reader.read_found
        assert isinstance((await engine.run([crop_job()]))[0], str)

    asyncio.run(run())


def test_bodies_of_all_requests_share_one_room():
    room = Room(Limits(megabytes=1))
    with room.hold("a") as take, room.hold("b") as other, room.hold("a") as again:
        take(2_000_000)
        with pytest.raises(Problem) as refused:
            again(1)
        assert refused.value.kind == "overloaded"
        other(1_000_000)
        with pytest.raises(Problem):
            other(1)
    assert not room.held
    with room.hold("c") as take:
        take(2_000_000)


def test_turns_are_shared_by_address_then_by_connection():
    def put(host: str, port: int, weight: int = 1) -> None:
        queue.put(SimpleNamespace(caller=(host, port), weight=weight))

    queue = FairQueue(100)
    for _ in range(30):
        put("flood", 1)
    for _ in range(2):
        put("flood", 2)
        put("small", 1)
    put("heavy", 1, 8)
    put("heavy", 1, 8)
    order = [queue.pop().caller for _ in range(len(queue))]
    assert order[:3] == [("flood", 1), ("small", 1), ("heavy", 1)]
    assert order.index(("small", 1), 2) <= 4  # the flood's third is behind it
    assert order.count(("heavy", 1)) == 2 and [c for c in order if c[0] == "flood"][1] == ("flood", 2)
    assert not queue.waiting and len(queue) == 0


def test_a_full_queue_takes_from_those_who_ask_for_little():
    queue = FairQueue(10)
    job = SimpleNamespace(caller=("flood", 1), weight=1)
    while queue.admits(job.caller):
        queue.put(job)
    assert len(queue) == 10
    assert queue.admits(("small", 5)) and queue.admits(("flood", 2)) and not queue.admits(("flood", 1))
    for port in range(10):  # new connections get in, up to a bound
        if queue.admits(("flood", port)):
            queue.put(SimpleNamespace(caller=("flood", port), weight=1))
    assert len(queue) == 13 and not queue.admits(("flood", 99)) and queue.admits(("small", 5))
    while queue.admits(("small", 5)):
        queue.put(SimpleNamespace(caller=("small", 5), weight=1))
    assert len(queue) <= 20


def test_ipv6_customers_are_one_address_and_mapped_ones_are_ipv4():
    assert address("2001:db8::1") == address("2001:db8::ffff:2") != address("2001:db8:0:1::1")
    assert address("::ffff:10.0.0.1") == address("10.0.0.1") == "10.0.0.1" and address("odd:name") == "odd:name"


def test_work_that_takes_too_long_is_given_up(weights, monkeypatch):
    slow = threading.Event()
    monkeypatch.setattr(Engine, "_answers", lambda self, jobs: slow.wait(20) and [])
    with TestClient(
        create_app(Serve(weights=weights, limits=Limits(seconds=0.2))), base_url="http://localhost"
    ) as client:
        assert client.post("/v1/read?whole=true", content=CROP).json()["type"] == f"{TYPE}overloaded"
        many = client.post("/v1/read?whole=true", files=[("image", CROP)] * 2)
        assert (many.status_code, many.json()["type"]) == (413, f"{TYPE}takes-too-long")
        slow.set()

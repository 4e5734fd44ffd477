"""Many callers at once: what is read together, what is turned away, who hangs up, who is slow, and the end."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_weights
import httpx
import pytest
from conftest import png
from live_server import running
from starlette.testclient import TestClient
from test_predict import PHOTO, flat

from pfvit import weights as weight_files
from pfvit.config import Limits, Serve
from pfvit.service import protocol
from pfvit.service.app import create_app
from pfvit.service.bodies import Room, Upload
from pfvit.service.engine import Engine, Job
from pfvit.service.problems import TYPE, Problem
from pfvit.weights import AT_ONCE

README = Path(__file__).parents[1] / "README.md"
CROP = png(flat(100))
HEAD = b"POST /v1/read?whole=true HTTP/1.1\r\nHost: localhost\r\n"


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
        await until(lambda: engine.full)
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
    with room.hold() as take:
        take(8_000_000)
        with room.hold() as other, pytest.raises(Problem) as refused:
            other(1)
        assert refused.value.kind == "overloaded"
    assert room.held == 0


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


def say(port: int, *parts: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
        for part in parts:
            caller.sendall(part)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while some := caller.recv(65_536):
                answer += some
        return answer


def test_slow_and_endless_requests_are_cut(weights, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)
    with running(Serve(weights=weights, limits=Limits(seconds=0.3, megabytes=1))) as port:
        assert say(port) == b""
        assert say(port, HEAD + b"X-Slow: ") == b""
        assert b"400 Bad Request" in say(port, HEAD + b"X-Long: " + b"x" * 400_000)
        assert b"application/problem+json" in say(port, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        slow = say(port, HEAD + b"Content-Length: 1000\r\n\r\nabc")
        assert b"408 Request Timeout" in slow and b"too-slow" in slow
        declared = say(port, HEAD + b"Content-Length: 200000000\r\n\r\n", b"abc")
        assert b"413 " in declared and b"too-large" in declared
        unread = say(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        assert b"200 OK" in unread
        assert httpx.post(f"http://localhost:{port}/v1/read?whole=true", content=CROP).status_code == 200


def test_200_megabytes_are_cut_while_they_stream(weights):
    with running(Serve(weights=weights, limits=Limits(megabytes=2))) as port:
        sent = 0

        def endless():
            nonlocal sent
            while sent < 200_000_000:
                sent += 1_000_000
                yield b"\0" * 1_000_000

        with contextlib.suppress(httpx.WriteError):
            answer = httpx.post(f"http://localhost:{port}/v1/read", content=endless(), timeout=30)
            assert answer.status_code == 413 and answer.json()["type"] == f"{TYPE}too-large"
        assert httpx.get(f"http://localhost:{port}/healthz").status_code == 200


def test_work_of_a_caller_that_hangs_up_is_cancelled(weights, monkeypatch):
    begun, gate, read = threading.Event(), threading.Event(), []
    answers = Engine._answers

    def held(self, jobs):
        begun.set()
        gate.wait(20)
        read.append(len(jobs))
        return answers(self, jobs)

    monkeypatch.setattr(Engine, "_answers", held)
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(CROP) + CROP
    with running(Serve(weights=weights, threads=1)) as port:
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(request)
            assert begun.wait(10)
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port)) as caller:
                    caller.sendall(request)
                    time.sleep(0.1)
            metrics = f"http://localhost:{port}/metrics"
            while 'pfvit_requests_total{path="/v1/read",status="499"} 3.0' not in httpx.get(metrics).text:
                time.sleep(0.01)
            gate.set()
            assert b"200 OK" in first.recv(65_536)
        assert sum(read) == 1


def serve(weights, *words: str) -> tuple[subprocess.Popen, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pfvit", "serve", "--port", str(port), "--weights", str(weights), *words]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PFVIT_API_KEY": ""})
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://localhost:{port}/readyz").status_code == 200:
                return server, port
        assert server.poll() is None, server.stderr.read()
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_told_to_stop_it_finishes_what_it_took(weights, workers):
    server, port = serve(weights, "--workers", workers)
    body = b"".join(
        b'--xx\r\nContent-Disposition: form-data; name="image"; filename="secret name %d.jpg"\r\n\r\n' % n
        + PHOTO.read_bytes() + b"\r\n" for n in range(40)
    ) + b"--xx--\r\n"  # fmt: skip
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=xx\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
        caller.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while "pfvit_queue_depth 0.0" in httpx.get(f"http://localhost:{port}/metrics").text:
            time.sleep(0.001)
        server.send_signal(signal.SIGTERM)
        answer = b""
        while some := caller.recv(65_536):
            answer += some
    found = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert len(found["images"]) == 40 and all(len(image["faces"]) == 1 for image in found["images"])
    said = server.communicate(timeout=30)[1]
    assert server.returncode in (0, -signal.SIGTERM)
    assert "secret" not in said and "Traceback" not in said and "serving on http://127.0.0.1" in said
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/healthz")


def test_the_client_in_the_readme(weights, tmp_path, monkeypatch):
    (code,) = [code for code in re.findall(r"```py\n(.*?)```", README.read_text(), re.DOTALL) if "httpx" in code]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    with running(Serve(weights=weights)) as port:
        exec(compile(code.replace("127.0.0.1:8000", f"127.0.0.1:{port}"), "README.md", "exec"), {})
    assert (tmp_path / "calm.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("told", "share"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("", None)])
def test_threads_are_as_many_as_the_container_may_use(tmp_path, monkeypatch, told, share):
    (tmp_path / "cpu.max").write_text(told)
    monkeypatch.setattr(weight_files, "CGROUP_SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    assert weight_files.cores() == (share or 64)

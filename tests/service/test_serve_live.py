"""A service that listens: who is slow, who hangs up, what happens to workers, and the end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import fake_weights
import httpx
import numpy as np
import pytest
from conftest import png
from helpers import PHOTO, flat
from live_server import running

from pfvit.config import Limits, Serve
from pfvit.service import http_protocol, uploads
from pfvit.service import metrics as measures
from pfvit.service.batching import Engine
from pfvit.service.errors import TYPE
from pfvit.utils import cores

CROP = png(flat(100))
HEAD = b"POST /v1/read?whole=true HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return fake_weights.write(tmp_path_factory.mktemp("weights"))


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


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"422"),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\nHost: elsewhere\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\nHost: localhost\r\n", b"400"),
    ],
)
def test_a_request_that_a_proxy_may_read_otherwise_is_refused(weights, lines, status):
    with running(Serve(weights=weights)) as port:
        said = say(port, HEAD + lines + b"Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 " + status) and said.count(b"HTTP/1.1 ") == 1


def test_a_request_for_another_protocol_is_told_what_to_do(weights, caplog):
    """As Java's client sends: httptools leaves out its body, and the answer was that it is empty."""
    lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    with running(Serve(weights=weights)) as port:
        said = say(port, HEAD + lines + b"Content-Length: 3\r\n\r\nabc")
    assert said.startswith(b"HTTP/1.1 400") and b"send it without Upgrade" in said
    assert not caplog.records  # callers do not fill the log


def test_slow_and_endless_requests_are_cut(weights, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "REST_SECONDS", 0.2)
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


def answers(port: int, *parts: bytes, expected: int, pause: float = 0) -> list[bytes]:
    """Send bytes on one connection, and return the status lines of so many answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
        for part in parts:
            caller.sendall(part)
            time.sleep(pause)
        got = b""
        while got.count(b"HTTP/1.1 ") < expected or not got.endswith((b"}", b"}]}")):
            some = caller.recv(65_536)
            if not some:
                break
            got += some
    return [line for line in got.split(b"\r\n") if b"HTTP/1.1 " in line]


def test_a_hundred_requests_may_come_at_once(weights, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 1.0)
    padded = png(np.random.default_rng(0).integers(0, 255, (25, 25, 3), np.uint8))
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(padded) + padded
    assert len(request) > 1_900
    with running(Serve(weights=weights)) as port:
        for parts in ([request * 100], [request[:1000], request[1000:] + request * 99], [request * 3, request * 97]):
            lines = answers(port, *parts, expected=100, pause=0.05)
            assert len(lines) == 100 and all(b"200 OK" in line for line in lines)
        lines = answers(port, request * 5 + b"this is no HTTP\r\n\r\n", expected=6)
        assert [b"200 OK" in line for line in lines] == [True] * 5 + [False] and b"400 " in lines[-1]


@pytest.mark.parametrize("size", [60_000, 70_000])
@pytest.mark.parametrize("step", [1_000, 1_000_000])
def test_a_head_has_one_limit_however_it_arrives(weights, size, step):
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    long = head + b"X-Long: " + b"x" * (size - len(head) - 12) + b"\r\n\r\n"
    many = head + b"".join(b"X-%06d: abcdefgh\r\n" % n for n in range((size - len(head)) // 20)) + b"\r\n"
    address = b"GET /healthz?" + b"x" * (size - len(head)) + head[12:] + b"\r\n"
    with running(Serve(weights=weights)) as port:
        for whole in (long, many, address):
            said = say(port, *(whole[start : start + step] for start in range(0, len(whole), step)))
            assert (b"200 OK" if size < 64_000 else b"400 Bad") in said, whole[:20]


def test_bodies_have_to_arrive_at_a_pace(weights, monkeypatch):
    monkeypatch.setattr(uploads, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(uploads, "STEP", 1_000)
    content = CROP + bytes(20_000)
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content)

    def sent(port: int, size: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=0.1) as caller:
            caller.sendall(head)
            for start in range(0, len(content), size):
                with contextlib.suppress(TimeoutError):
                    return caller.recv(65_536)
                caller.sendall(content[start : start + size])
            caller.settimeout(10)
            return caller.recv(65_536)

    with running(Serve(weights=weights)) as port:
        assert b"200 OK" in sent(port, 1_100)
        slow = sent(port, 100)
        assert b"408 " in slow and b"1 kB every 0.3 s" in slow


def test_one_client_does_not_take_all_connections(weights, monkeypatch):
    monkeypatch.setattr(http_protocol, "MOST_CONNECTIONS", 8)
    with running(Serve(weights=weights)) as port, contextlib.ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.1)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=other) as client:
            assert client.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


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
    body = (
        b"".join(
            b'--xx\r\nContent-Disposition: form-data; name="image"; filename="secret name %d.jpg"\r\n\r\n' % n
            + PHOTO.read_bytes()
            + b"\r\n"
            for n in range(16)
        )
        + b"--xx--\r\n"
    )
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
    assert len(found["images"]) == 16 and all(len(image["faces"]) == 1 for image in found["images"])
    said = server.communicate(timeout=30)[1]
    assert server.returncode == -signal.SIGTERM  # a shell shows it as 143
    assert "secret" not in said and "Traceback" not in said and "serving on http://127.0.0.1" in said
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/healthz")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_while_it_finishes_it_refuses_connections_at_once(weights, workers):
    """With several workers the first process kept the address open: callers waited there, and were cut off."""
    server, port = serve(weights, "--workers", workers)
    body = PHOTO.read_bytes()
    head = b"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
            caller.sendall(head % len(body) + body[:-1])
            time.sleep(0.5)  # until it is accepted
            server.send_signal(signal.SIGTERM)
            until = time.monotonic() + 3
            with pytest.raises(ConnectionRefusedError):
                while time.monotonic() < until:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    time.sleep(0.05)
            caller.sendall(body[-1:])
            assert b"200 OK" in caller.recv(65_536)
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.mark.parametrize(
    ("told", "share"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_threads_are_as_many_as_the_container_may_use(tmp_path, monkeypatch, told, share):
    (tmp_path / "cpu.max").write_text(told)
    monkeypatch.setattr(cores, "CGROUP_SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    assert cores.cores() == (share or 64)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_worker_that_dies_is_replaced(weights):
    server, port = serve(weights, "--workers", "2")

    def workers() -> set[str]:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        return {one for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()}

    try:
        before = workers()
        dead = min(before)
        os.kill(int(dead), signal.SIGKILL)
        end = time.monotonic() + 120
        while len(workers() - {dead}) < 2:
            assert time.monotonic() < end
            with contextlib.suppress(httpx.TransportError):  # what the dead one had in its hands
                assert httpx.post(f"http://localhost:{port}/v1/read?whole=true", content=CROP).status_code == 200
        assert len(before) == 2 and len(workers() & before) == 1
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_workers_end_with_the_first_process(weights):
    server, port = serve(weights, "--workers", "2", "--limits.seconds", "2")
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    assert len(children) >= 2
    server.kill()
    server.communicate()
    end = time.monotonic() + 20

    def alive(process: str) -> bool:
        with contextlib.suppress(OSError):
            return " Z " not in Path(f"/proc/{process}/stat").read_text()
        return False

    while any(alive(one) for one in children):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://localhost:{port}/healthz")


def test_what_a_dead_worker_had_in_its_queue_is_forgotten(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, alive = tmp_path / f"gauge_livesum_{child.pid}.db", tmp_path / f"gauge_livesum_{os.getpid()}.db"
    for file in (dead, alive):
        file.touch()
    measures._forget_the_dead(tmp_path)
    assert alive.exists() and not dead.exists()

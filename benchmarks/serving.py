"""How much of the model's speed is left over HTTP, and what happens when too many call?

    python benchmarks/serving.py [--photo assets/astronaut.jpg] [--seconds 8] [--rounds 5] [--clients 32] [--soak MIN]

Starts `pfvit serve` on a free port of this machine and loads it with crops from one process: first CLIENTS callers that
each wait for their answer, then four times the rate that this reached whether answers come or not, beside two small
callers, then one caller.
The bare model's rate is that of `Reader.read_batch` on the same crops, decoded already, in batches of 32: with one
reader on all cores, or one for each, whichever is faster. The two are measured in turns, so that what else runs on the
machine slows both. Memory and open files are those of the server and its workers.
"""

import argparse
import asyncio
import io
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, deque
from pathlib import Path

import numpy as np
from PIL import Image

from pfvit import Reader
from pfvit.utils.cores import cores

BATCH, OVERLOAD = 32, 4
START = 20  # seconds
#: A small caller beside the flood: calls a second, and where it calls from if not from the same address.
SMALL_RATE, ELSEWHERE = 5, "127.0.0.2"
SIDE = 48  # pixels of a crop


class Caller(asyncio.Protocol):
    """One kept connection that sends the same request again and again; answers are matched in order."""

    def __init__(self, request: bytes, times: list[float], statuses: Counter):
        self.request, self.times, self.statuses = request, times, statuses
        self.sent: deque[float] = deque()
        self.again = False
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport

    def call(self) -> None:
        """Send the request once."""
        self.sent.append(time.perf_counter())
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count the answers in what came."""
        data = self.rest + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            length = int(head[at:].split(b"\r\n", 1)[0])
            if len(data) < end + 4 + length:
                break
            status = int(head[9:12])
            spent = time.perf_counter() - self.sent.popleft()
            self.statuses[status] += 1
            if status == 200:
                self.times.append(spent)
            data = data[end + 4 + length :]
            if self.again and b"connection: close" not in head:
                self.call()
        self.rest = data

    def connection_lost(self, problem: Exception | None) -> None:
        """Count what will never be answered."""
        self.statuses["lost"] += len(self.sent)


class Load:
    """Connections to one server, and what came back over them."""

    def __init__(self, port: int, request: bytes, address: str = "127.0.0.1"):
        self.port, self.request, self.address = port, request, address
        self.times: list[float] = []
        self.statuses: Counter = Counter()

    async def connect(self, count: int) -> list[Caller]:
        """Open connections."""
        loop = asyncio.get_running_loop()
        made = []
        for _ in range(count):
            _, caller = await loop.create_connection(
                lambda: Caller(self.request, self.times, self.statuses),
                "127.0.0.1",
                self.port,
                local_addr=(self.address, 0),
            )
            made.append(caller)
        return made

    async def closed(self, clients: int, seconds: float) -> float:
        """Call with so many clients, each waiting for its answer; return answers per second."""
        callers = await self.connect(clients)
        for caller in callers:
            caller.again = True
            caller.call()
        await asyncio.sleep(1)  # warm
        self.times.clear()
        self.statuses.clear()
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        rate = self.statuses[200] / (time.perf_counter() - began)
        for caller in callers:
            caller.again = False
        await self.drain(callers)
        return rate

    async def open(self, rate: float, clients: int, seconds: float) -> tuple[float, float]:
        """Call so many times a second whether answers come or not, over free connections.

        Return the calls a second that were sent, and those that were answered with 200 meanwhile.
        """
        callers = await self.connect(clients)
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < seconds:
            due = int(now * rate) - sent
            free = [caller for caller in callers if not caller.sent][:due]
            for caller in free:
                caller.call()
            sent += due
            self.statuses["unsent"] += due - len(free)
            await asyncio.sleep(0.002)
        rates = (sent - self.statuses["unsent"]) / seconds, self.statuses[200] / seconds
        await self.drain(callers)
        return rates

    async def small(self, rate: float, seconds: float) -> None:
        """Call so many times a second over one connection, one after the other."""
        (caller,) = await self.connect(1)
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            if caller.transport.is_closing():  # what was lost with it is counted
                (caller,) = await self.connect(1)
            caller.call()
            while caller.sent and not caller.transport.is_closing():
                await asyncio.sleep(0.001)
            await asyncio.sleep(max(0.0, began + 1 / rate - time.perf_counter()))
        caller.transport.close()

    async def drain(self, callers: list[Caller]) -> None:
        """Wait for what is under way, and hang up."""
        until = time.perf_counter() + START
        while any(caller.sent for caller in callers) and time.perf_counter() < until:
            await asyncio.sleep(0.005)
        for caller in callers:
            caller.transport.close()

    def percentile(self, share: float) -> float:
        """Return a percentile of the answers' times in milliseconds."""
        return 1000 * float(np.percentile(self.times, share)) if self.times else float("nan")


def crop_request(photo: Path) -> tuple[np.ndarray, bytes]:
    """Return the first face of a photo at the model's size, and the bytes of a request to read it."""
    face = Image.fromarray(Reader(threads=1).read(photo)[0].crop).resize((SIDE, SIDE))
    file = io.BytesIO()
    face.save(file, "PNG")
    body = file.getvalue()
    head = "POST /v1/read?whole=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    return np.asarray(face), f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def memory(pid: int) -> float:
    """Return the megabytes that a process and its children hold."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def files(pid: int) -> int:
    return sum(len(os.listdir(f"/proc/{one}/fd")) for one in family(pid))  # noqa: PTH208


def start(words: list[str]) -> tuple[subprocess.Popen, int, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-m", "pfvit", "serve", "--port", str(port), *words])
    while time.perf_counter() - began < START:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return server, port, time.perf_counter() - began
        except OSError:
            time.sleep(0.02)
    server.kill()
    raise SystemExit("the server did not start")


def bare_rate(crop: np.ndarray, seconds: float) -> float:
    """Return crops per second without HTTP, the better way: one reader on all cores, or one reader for each core."""
    rates = []
    for readers in ([Reader()], [Reader(threads=1) for _ in range(cores())]):
        for reader in readers:
            reader.read_batch([crop] * BATCH, whole=True)  # warm
        done = [0] * len(readers)
        until = time.perf_counter() + seconds

        def work(place: int, readers=readers, done=done, until=until) -> None:
            while time.perf_counter() < until:
                readers[place].read_batch([crop] * BATCH, whole=True)
                done[place] += BATCH

        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(readers))]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(sum(done) / (time.perf_counter() - began))
    return max(rates)


async def loads(
    server: subprocess.Popen, port: int, crop: np.ndarray, request: bytes, options: argparse.Namespace
) -> None:
    bare, served = [], []
    steady = Load(port, request)
    for _ in range(options.rounds):
        bare.append(bare_rate(crop, options.seconds / 4))
        served.append(await steady.closed(options.clients, options.seconds / 2))
    shares = [one / other for one, other in zip(served, bare, strict=True)]
    rate = statistics.median(served)
    p50, p99 = steady.percentile(50), steady.percentile(99)
    print(
        f"bare model, batches of {BATCH}, against {options.clients} clients, in turns: {statistics.median(bare):.0f}"
        f" against {rate:.0f} crops/s; share of the bare model {min(shares):.0%} to {max(shares):.0%},"
        f" median {statistics.median(shares):.0%}; last round p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        f" ({p99 / p50:.1f} times)"
    )
    before = memory(server.pid)
    flood, near, far = Load(port, request), Load(port, request), Load(port, request, ELSEWHERE)
    (sent, answered), *_ = await asyncio.gather(
        flood.open(OVERLOAD * rate, 16 * options.clients, options.seconds),
        *(caller.small(SMALL_RATE, options.seconds) for caller in (near, far)),
    )
    shed = flood.statuses[429] / max(1, flood.statuses[429] + flood.statuses[200])
    print(
        f"{OVERLOAD} times that rate, {OVERLOAD * rate:.0f}/s: {sent:.0f}/s sent, {answered:.0f}/s answered,"
        f" {shed:.0%} shed, p50 of the answered {flood.percentile(50):.1f} ms, p99 {flood.percentile(99):.1f} ms;"
        f" {dict(flood.statuses)}; memory {before:.0f} -> {memory(server.pid):.0f} MB"
    )
    for name, small in (("the same", near), ("another", far)):
        share = small.statuses[200] / max(1, small.statuses.total())
        print(
            f"beside it, {SMALL_RATE} calls/s from {name} address: {share:.0%} answered,"
            f" p50 {small.percentile(50):.1f} ms, p99 {small.percentile(99):.1f} ms, {dict(small.statuses)}"
        )
    calm = Load(port, request)
    await calm.closed(1, 1)
    print(f"right after it, one caller: p50 {calm.percentile(50):.1f} ms, {dict(calm.statuses)}")
    for minute in range(options.soak):
        soak = Load(port, request)
        await soak.closed(options.clients, 58)
        print(
            f"soak, minute {minute + 1}: {soak.statuses[200]} answers, {memory(server.pid):.1f} MB,"
            f" {files(server.pid)} open files", flush=True
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, default=Path("assets/astronaut.jpg"))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--soak", type=int, default=0)
    options, words = parser.parse_known_args()
    crop, request = crop_request(options.photo)
    server, port, spent = start(words)
    try:
        print(f"start to ready: {spent:.2f} s, {memory(server.pid):.0f} MB, {files(server.pid)} open files")
        asyncio.run(loads(server, port, crop, request, options))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(START)


if __name__ == "__main__":
    main()

"""What does a refused picture leave behind in the service?

    python benchmarks/refused.py [--requests 200] [--damaged 2000] [--seed 0]

Starts `pfvit serve` on a free port of this machine and sends it pictures that it refuses: each kind of picture that
asks for far more than it holds REQUESTS times, a form of 64 of them, and DAMAGED pictures with random faults. Prints a
table in Markdown: the most memory while each kind was sent, and the bytes that stayed for each request.
"""

import argparse
import http.client
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import hostile
from serving import start

PART = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


class Memory:
    """The resident memory of a process, in bytes."""

    def __init__(self, process: int):
        self.folder = Path("/proc") / str(process)

    def _kilobytes(self, name: str) -> int:
        text = (self.folder / "status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":"))

    def now(self) -> int:
        """Return what it is now."""
        return self._kilobytes("VmRSS") * 1024

    def most(self) -> int:
        """Return the largest since the last call."""
        value = self._kilobytes("VmHWM") * 1024
        (self.folder / "clear_refs").write_text("5")
        return value


def form(pictures: list[bytes]) -> bytes:
    return b"".join(PART + picture + b"\r\n" for picture in pictures) + b"--XX--\r\n"


def post(connection: http.client.HTTPConnection, body: bytes, kind: str = "application/octet-stream") -> int:
    connection.request("POST", "/v1/read", body, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--damaged", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    good, greedy = list(hostile.good().values()), hostile.greedy()
    greedy["cut short (7,000 x 7,000)"] = hostile.png(7_000, 7_000)
    worst = 0
    server, port, _ = start([])
    try:
        memory = Memory(server.pid)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for content in good * 5:  # until all that is loaded later is loaded
            post(connection, content)
        print(f"seed {options.seed}; {memory.now() / 1e6:.0f} MB before\n")
        print("| pictures | requests | answers | most memory, MB | bytes kept per request |")
        print("|---|---:|---|---:|---:|")

        def row(name: str, bodies: list[bytes], kind: str = "application/octet-stream") -> None:
            nonlocal worst
            memory.most()
            before, answers = memory.now(), Counter()
            for body in bodies:
                answers[post(connection, body, kind)] += 1
            time.sleep(0.05)
            most = memory.most()
            worst = max(worst, most)
            kept = (memory.now() - before) / len(bodies)
            said = ", ".join(f"{number} x {status}" for status, number in sorted(answers.items()))
            print(f"| {name} | {len(bodies):,} | {said} | {most / 1e6:.0f} | {kept:,.0f} |", flush=True)

        for name, content in greedy.items():
            row(name, [content] * options.requests)
        for name in ("TIFF tile", "cut short (7,000 x 7,000)"):
            row(f"64 in a form: {name}", [form([greedy[name]] * 64)] * 5, "multipart/form-data; boundary=XX")
        files = [*good, *greedy.values()]
        for _ in range(2):
            row("damaged", [hostile.damaged(rng.choice(files), rng) for _ in range(options.damaged)])
    finally:
        server.terminate()
        server.wait()
    print(f"\nMost: {worst / 1e6:.0f} MB")
    return 0 if worst < 400e6 else 1


if __name__ == "__main__":
    sys.exit(main())

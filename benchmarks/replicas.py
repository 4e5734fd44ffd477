"""What callers notice when a replica dies under load: `pfvit serve` on a Ray cluster of two workers on this machine.

    python benchmarks/replicas.py [--photo assets/astronaut.jpg] [--seconds 30] [--clients 16]

Starts a head and two workers of one core each, a replica on each of them, and CLIENTS callers that each wait for their
answer. After a third of the time one replica is killed (SIGKILL). Prints what was answered in every second around it:
only what the dead replica had in its hands may fail.
"""

import argparse
import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import ray
from ray import serve
from ray.cluster_utils import Cluster
from serving import Load, crop_request

from pfvit.config import Serve
from pfvit.service.ray_serve import NAME, replicated

PORT = 8767
WORKERS = 2


def replica_pids() -> list[int]:
    """Return the processes of the replicas on this machine."""
    name = f"ray::ServeReplica:{NAME}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(name):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


async def run(request: bytes, clients: int, seconds: float) -> None:
    load = Load(PORT, request)
    work = asyncio.create_task(load.closed(clients, seconds))
    await asyncio.sleep(1.5)  # past the warm-up, which forgets its counts
    before: Counter = Counter(load.statuses)
    killed = False
    for second in range(int(seconds) - 1):
        if second >= seconds / 3 and not killed:
            os.kill(replica_pids()[0], signal.SIGKILL)
            killed = True
            print("one replica is killed")
        await asyncio.sleep(1)
        now = Counter(load.statuses)
        print(f"second {second + 1}: {dict(now - before)}; {len(replica_pids())} replicas", flush=True)
        before = now
    await work
    print(f"in all: {dict(load.statuses)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, default=Path("assets/astronaut.jpg"))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    _, request = crop_request(options.photo)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(WORKERS):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(replicated(Serve(replicas=WORKERS)), name=NAME, route_prefix="/")
    until = time.monotonic() + 60
    while len(replica_pids()) < WORKERS and time.monotonic() < until:
        time.sleep(0.1)
    print(f"{len(ray.nodes())} nodes, {len(replica_pids())} replicas")
    try:
        asyncio.run(run(request, options.clients, options.seconds))
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()

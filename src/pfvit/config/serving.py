"""Settings of the verb that serves."""

from dataclasses import dataclass
from pathlib import Path

from pfvit.config.checks import at_least, positive, within
from pfvit.config.several import Words


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how much may wait. A call beyond a limit is refused."""

    megabytes: float = 40.0
    """Largest body of a request, in millions of bytes."""
    megapixels: float = 50.0
    """Largest picture, in millions of pixels; read from its header before anything is decoded."""
    images: int = 64
    """Largest number of pictures in a request."""
    waiting: int = 128
    """Largest number of pictures that wait for the model, over all requests. Beyond it callers get 429 and Retry-After;
    callers who ask for less than others may use twice as many."""
    seconds: float = 30.0
    """Longest time in seconds for a request to arrive, and the same again to be answered."""
    gather: float = 0.005
    """Longest time in seconds that a picture waits for others to fill a batch."""

    PREFIX = "limits."

    def __post_init__(self) -> None:
        positive(self, "megabytes", "megapixels", "images", "waiting", "seconds")
        at_least(0, self, "gather")


@dataclass(frozen=True)
class Serve:
    """Serve a web page and an HTTP API. If PFVIT_API_KEY is set, callers must send that key."""

    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 opens the service to every network: set PFVIT_API_KEY then."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    workers: int = 1
    """Number of processes. One already uses every core; more help with many small requests."""
    threads: int | None = None
    """CPU threads for the model over all workers; all cores if not given."""
    hosts: Words = ()
    """Host names to accept besides this machine's, when the service listens on loopback behind a proxy."""
    ray: bool = False
    """Run under Ray Serve, here or on the cluster in RAY_ADDRESS; needs `pip install "pfvit[serve,cluster]"`."""
    replicas: int = 2
    """With --ray, the largest number of replicas, with one core each; the queue determines how many run."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is taken from the same folder); the shipped weights if not given."""
    limits: Limits = Limits()
    """Limits of requests and of the queue."""

    def __post_init__(self) -> None:
        at_least(1, self, "workers", "replicas", "threads")
        within(0, 65535, self, "port")

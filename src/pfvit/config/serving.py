"""Settings of the verb that serves."""

from dataclasses import dataclass
from pathlib import Path

from pfvit.config.checks import at_least, within
from pfvit.config.several import Words
from pfvit.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how much may wait: beyond it people get a clear refusal."""

    megabytes: float = 40.0
    """Most of one request's body, in millions of bytes."""
    megapixels: float = 50.0
    """Most of one picture, in millions of pixels; read from its header before anything is decoded."""
    images: int = 64
    """Most pictures in one request."""
    waiting: int = 128
    """Most pictures that wait for the model, over all requests; beyond them callers get 429 and when to come back.

    Callers who ask for less than others are let in up to twice as many."""
    seconds: float = 30.0
    """Longest time for a request to arrive, and then again to be answered."""
    gather: float = 0.005
    """Longest time in seconds that a picture waits for others, to be read together with them."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0 and name != "gather":
                raise UsageError(f"--limits.{name} must be more than 0, not {value}")


@dataclass(frozen=True)
class Serve:
    """Serve the page and the API. The key that callers must give, if any, is read from PFVIT_API_KEY."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every network, and then set PFVIT_API_KEY."""
    port: int = 8000
    """Port to listen on; 0 takes a free one."""
    workers: int = 1
    """Processes; one already uses every core, as the model runs in threads. More help with many small requests."""
    threads: int | None = None
    """Processor threads for the model over all workers; all cores if not given."""
    hosts: Words = ()
    """Names under which it may be called besides this machine's, when it listens on loopback behind a proxy."""
    ray: bool = False
    """Run under Ray Serve, here or on the cluster in RAY_ADDRESS; needs `pip install "pfvit[serve,cluster]"`."""
    replicas: int = 2
    """With --ray, most copies of the service; there are as many as the queue asks for, each with a core of its own."""
    weights: Path | None = None
    """A recogniser .onnx (its generator is looked for beside it); the shipped weights if not given."""
    limits: Limits = Limits()
    """Limits of a request, and of what may wait."""

    def __post_init__(self) -> None:
        at_least(1, self, "workers", "replicas", "threads")
        within(0, 65535, self, "port")

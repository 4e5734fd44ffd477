"""What is counted for Prometheus: requests, how long they take, what waits, faces, problems. Never what is in them."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: Paths that are counted by name; all others are "other", so that callers cannot make up new rows.
PATHS = {"/", "/v1/read", "/v1/poker", "/v1/model", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: The variable with the folder through which several processes add up.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Measures:
    """The numbers of one service; `several` processes add theirs up through files in PROMETHEUS_MULTIPROC_DIR."""

    def __init__(self, several: bool = False):
        disable_created_metrics()  # a row more for each, which nobody asks for
        self.registry = CollectorRegistry()
        own = None if several else self.registry
        self.requests = Counter("pfvit_requests", "Requests answered", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "pfvit_request_seconds",
            "Time from a request's headers to its answer",
            ["path"],
            registry=own,
            buckets=SECONDS,
        )
        self.depth = Gauge(
            "pfvit_queue_depth", "Pictures waiting or being read", registry=own, multiprocess_mode="livesum"
        )
        self.faces = Counter("pfvit_faces", "Faces read", registry=own)
        self.errors = Counter("pfvit_errors", "Problems told to callers", ["kind"], registry=own)
        self.shed = Counter("pfvit_shed", "Requests turned away as there was no room", registry=own)
        if several:
            MultiProcessCollector(self.registry)
            _forget_the_dead(Path(os.environ[FOLDER]))

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        name = path if path in PATHS else "other"
        self.requests.labels(name, str(status)).inc()
        self.seconds.labels(name).observe(seconds)

    def problem(self, kind: str) -> None:
        """Count one problem."""
        self.errors.labels(kind).inc()
        if kind == "overloaded":
            self.shed.inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)


def _forget_the_dead(folder: Path) -> None:
    """Take what processes that are gone had in their queues out of the sum; one of them is replaced by this one."""
    for file in folder.glob("gauge_live*.db"):
        number = int(file.stem.rpartition("_")[2])
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            mark_process_dead(number, str(folder))
        except OSError:  # someone else's, so it lives
            continue

"""The same app under Ray Serve: replicas on many machines, as many as the queue asks for.

`serve run pfvit.service.ray_serve:app replicas=8` on a cluster, or `pfvit serve --ray` on this machine or the cluster
in RAY_ADDRESS. Every replica batches what it gets, as one process does; each takes one core unless `threads` says more.
"""

from dataclasses import replace

from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig

from pfvit.config import Serve
from pfvit.errors import InputError
from pfvit.service.app import create_app

NAME = "pfvit"
#: Requests in a replica's hands at which another one is started.
BUSY = 16
#: Seconds for a replica that is told to stop, and between looks at its health.
PATIENCE, LOOK = 30, 2


def replicated(config: Serve) -> serve.Application:
    """Return the app as a Ray Serve application with 1 to `config.replicas` replicas."""
    threads = config.threads or 1
    each = replace(config, workers=1, threads=threads)

    def build() -> FastAPI:
        return create_app(each)

    deployed = serve.deployment(
        name=NAME,
        # What a replica may hold is its own bound, beyond which it answers 429; what waits for a replica is Ray's.
        max_ongoing_requests=config.limits.waiting + BUSY,
        max_queued_requests=config.limits.waiting,
        autoscaling_config=AutoscalingConfig(
            min_replicas=1, max_replicas=config.replicas, initial_replicas=config.replicas, target_ongoing_requests=BUSY
        ),
        ray_actor_options={"num_cpus": threads},
        graceful_shutdown_timeout_s=PATIENCE,
        health_check_period_s=LOOK,
    )
    return deployed(serve.ingress(build)()).bind()


def app(given: dict[str, str]) -> serve.Application:
    """Return what `serve run pfvit.service.ray_serve:app [replicas=N] [threads=N]` runs, open to any host name."""
    try:
        numbers = {name: int(value) for name, value in given.items()}
    except ValueError as problem:
        raise InputError(f"give whole numbers: {problem}") from problem
    if unknown := numbers.keys() - {"replicas", "threads"}:
        raise InputError(f"{', '.join(unknown)} cannot be set; replicas and threads can")
    replicas, threads = numbers.get("replicas", Serve.replicas), numbers.get("threads")
    return replicated(Serve(host="0.0.0.0", ray=True, replicas=replicas, threads=threads))

"""The same app under Ray Serve, as far as it can be told without a cluster; benchmarks/replicas.py starts one."""

import pytest

pytest.importorskip("ray.serve", reason='Ray is not installed: pip install "pfvit[cluster]"')

from pfvit.config import Limits, Serve
from pfvit.errors import InputError
from pfvit.service.ray_serve import app, replicated


def test_replicas_grow_with_the_queue_and_hold_no_more_than_their_own_bound():
    made = replicated(Serve(replicas=3, threads=2, limits=Limits(waiting=40)))._bound_deployment
    scaling = made._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 3)
    assert made.max_ongoing_requests > made.max_queued_requests == 40
    assert made.ray_actor_options["num_cpus"] == 2


def test_what_serve_run_may_set():
    made = app({"replicas": "5"})._bound_deployment
    assert made._deployment_config.autoscaling_config.max_replicas == 5
    with pytest.raises(InputError, match="whole numbers"):
        app({"replicas": "many"})
    with pytest.raises(InputError, match="colour cannot be set"):
        app({"colour": "1"})

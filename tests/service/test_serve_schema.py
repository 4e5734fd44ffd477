"""The API against its own OpenAPI document: whatever schemathesis makes up, no 500, and only what is documented."""

import fake_weights
import pytest
import schemathesis
from conftest import png
from helpers import PHOTO, flat
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from live_server import running
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from pfvit.config import Limits, Serve

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    weights = fake_weights.write(tmp_path_factory.mktemp("weights"))
    with running(Serve(weights=weights, limits=Limits(megapixels=1))) as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


GETS = [("GET", path) for path in ("/v1/model", "/healthz", "/readyz")]
POSTS = [("POST", "/v1/read"), ("POST", "/v1/poker")]
#: A GET takes nothing that could be wrong.
CASES = [(GenerationMode.POSITIVE, *one) for one in GETS + POSTS] + [(GenerationMode.NEGATIVE, *one) for one in POSTS]

# Bytes made up at random are hardly ever a picture, so half of them are one.
PICTURES = st.one_of(st.sampled_from([png(flat(90, 30, 30)), png(flat(9, 8, 40)), PHOTO.read_bytes()]), st.binary())
for media_type in ("application/octet-stream", "image/*"):
    schemathesis.openapi.media_type(media_type, PICTURES)


@pytest.mark.parametrize(("mode", "method", "path"), CASES)
def test_it_keeps_its_own_contract(api, mode, method, path):
    seen = set()

    @effort(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(api[path][method].as_strategy(generation_mode=mode))
    def holds(case):
        seen.add(case.call_and_validate(checks=CHECKS).status_code)

    holds()
    assert seen & ({200} if mode == GenerationMode.POSITIVE else {400, 415, 422})

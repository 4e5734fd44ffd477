"""The client of docs/serving.md, against a service that runs."""

import fake_weights
from live_server import running
from pages import BLOCKS, sandbox

from pfvit.config import Serve

(CLIENT,) = (block for block in BLOCKS if block.page == "docs/serving.md" and block.language == "python")


def test_the_client(tmp_path, monkeypatch):
    weights = fake_weights.write(tmp_path)
    monkeypatch.chdir(sandbox(tmp_path))
    with running(Serve(weights=weights)) as port:
        code = CLIENT.code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        exec(compile(code, str(CLIENT), "exec"), {})
    assert (tmp_path / "calm.png").read_bytes().startswith(b"\x89PNG")

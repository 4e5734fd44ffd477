"""Nothing is sent, and nothing is written outside of what a command was told to write."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_weights
import layouts
import pytest
from conftest import write_faces
from helpers import flat_png, voted

from pfvit.__main__ import EXTRAS

PHOTO = Path(__file__).parents[1] / "assets" / "astronaut.jpg"
PREDICT = [sys.executable, "-m", "pfvit", "predict", str(PHOTO), "--json"]
#: Runs a command and prints what left, or would have left, this network namespace, which has no way out: a look-up of
#: a name and a connection both fail for want of a route, and the kernel counts them, whatever library they come from.
WATCH = """
import re, signal, subprocess, sys
seconds, command = float(sys.argv[1]), sys.argv[2:]
process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
try:
    status = process.wait(seconds or None)
except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    status = 0
names, numbers = (line.split()[1:] for line in open("/proc/net/snmp") if line.startswith("Ip:"))
four = dict(zip(names, map(int, numbers)))
six = {name: int(number) for name, number in map(str.split, open("/proc/net/snmp6"))}
print(status, four["OutRequests"] + four["OutNoRoutes"] + six["Ip6OutRequests"] + six["Ip6OutNoRoutes"])
"""
LOOK_UP = "import socket\ntry: socket.getaddrinfo('example.org', 80)\nexcept OSError: pass"
#: onnxruntime's own telemetry waits for some nine seconds.
LONG = 14
#: Every package of ours and of every extra that is installed, and a face that is read.
ALL = f"""
import contextlib, importlib, time
import pfvit
for name in {sorted(set.union(*EXTRAS.values()) - {"ray"})!r} + ["PIL", "numpy", "rich", "tyro", "arro3.io"]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert pfvit.read({str(PHOTO)!r})
time.sleep({LONG})
"""


#: From a data set as it is distributed to weights, in one process. `reproduce` calls the others, and begins none here.
TRAIN = """
import sys
from pfvit.__main__ import main
for words in (
    f"prepare rafdb {sys.argv[1]} out/raf --jobs 1",
    "pretrain nano --data out/raf --out out/one --epochs 1 --batch 16",
    "train nano --data out/raf --start out/one --out out/two --epochs 1 --batch 16",
    "export out/two --out out/nano.onnx",
    "convert out/one --out out/hf",
    "reproduce rafdb --data out/raf --out out/run --preset nano --scale try --minutes 0.1",
):
    assert main(words.split()) == 0, words
"""


def isolated() -> bool:
    words = ["unshare", "--map-root-user", "--net", "true"]
    return shutil.which("unshare") is not None and subprocess.run(words, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not isolated(), reason="no network namespaces here")


def files_in_the_home_after(home: Path, **environment: str) -> list[Path]:
    subprocess.run(PREDICT, check=True, capture_output=True, env={**os.environ, "HOME": str(home), **environment})
    return [path for path in home.rglob("*") if path.is_file()]


class Watched:
    """A command that is watched, in folders of its own.

    After so many `seconds` it is told to end; 0 waits for its end.
    """

    def __init__(self, tmp_path: Path, *command: object, seconds: float = 0):
        self.places = [tmp_path / name for name in ("home", "tmp", "work")]
        for place in self.places:
            place.mkdir(exist_ok=True)
        home, temporary, work = map(str, self.places)
        hostile = {"HOME": home, "TMPDIR": temporary, "ORT_DISABLE_TELEMETRY": "0", "XDG_CACHE_HOME": f"{home}/cache"}
        words = ["unshare", "--map-root-user", "--net", sys.executable, "-c", WATCH, seconds, *command]
        self.process = subprocess.Popen(
            [*map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=work, env={**os.environ, **hostile},
            start_new_session=True,
        )  # fmt: skip

    def requests(self) -> int:
        """Return how often it asked the network for anything; it must end well and write into `out` alone."""
        said, errors = self.process.communicate(timeout=900)
        assert re.fullmatch(r"0 \d+\n", said), said + errors
        files = (path for place in self.places for path in place.rglob("*") if path.is_file())
        assert [path for path in files if "out" not in path.parts] == []
        return int(said.split()[1])


def watched(tmp_path: Path, *command: object) -> int:
    return Watched(tmp_path, *command).requests()


@pytest.fixture(scope="module", autouse=True)
def long_ones(tmp_path_factory) -> Iterator[dict[str, Watched]]:
    """What waits for seconds, which it does while other tests run."""
    if not isolated():
        yield {}
        return
    serve = ("-m", "pfvit", "serve", "--host", "0.0.0.0", "--port", "0")
    begun = {
        "packages": Watched(tmp_path_factory.mktemp("packages"), sys.executable, "-c", ALL),
        "service": Watched(tmp_path_factory.mktemp("service"), sys.executable, *serve, seconds=LONG),
    }
    yield begun
    for one in begun.values():
        if one.process.returncode is None:  # the test of it was not asked for
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.communicate()


@pytest.mark.parametrize("said", ["", "0", "false", "1"])
def test_onnxruntime_writes_no_device_id_whatever_the_environment_says(tmp_path, said):
    assert files_in_the_home_after(tmp_path, ORT_DISABLE_TELEMETRY=said) == []


def test_telemetry_is_off_before_a_dependency_can_be_imported():
    code = "import pfvit, os, sys; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])\n"
    code += "print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    environment = {name: value for name, value in os.environ.items() if "_TELEMETRY" not in name and "RAY" not in name}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.split() == ["False", "1", "0"]


@needs_namespaces
def test_a_look_up_is_noticed(tmp_path):
    assert watched(tmp_path, sys.executable, "-c", LOOK_UP) > 0


@needs_namespaces
@pytest.mark.parametrize(
    "words",
    [
        ["predict", PHOTO, "--output", "out/faces.csv", "--annotate", "out", "--picture", "out"],
        ["poker", PHOTO, "--in-photo", "--out", "out"],
        ["batch", PHOTO, PHOTO, "--out", "out"],
        ["video", "FILM", "--out", "out", "--poker"],
        ["evaluate", "--data", "FACES", "--figures", "out"],
        ["report", "--data", "FACES", "--out", "out", "--sample", "2", "--shown", "1", "--weights", "FAKE"],
        ["info", "nano"],
        ["pretrain", "nano", "--data", "UNLABELLED", "--out", "out", "--epochs", "1", "--batch", "16"],
    ],
    ids=lambda words: words[0],
)
def test_no_verb_asks_the_network_for_anything(words, tmp_path):
    import av
    import numpy as np

    (tmp_path / "work" / "out").mkdir(parents=True)
    film, faces, unlabelled = (tmp_path / name for name in ("film.mp4", "faces.parquet", "unlabelled.parquet"))
    if "FILM" in words:
        with av.open(str(film), "w") as file:
            stream = file.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(5):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
            file.mux(stream.encode(None))
    voted(faces, [(flat_png(16), {"neutral": 9}, ""), (flat_png(64), {"fear": 9}, "")])
    write_faces(unlabelled, 32)
    fake = fake_weights.write(tmp_path) if "FAKE" in words else None  # the report asks for hundreds of answers
    named = {"FAKE": fake, "FILM": film, "FACES": faces, "UNLABELLED": unlabelled}
    assert watched(tmp_path, sys.executable, "-m", "pfvit", *(named.get(word, word) for word in words)) == 0


@needs_namespaces
def test_no_verb_that_trains_asks_the_network_for_anything(tmp_path):
    (tmp_path / "work" / "out").mkdir(parents=True)
    source = layouts.rafdb(tmp_path / "rafdb", 21, 14)
    assert watched(tmp_path, sys.executable, "-c", TRAIN, source) == 0


@needs_namespaces
def test_no_package_asks_the_network_for_anything(long_ones):
    assert long_ones["packages"].requests() == 0


@needs_namespaces
def test_the_service_asks_the_network_for_nothing(long_ones):
    assert long_ones["service"].requests() == 0

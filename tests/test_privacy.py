"""Nothing is sent, and nothing is written outside of what a command was told to write."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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


def watched(tmp_path: Path, *command: object, seconds: float = 0) -> int:
    """Return how often a command asked the network for anything; it must end well and write into `out` alone.

    After so many `seconds` it is told to end; 0 waits for its end.
    """
    places = [tmp_path / name for name in ("home", "tmp", "work")]
    for place in places:
        place.mkdir(exist_ok=True)
    home, temporary, work = map(str, places)
    hostile = {"HOME": home, "TMPDIR": temporary, "ORT_DISABLE_TELEMETRY": "0", "XDG_CACHE_HOME": f"{home}/cache"}
    words = ["unshare", "--map-root-user", "--net", sys.executable, "-c", WATCH, seconds, *command]
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, cwd=work, env={**os.environ, **hostile}, timeout=900
    )
    assert re.fullmatch(r"0 \d+\n", done.stdout), done.stdout + done.stderr
    outside = [path for place in places for path in place.rglob("*") if path.is_file() and "out" not in path.parts]
    assert outside == []
    return int(done.stdout.split()[1])


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
def test_no_package_asks_the_network_for_anything(tmp_path):
    assert watched(tmp_path, sys.executable, "-c", ALL) == 0


@needs_namespaces
def test_the_service_asks_the_network_for_nothing(tmp_path):
    words = ("serve", "--host", "0.0.0.0", "--port", "0")
    assert watched(tmp_path, sys.executable, "-m", "pfvit", *words, seconds=LONG) == 0


@needs_namespaces
@pytest.mark.parametrize(
    "words",
    [
        ["predict", PHOTO, "--output", "out/faces.csv", "--annotate", "out", "--picture", "out"],
        ["poker", PHOTO, "--in-photo", "--out", "out"],
        ["batch", PHOTO, PHOTO, "--out", "out"],
        ["video", "FILM", "--out", "out", "--poker"],
        ["evaluate", "--data", "FACES", "--figures", "out"],
        ["report", "--data", "FACES", "--out", "out", "--sample", "2", "--shown", "1"],
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
    named = {"FILM": film, "FACES": faces, "UNLABELLED": unlabelled}
    assert watched(tmp_path, sys.executable, "-m", "pfvit", *(named.get(word, word) for word in words)) == 0


@needs_namespaces
def test_no_verb_that_trains_asks_the_network_for_anything(tmp_path):
    (tmp_path / "work" / "out").mkdir(parents=True)
    source = layouts.rafdb(tmp_path / "rafdb", 21, 14)
    assert watched(tmp_path, sys.executable, "-c", TRAIN, source) == 0

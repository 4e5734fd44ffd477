"""Nothing is sent, and nothing is written outside of what a command was told to write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PHOTO = Path(__file__).parents[1] / "assets" / "astronaut.jpg"
PREDICT = [sys.executable, "-m", "pfvit", "predict", str(PHOTO), "--json"]


def files_in_the_home_after(home: Path, **environment: str) -> list[Path]:
    subprocess.run(PREDICT, check=True, capture_output=True, env={**os.environ, "HOME": str(home), **environment})
    return [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("said", ["", "0", "false", "1"])
def test_onnxruntime_writes_no_device_id_whatever_the_environment_says(tmp_path, said):
    assert files_in_the_home_after(tmp_path, ORT_DISABLE_TELEMETRY=said) == []


def test_telemetry_is_off_before_onnxruntime_can_be_imported():
    code = "import pfvit, os, sys; print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.split() == ["False", "1"]

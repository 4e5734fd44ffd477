"""Ctrl-C is the first process's alone, also while others start."""

import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import signal, sys, time
if __name__ == "__mp_main__":
    waits = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    print("waits" if waits else "would end", file=sys.stderr, flush=True)
    time.sleep(1.5)
from pfvit.utils.parallel import parallel_map
if __name__ == "__main__":
    try:
        list(parallel_map(abs, range(4), 2))
    except KeyboardInterrupt:
        sys.exit("stopped")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of processes to send it to")
def test_ctrl_c_while_processes_start_leaves_no_traceback(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    child = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stderr.readline() == "waits\n"
    time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1 and said.replace("waits\n", "") == "stopped\n"

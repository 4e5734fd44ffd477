"""Run several command lines one after the other in every process that torchrun starts: importing torch takes longest.

torchrun --nproc-per-node 2 tests/ranks.py COMMANDS.json
"""

import atexit
import json
import os
import sys
from pathlib import Path

from pfvit.__main__ import main, run


def left() -> None:
    """Fail if the group is still there when all else that runs at the end has run: gloo's threads may then abort."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        print("the group was not left", file=sys.stderr, flush=True)
        os._exit(3)


def everything() -> int:
    atexit.register(left)  # before any group, so it runs after all are left, and before `run` ends the process
    for words in json.loads(Path(sys.argv[1]).read_text()):
        status = main(words)
        if status:
            return status
    return 0


if __name__ == "__main__":
    run(everything)

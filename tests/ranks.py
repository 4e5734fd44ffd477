"""Train with settings from Python, one after the other, in a process of its own or in every one that torchrun starts.

    python tests/ranks.py CONFIGS.pickle
    torchrun --nproc-per-node 2 tests/ranks.py CONFIGS.pickle

What only recipes set has no flag on the command line, and importing torch takes longest.
"""

import pickle
import sys
from pathlib import Path

from pfvit.config import Pretrain
from pfvit.errors import InputError
from pfvit.training.distributed import end_process
from pfvit.training.pretrainer import pretrain
from pfvit.training.trainer import train

if __name__ == "__main__":
    try:
        for config in pickle.loads(Path(sys.argv[1]).read_bytes()):  # noqa: S301 (ours)
            pretrain(config) if isinstance(config, Pretrain) else train(config)
    except InputError as problem:
        print(problem, file=sys.stderr)
        sys.exit(problem.status)
    end_process()

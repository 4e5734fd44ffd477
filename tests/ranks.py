"""Train with settings from Python, one after the other, in a process of its own or in every one that torchrun starts.

    python tests/ranks.py CONFIGS.pickle
    torchrun --nproc-per-node 2 tests/ranks.py CONFIGS.pickle

What only recipes set has no flag on the command line, and importing torch takes longest.
"""

import pickle
import sys
from collections.abc import Iterable
from pathlib import Path

from pfvit.config import Pretrain, Train
from pfvit.errors import InputError
from pfvit.training.distributed import end_process
from pfvit.training.pretrainer import pretrain
from pfvit.training.trainer import train


def train_all(configs: Iterable[Pretrain | Train]) -> int:
    """Train with each of these settings and return the exit status."""
    try:
        for config in configs:
            pretrain(config) if isinstance(config, Pretrain) else train(config)
    except InputError as problem:
        print(problem, file=sys.stderr)
        return problem.status
    end_process()
    return 0


if __name__ == "__main__":
    sys.exit(train_all(pickle.loads(Path(sys.argv[1]).read_bytes())))  # noqa: S301 (ours)

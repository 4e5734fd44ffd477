"""Run several command lines one after the other in every process that torchrun starts: importing torch takes longest.

torchrun --nproc-per-node 2 tests/ranks.py COMMANDS.json
"""

import json
import sys
from pathlib import Path

from pfvit.__main__ import main

if __name__ == "__main__":
    for words in json.loads(Path(sys.argv[1]).read_text()):
        status = main(words)
        if status:
            sys.exit(status)

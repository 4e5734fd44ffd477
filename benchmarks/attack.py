"""Does anything that strangers send end, stop or fill a process, and is anything lost when one is killed?

    python benchmarks/attack.py [--inputs 100000] [--kills 50] [--seed 0] [--out attack] [--parts pictures,parquet]
                                [--jobs predict,batch]

Reads damaged inputs of every kind (`fuzzers.py`), some thousand at a time in a process of its own. Counts those that
are read, those that are refused with an error of ours, and all others: other errors, processes that end, inputs that
take more than 5 s of the processor, processes of more than 1 GB. Then kills long jobs at random moments and compares
what they end with to an unbroken run. What is found lies in OUT/found. Stopped, the same command goes on. Prints a
table in Markdown.

The service has scripts of its own: `benchmarks/refused.py` for damaged pictures, `benchmarks/serving.py` for too many
callers.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzzers import PARTS
from kills import JOBS, kills

from pfvit.errors import InputError

#: Inputs of a process: its start takes as long as hundreds of them.
MOST = 5000
#: Where inputs are written: on a disk most of the time would be spent waiting for it.
MEMORY = Path("/dev/shm")
#: The input that is being read, for when it ends its process.
NOW = "now"
SLOW, LARGE = 5.0, 1_000_000_000
LIMIT = 3600  # seconds of a process


def some(part: str, seed: str, count: int, found: Path, folder: Path) -> dict[str, float]:
    """Read so many inputs; return how many came to what, and the slowest. `folder` is for what is read from files."""
    counts = {"read": 0, "refused": 0, "other errors": 0, "slow": 0, "slowest": 0.0}
    inputs = PARTS[part](folder, random.Random(seed))
    for number in range(count):
        content, read = next(inputs)
        (folder / NOW).write_bytes(content)
        began = time.process_time()  # so that what else runs on the machine does not count
        try:
            read(content)
            counts["read"] += 1
        except InputError:
            counts["refused"] += 1
        except Exception:
            counts["other errors"] += 1
            keep(found, f"{part}-{seed}-{number}", content, traceback.format_exc())
        spent = time.process_time() - began
        counts["slowest"] = max(counts["slowest"], spent)
        if spent > SLOW:
            counts["slow"] += 1
            keep(found, f"{part}-{seed}-{number}", content, f"{spent:.1f} s")
    return counts


def keep(found: Path, name: str, content: bytes, why: str) -> None:
    name = name.replace("/", "-").replace(" ", "-")
    (found / name).write_bytes(content)
    (found / f"{name}.txt").write_text(why)


def apart(part: str, seed: str, count: int, out: Path) -> dict[str, float]:
    """Do the same in a process of its own, and say if it ends or takes too much."""
    found = out / "found"
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        words = [sys.executable, __file__, "--some", part, seed, str(count), folder, "--out", str(out)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
            result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
            why = f"status {done.returncode}\n{done.stderr[-2000:]}"
        except subprocess.TimeoutExpired:
            result, why = None, f"more than {LIMIT} s"
        if result is None:
            keep(found, f"{part}-{seed}-ended", (Path(folder) / NOW).read_bytes(), why)
            return {"ended": 1}
        return {**result, "ended": 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("attack"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--some", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.some:
        import resource

        part, seed, count, folder = options.some
        counts = some(part, seed, int(count), options.out / "found", Path(folder))
        kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({**counts, "memory": kilobytes * 1024}))
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "done.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    before = {(one["part"], one["seed"]) for one in done}
    with log.open("a") as file:

        def note(**what: object) -> None:
            done.append(what)
            file.write(json.dumps(what) + "\n")
            file.flush()

        for part in filter(None, options.parts.split(",")):
            for start in range(0, options.inputs, MOST):
                seed, count = f"{options.seed}-{start}", min(MOST, options.inputs - start)
                if (part, seed) not in before:
                    note(part=part, seed=seed, inputs=count, **apart(part, seed, count, options.out))
        for verb in filter(None, options.jobs.split(",")) if options.kills else ():
            if (verb, str(options.seed)) not in before:
                count, ends, same = kills(verb, options.kills, options.seed)
                note(part=verb, seed=str(options.seed), kills=count, ends=ends, same=same)
    print(f"seed {options.seed}\n")
    return report([one for one in done if one["seed"].split("-")[0] == str(options.seed)])


def report(done: list[dict]) -> int:
    """Print the tables; return 1 if anything was found."""
    wrong = 0
    print("| inputs | tried | read | refused | other errors | ended | over 5 s | slowest, s | most memory, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for part in PARTS:
        rows = [one for one in done if one["part"] == part]
        if not rows:
            continue
        names = ("inputs", "read", "refused", "other errors", "ended", "slow")
        sums = [sum(row.get(name, 0) for row in rows) for name in names]
        memory = max(row.get("memory", 0) for row in rows)
        wrong += sum(sums[3:]) + (memory > LARGE)
        shown = " | ".join(f"{number:,}" for number in sums)
        print(f"| {part} | {shown} | {max(row.get('slowest', 0) for row in rows):.1f} | {memory / 1e6:,.0f} |")
    killed = [one for one in done if "kills" in one]
    if killed:
        print("\n| job | kills | runs brought to their end | as an unbroken one |\n|---|---:|---:|---|")
    for one in killed:
        wrong += not one["same"]
        print(f"| {one['part']} | {one['kills']} | {one['ends']} | {'all' if one['same'] else 'NOT ALL'} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Does anything that strangers send end, stop or fill a process, and is anything lost when one is killed?

    python benchmarks/attack.py [--inputs 100000] [--kills 50] [--seed 0] [--out attack] [--parts pictures,parquet]

Reads damaged inputs of every kind, some hundred at a time in a process of its own. Counts those that are read, those
that are refused with an error of ours, and all others: other errors, processes that end, inputs that take more than
5 s of the processor, processes of more than 1 GB. Then kills long jobs at random moments and compares what they end
with to an unbroken run. What is found lies in OUT/found. Stopped, the same command goes on. Prints a table in Markdown.

The service has scripts of its own: `benchmarks/refused.py` for damaged pictures, `benchmarks/serving.py` for too many
callers.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import fake_weights
import hostile
import layouts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pfvit.config import Prepare
from pfvit.data import images, sources
from pfvit.datasets import SETS
from pfvit.errors import InputError, PictureError
from pfvit.inference.network import open_recogniser

SOME = 500  # inputs of a process
SLOW, LARGE = 5.0, 1_000_000_000
LIMIT = 600  # seconds of a process

Read = Callable[[bytes], None]


def pictures(folder: Path, rng: random.Random) -> Iterator[tuple[bytes, Read]]:
    """Damaged pictures of every format."""
    files = [*hostile.good().values(), *hostile.greedy().values()]

    def read(content: bytes) -> None:
        images.decode(content)

    while True:
        yield hostile.damaged(rng.choice(files), rng), read


def parquet(folder: Path, rng: random.Random) -> Iterator[tuple[bytes, Read]]:
    """Damaged Parquet files."""
    made, path = [], folder / "a.parquet"
    cells = [{"bytes": content, "path": name} for name, content in hostile.good().items()]
    table = pa.table({"image": cells, "name": [cell["path"] for cell in cells], "label": list(range(len(cells)))})
    for compression in ("none", "snappy", "zstd", "gzip"):
        pq.write_table(table, path, compression=compression, row_group_size=10)
        made.append(path.read_bytes())

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for item in sources.items([path]):
            if isinstance(item.picture, PictureError):
                raise item.picture

    while True:
        content = rng.choice(made)
        cut = rng.choice((0, len(content) - rng.randrange(100, 4000)))
        yield content[:cut] + hostile.damaged(content[cut:], rng), read


def weights(folder: Path, rng: random.Random) -> Iterator[tuple[bytes, Read]]:
    """Damaged weight files."""
    path = fake_weights.write(folder)
    content = path.read_bytes()

    def read(content: bytes) -> None:
        path.write_bytes(content)
        open_recogniser(path)

    while True:
        yield hostile.damaged(content, rng), read


def lists(folder: Path, rng: random.Random) -> Iterator[tuple[bytes, Read]]:
    """Damaged lists of data sets."""
    made = []
    for number, (name, lay, files) in enumerate(LISTS):
        source = getattr(layouts, lay)(folder / str(number))
        made += [(name, source, source / file, (source / file).read_bytes()) for file in files]

    while True:
        name, source, file, content = rng.choice(made)

        def read(content: bytes, name=name, source=source, file=file) -> None:
            before = file.read_bytes()
            file.write_bytes(content)
            try:
                for item in SETS[name].listing(source, Prepare(name, source, folder / "out")):
                    path = getattr(item, "path", None)
                    assert path is None or (".." not in path.parts and path.is_relative_to(source)), path
            finally:
                file.write_bytes(before)

        yield hostile.damaged(content, rng), read


LISTS = (
    ("affectnet8", "affectnet_tables", ["training.csv", "validation.csv"]),
    ("expw", "expw", ["label/label.lst"]),
    ("ferplus", "ferplus", ["fer2013.csv", "fer2013new.csv"]),
)
PARTS = {part.__name__: part for part in (pictures, parquet, weights, lists)}


def some(part: str, seed: str, count: int, found: Path) -> dict[str, float]:
    """Read so many inputs; return how many came to what, the slowest, and the memory of this process."""
    counts = {"read": 0, "refused": 0, "other errors": 0, "slow": 0, "slowest": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        inputs = PARTS[part](Path(folder), random.Random(seed))
        for number in range(count):
            content, read = next(inputs)
            (found / "now").write_bytes(content)
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
    words = [sys.executable, __file__, "--some", part, seed, str(count), "--out", str(out)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
        result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        why = f"status {done.returncode}\n{done.stderr[-2000:]}"
    except subprocess.TimeoutExpired:
        result, why = None, f"more than {LIMIT} s"
    if result is None:
        keep(found, f"{part}-{seed}-ended", (found / "now").read_bytes(), why)
        return {"ended": 1}
    return {**result, "ended": 0}


def job(verb: str, folder: Path, weights: Path) -> tuple[list[str], Callable[[], list]]:
    """Return a long job as a command, and what reads its result."""
    words = [sys.executable, "-m", "pfvit", verb, str(folder / "in.parquet"), "--whole", "--weights", str(weights)]
    if verb == "predict":
        out = folder / "o.jsonl"
        return [*words, "--output", str(out)], lambda: out.read_text().splitlines()
    out = folder / "b"
    words += ["--out", str(out), "--processes", "1", "--rows", "200"]
    return words, lambda: [
        row for kind in ("faces", "failed") for file in sorted((out / kind).glob("part-*"))
        for row in pq.read_table(file).to_pylist()
    ]  # fmt: skip


def kills(verb: str, count: int, seed: int) -> tuple[int, bool]:
    """Kill a job so many times at random moments; return how often it was alive, and if it ends as an unbroken one."""
    rng = random.Random(f"{seed} {verb}")
    results, alive = [], 0
    for unbroken in (True, False):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            weights = fake_weights.write(folder)
            noise = np.random.default_rng(0).integers(0, 255, (3000, 20, 20, 3), np.uint8)
            cells = [hostile.saved(images.Image.fromarray(one), "PNG") if one[0, 0, 0] > 9 else b"x" for one in noise]
            pq.write_table(pa.table({"image": cells}), folder / "in.parquet")
            words, result = job(verb, folder, weights)
            resume: list[str] = []
            if not unbroken:
                for _ in range(count):
                    process = subprocess.Popen([*words, *resume], stderr=subprocess.DEVNULL)
                    time.sleep(rng.uniform(0.3, 4))
                    alive += process.poll() is None
                    process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)))
                    process.wait()
                    begun = (folder / "o.jsonl.part").exists() or (folder / "b" / "plan.json").exists()
                    resume = ["--resume"] if begun else []
                    if (folder / "o.jsonl").exists():
                        break
            if unbroken or not (folder / "o.jsonl").exists():
                subprocess.run([*words, *resume], stderr=subprocess.DEVNULL)
            results.append([str(row).replace(name, "") for row in result()])
    return alive, results[0] == results[1] and len(results[0]) >= 3000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("attack"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--some", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.some:
        import resource

        part, seed, count = options.some
        counts = some(part, seed, int(count), options.out / "found")
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

        for part in options.parts.split(","):
            for start in range(0, options.inputs, SOME):
                seed, count = f"{options.seed}-{start}", min(SOME, options.inputs - start)
                if (part, seed) not in before:
                    note(part=part, seed=seed, inputs=count, **apart(part, seed, count, options.out))
        for verb in ("predict", "batch") if options.kills else ():
            if (verb, str(options.seed)) not in before:
                alive, same = kills(verb, options.kills, options.seed)
                note(part=verb, seed=str(options.seed), kills=alive, same=same)
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
        print("\n| job | kills | ends as an unbroken run |\n|---|---:|---|")
    for one in killed:
        wrong += not one["same"]
        print(f"| {one['part']} | {one['kills']} | {'yes' if one['same'] else 'NO'} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

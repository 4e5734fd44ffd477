"""Do inputs that are made to reach every line of our own parsers end, stop or fill a process?

    pip install atheris        # Linux on x86_64, Python 3.11 to 3.14
    python benchmarks/guided.py [--runs 100000] [--seed 0] [--out attack/guided] [--parts headers,onnx]

Atheris (libFuzzer for Python) keeps an input where it runs lines that none before has run, and changes those that it
has kept. Each parser of `parsers.py` has a process of its own, and OUT/PARSER for what is kept, from which the same
command goes on. Whatever raises an error that is not ours, takes more than 5 s or more than 1 GB lies in OUT/found; a
fault that shows again and again is kept once. Prints a table in Markdown. Without atheris it says so, and that is all.
"""

import argparse
import importlib.util
import json
import random
import re
import subprocess
import sys
import tempfile
import traceback
from hashlib import blake2b
from pathlib import Path

MEMORY = Path("/dev/shm")
SLOW, LARGE = 5, 1000  # seconds, megabytes
#: Bytes of an input; a longer good one is cut.
LONGEST = 4096


def one(part: str, out: Path, folder: Path, runs: int, seed: int) -> None:
    """Try a parser, in this process, which ends here."""
    import atheris

    with atheris.instrument_imports(include=["pfvit", "multipart"]):
        from parsers import PARSERS

        from pfvit.errors import InputError

        good, read = PARSERS[part](folder)
    kept, found = out / part, out / "found"
    for content in good:
        (kept / f"good-{blake2b(content, digest_size=8).hexdigest()}").write_bytes(content[:LONGEST])
    seen: set[str] = set()

    def try_one(content: bytes) -> None:
        try:
            read(content)
        except InputError:
            pass
        except Exception as problem:
            last = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{part}-{type(problem).__name__}-{Path(last.filename).stem}-{last.lineno}"
            if where not in seen:
                seen.add(where)
                (found / where).write_bytes(content)
                (found / f"{where}.txt").write_text(traceback.format_exc())

    def changed(content: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        other = changed_json(content, rng) if rng.random() < 0.5 else None
        return atheris.Mutate(content, most) if other is None or len(other) > most else other

    words = [f"-runs={runs}", f"-seed={seed + 1}", f"-max_len={LONGEST}", f"-timeout={SLOW}", f"-rss_limit_mb={LARGE}"]
    words += [f"-artifact_prefix={found}/{part}-", "-print_final_stats=1", "-verbosity=1", str(kept)]
    atheris.Setup([sys.argv[0], *words], try_one, custom_mutator=changed)
    atheris.Fuzz()


#: What JSON may say instead of what it should.
ODD = (
    *(None, True, 0, -1, 10**400, -(10**30), 1e300, -1e300, 0.5, "", "0", "-9" * 30, "../a", "\0", "nan", "happy"),
    *([], [[]], {}, {"a": 1}, [1, "a"], [0.5, 10**400], {"a": [None]}),
)


def changed_json(content: bytes, rng: random.Random) -> bytes | None:
    """Put something else in a place of JSON among lines or texts with NUL between them; None if there is no JSON."""
    pieces = re.split(rb"([\0\n])", content)
    place = rng.choice([at for at, piece in enumerate(pieces) if piece[:1] in b"[{0123456789" and piece] or [None])
    if place is None:
        return None
    before = pieces[place][: pieces[place][:1].isdigit()]  # a format's number
    try:
        whole = [json.loads(pieces[place][len(before) :])]
    except (ValueError, RecursionError):
        return None
    inside, key = whole, 0
    while isinstance(inside[key], dict | list) and inside[key] and rng.random() < 0.85:
        inside = inside[key]
        key = rng.choice(list(inside)) if isinstance(inside, dict) else rng.randrange(len(inside))
    kind = rng.randrange(4)
    if kind == 0 and inside is not whole:
        del inside[key]
    elif kind == 1 and isinstance(inside[key], str):
        inner = changed_json(inside[key].encode(), rng)
        inside[key] = inside[key] * 2 if inner is None else inner.decode(errors="replace")
    else:
        inside[key] = rng.choice(ODD)
    pieces[place] = before + json.dumps(whole[0]).encode()
    return b"".join(pieces)


def apart(part: str, out: Path, runs: int, seed: int) -> dict[str, object]:
    """Try a parser in a process of its own; return what it says at its end."""
    (out / part).mkdir(parents=True, exist_ok=True)
    (out / "found").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        words = [sys.executable, __file__, "--one", part, folder, "--runs", str(runs), "--seed", str(seed)]
        done = subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, errors="replace")
    (out / f"{part}.log").write_text(done.stderr)
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    lines = [int(number) for number in re.findall(r"cov: (\d+)", done.stderr)]
    return {
        "runs": int(stats.get("number_of_executed_units", 0)),
        "memory": int(stats.get("peak_rss_mb", 0)),
        "kept": len(list((out / part).iterdir())),
        "reached": (min(lines, default=0), max(lines, default=0)),
        "ended": int(done.returncode != 0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("attack/guided"))
    parser.add_argument("--parts")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed, so nothing is guided by coverage: pip install atheris (Linux on x86_64)")
        return 0
    if options.one:
        one(options.one[0], options.out, Path(options.one[1]), options.runs, options.seed)
    from parsers import PARSERS

    parts = options.parts.split(",") if options.parts else list(PARSERS)
    log = options.out / "done.jsonl"
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for part in parts:
        if not any((one["part"], one["seed"], one["wanted"]) == (part, options.seed, options.runs) for one in done):
            result = apart(part, options.out, options.runs, options.seed)
            done.append({"part": part, "seed": options.seed, "wanted": options.runs, **result})
            log.write_text("".join(json.dumps(one) + "\n" for one in done))
    print(f"seed {options.seed}\n")
    print("| parser | runs | branches, at first | at the end | inputs kept | ended | most memory, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for one_ in done:
        if one_["seed"] == options.seed and one_["part"] in parts:
            first, last = one_["reached"]
            shown = (one_["runs"], first, last, one_["kept"], one_["ended"], one_["memory"])
            print(f"| {one_['part']} | " + " | ".join(f"{number:,}" for number in shown) + " |")
    found = sorted(path.name for path in (options.out / "found").iterdir() if path.suffix != ".txt")
    print(f"\n{len(found)} faults found" + (f", in {options.out / 'found'}: {', '.join(found)}" if found else ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Does training run at the rate that its FLOP say, and what does another process add?

    python benchmarks/scaling.py FACES.parquet [--presets compact compact-colour paper-tiny] [--steps 16]

The machine's own rate is a product of bf16 (float32 where the processor has none) matrices of 1,024 x 1,024, on one
core and on two, measured before and after each preset. Runs are real ones, in turns: one process with one
thread, one with two, two with one thread each (DDP), and two that share the weights (FSDP2); the rate is that of their
own log, without the first quarter of the steps. GFLOP are those of `pfvit info`. `efficiency` is the rate over that of
one process with one thread times the cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.config.presets import architecture
from pfvit.data.dataset import FaceDataset
from pfvit.training.cost import training_cost
from pfvit.training.distributed import end_process
from pfvit.training.pretrainer import pretrain
from pfvit.training.trainer import train

SIDE = 1024
WAYS = {"1 x 1": (1, 1, False), "1 x 2": (1, 2, False), "2 x 1": (2, 1, False), "2 x 1, sharded": (2, 1, True)}


def matrix_rate(threads: int, kind: torch.dtype) -> float:
    """Return the median GFLOP/s of square products."""
    torch.set_num_threads(threads)
    left, right = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
    rates = []
    for _ in range(12):
        began = time.perf_counter()
        left @ right
        rates.append(2 * SIDE**3 / (time.perf_counter() - began) / 1e9)
    return statistics.median(rates)


def one(stage: str, preset: str, data: str, out: str, batch: int, epochs: float, log_every: int, **hardware) -> None:
    """Train with the whole adversarial stage from the first step, in one of the processes that `rate` starts."""
    settings = {"data": (Path(data),), "out": Path(out), "batch": batch, "epochs": epochs, "log_every": log_every}
    settings |= {"warmup": 0.0, "model": architecture(preset), "hardware": Hardware(**hardware)}
    if stage == "pretrain":
        pretrain(Pretrain(**settings))
    else:
        gan = Gan(batch=batch * 3 // 8, discriminator_start=0.0, discriminator_ramp=0.0)
        train(Train(**settings, gan=gan))
    end_process()


def rate(stage: str, preset: str, way: str, options: argparse.Namespace, faces: int) -> float:
    """Return the faces per second that one run logs."""
    processes, threads, shard = WAYS[way]
    batch = options.batch[options.presets.index(preset)]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "stage": stage,
            "preset": preset,
            "data": str(options.faces),
            "out": f"{folder}/run",
            "batch": batch,
            "epochs": (options.steps + 0.5) * batch / faces,
            "log_every": options.steps // 4,
            "threads": threads,
            "shard": shard,
        }
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes > 1 else []
        words = [sys.executable, *launch, __file__, str(options.faces), "--one", json.dumps(settings)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        log = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["faces_per_second"] for line in log if "faces_per_second" in line]
    return statistics.harmonic_mean(rates[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path, help="labelled faces, in Parquet")
    parser.add_argument("--presets", nargs="+", default=["compact", "compact-colour", "paper-tiny"])
    parser.add_argument("--batch", nargs="+", type=int, default=[64, 32, 16], help="one for each preset")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(**json.loads(options.one))
        return
    if len(options.batch) != len(options.presets):
        parser.error("--batch needs one number for each of --presets")
    kind = torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    faces = len(FaceDataset([options.faces], labelled=False))
    print("| preset, stage | processes x threads | faces/s | GFLOP/s | of the matrix rate | efficiency |")
    print("|---|---|---|---|---|---|")
    for preset in options.presets:
        before = [matrix_rate(cores, kind) for cores in (1, 2)]
        costs = training_cost(preset)
        lines = []
        for verb, stage in (("pretrain", "stage one"), ("train", "stage two")):
            alone = 0.0
            for way, (processes, threads, _) in WAYS.items():
                cores = processes * threads
                got = rate(verb, preset, way, options, faces)
                alone = alone or got
                lines.append((f"{preset}, {stage}", way, cores, got, got * costs[stage] / 1e9, got / alone / cores))
        after = [matrix_rate(cores, kind) for cores in (1, 2)]
        full = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
        for name, way, cores, got, flops, efficiency in lines:
            print(f"| {name} | {way} | {got:.1f} | {flops:.0f} | {flops / full[cores - 1]:.0%} | {efficiency:.2f} |")
        told = ", ".join(f"{was:.0f} and {now:.0f}" for was, now in zip(before, after, strict=True))
        print(
            f"| {kind}, {SIDE} x {SIDE} | one core before and after, two cores | | {told} | | |".replace("torch.", "")
        )


if __name__ == "__main__":
    main()

"""How fast does training go on a GPU, of what the card can do, and does a killed run go on to the bit?

    python benchmarks/gpu.py [--seconds 20] [--only rate one bare peer ...]
    python benchmarks/gpu.py --tiny --cpu

One JSON object a line. Each part runs in a process of its own, on faces that are made up and kept on the card (for
decoding see benchmarks/loader.py). Trillions of FLOP are those of `pfvit info`'s counter, and `share` is of the rate
of a product of bf16 matrices, which is measured first.

    rate           the card, and that rate
    one            stage one as `pfvit pretrain` runs it: paper-base, 224 px, batch 128
    compiled       the same with torch.compile (not on a processor)
    deterministic  the same with deterministic algorithms alone (`hardware.deterministic`)
    bare           the same model in a loop of forward, backward and AdamW
    peer           transformers' ViTMAE of the same shape in that loop; passed over where it is not installed
    two            stage two as `pfvit train` runs it: small-conv, with the whole adversarial stage in every step
    muon           the same with Muon, and the adversarial stage in every fourth step
    syncs          what a step of either stage makes the processor wait for, by place in the code; nothing is right
    resume         runs with deterministic algorithms, killed and resumed: whether all tensors are those of a whole run

`--tiny --cpu` shows in a minute that all of it runs, with figures that mean nothing.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file

import pfvit
from pfvit.config.presets import architecture
from pfvit.emotions import EIGHT
from pfvit.model import Autoencoder, mask_patches
from pfvit.model.transformer import patchify
from pfvit.training import checkpoint, loop, losses
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.cost import training_cost

FACES = 512
LOG_EVERY, WARM_LINES = 10, 2  # steps of a line of the log, and lines that are not counted
EPOCHS = 100_000.0  # time ends a run
STEPS, WATCHED = 12, 8  # of a run that is killed, and of one whose waits are counted
MASKED = 0.75
#: The whole adversarial stage from the first step.
WHOLE = {"discriminator_start": 0.0, "discriminator_ramp": 0.0}
EXACT = {"resident": True, "deterministic": True}


class Part:
    """What all parts know: the settings of the call, and the files that they share."""

    def __init__(self, options: argparse.Namespace, folder: Path):
        self.options, self.folder, self.tiny = options, folder, options.tiny
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.one, self.two = ("nano", "nano") if self.tiny else ("paper-base", "small-conv")
        self.batches, self.log_every = ((16, 16), 2) if self.tiny else ((128, 64), LOG_EVERY)
        self.faces, self.rate_file = folder / "faces.parquet", folder / "rate"

    def say(self, name: str, **values: Any) -> None:
        """Print one line."""
        short = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in values.items()}
        print(json.dumps({"name": name, **short}), flush=True)

    def share(self, stage: str, preset: str, batch: int, rate: float) -> dict[str, float]:
        """Return trillions of FLOP per second at so many faces per second, and the share of the card's rate."""
        flops = training_cost(preset, batch)[stage] * rate
        return {"tflops": flops / 1e12, "share": flops / float(self.rate_file.read_text())}


def make_faces(path: Path, side: int) -> None:
    """Write made-up faces of all eight emotions as Parquet."""
    draws = np.random.default_rng(0)
    files = [io.BytesIO() for _ in range(FACES)]
    for file in files:
        coarse = Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((side, side)).save(file, "JPEG")
    rows = {"image": [file.getvalue() for file in files], "label": [EIGHT[row % 8] for row in range(FACES)]}
    pq.write_table(pa.table(rows), path)


def timed(work: Callable[[], object], seconds: float, cuda: bool, at_once: int = 10) -> float:
    """Return the seconds that one call takes, over about so many seconds; the first calls are not counted."""
    began, calls = time.perf_counter(), -at_once
    while calls <= 0 or time.perf_counter() - began < seconds:
        for _ in range(at_once):
            work()
        if cuda:
            torch.cuda.synchronize()
        calls += at_once
        began = time.perf_counter() if calls == 0 else began
    return (time.perf_counter() - began) / calls


def rate(part: Part) -> None:
    side = 8192 if part.cuda and not part.tiny else 512
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=part.device) for _ in range(2))
    found = 2 * side**3 / timed(lambda: left @ right, 1.0, part.cuda)
    part.rate_file.write_text(str(found))
    card = torch.cuda.get_device_name() if part.cuda else "processor"
    part.say("rate", device=card, torch=torch.__version__, bf16_tflops=found / 1e12)


def settings(part: Part, stage: str, name: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of `pfvit.pretrain` or `pfvit.train` for a run on faces that are kept on the card."""
    preset, batch = (part.one, part.batches[0]) if stage == "one" else (part.two, part.batches[1])
    common = {"data": part.faces, "out": part.folder / name, "batch": batch, "epochs": EPOCHS}
    common |= {"log_every": part.log_every, "evaluate_every": 10**9, "hardware": {"resident": True}}
    return {"preset": preset, **common, **({"gan": WHOLE} if stage == "two" else {}), **more}


def train(stage: str, given: dict[str, Any]) -> Path:
    return (pfvit.pretrain if stage == "one" else pfvit.train)(**given)


def logged(part: Part, name: str, stage: str, counted: bool = True, **more: Any) -> None:
    """Train for some seconds and tell what the run's own log says."""
    given = settings(part, stage, name, minutes=part.options.seconds / 60, **more)
    told = [json.loads(line) for line in (train(stage, given) / "metrics.jsonl").read_text().splitlines()]
    lines = told[WARM_LINES:] or told
    faces = statistics.median(line["faces_per_second"] for line in lines)
    said = {"preset": given["preset"], "batch": given["batch"], "faces_per_second": faces}
    flops = part.share(f"stage {stage}", given["preset"], given["batch"], faces) if counted else {}
    memory = {"peak_gib": torch.cuda.max_memory_allocated() / 2**30} if part.cuda else {}
    part.say(name, **said, **flops, steps=told[-1]["step"], **memory)


def looped(part: Part, name: str, model: torch.nn.Module, loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Train a model of stage one without a loop of ours."""
    sizes, batch = architecture(part.one), part.batches[0]
    torch.set_float32_matmul_precision("high")
    adam = torch.optim.AdamW(model.parameters(), 1e-4, fused=part.cuda)
    face = torch.rand(batch, sizes.channels, sizes.image_size, sizes.image_size, device=part.device) * 2 - 1

    def step() -> None:
        with torch.autocast(part.device.type, torch.bfloat16):
            error = loss(face)
        error.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        adam.step()
        adam.zero_grad()

    faces = batch / timed(step, part.options.seconds / 2, part.cuda)
    share = part.share("stage one", part.one, batch, faces)
    part.say(name, preset=part.one, batch=batch, faces_per_second=faces, **share)


def bare(part: Part) -> None:
    sizes = architecture(part.one)
    model = Autoencoder(build_encoder(sizes), build_decoder(sizes)).to(part.device)

    def loss(face: torch.Tensor) -> torch.Tensor:
        mask = mask_patches(torch.rand(len(face), sizes.tokens, device=face.device), MASKED)
        return losses.masked_reconstruction(model(face, mask), patchify(face, sizes.patch_size), mask.hidden)

    looped(part, "bare", model, loss)


def peer(part: Part) -> None:
    try:
        from transformers import ViTMAEConfig, ViTMAEForPreTraining
    except ModuleNotFoundError:
        part.say("peer", passed_over="transformers is not installed")
        return
    sizes = architecture(part.one)
    config = ViTMAEConfig(
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        num_channels=sizes.channels,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        decoder_hidden_size=sizes.decoder_width,
        decoder_num_hidden_layers=sizes.decoder_depth,
        decoder_num_attention_heads=sizes.decoder_heads,
        decoder_intermediate_size=4 * sizes.decoder_width,
        mask_ratio=MASKED,
        attn_implementation="sdpa",
    )
    model = ViTMAEForPreTraining(config).to(part.device)
    looped(part, "peer", model, lambda face: model(pixel_values=face).loss)


def syncs(part: Part) -> None:
    """Count torch's own warnings of calls that wait for the card."""
    plain, watch = loop.take_step, torch.cuda.set_sync_debug_mode if part.cuda else str
    for stage in ("one", "two"):
        places: Counter[str] = Counter()

        def watched(*given: Any, places: Counter[str] = places) -> Any:
            if given[4] < STEPS - WATCHED:  # the first steps set things up
                return plain(*given)
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                watch("warn")
                means = plain(*given)
                watch("default")
            waits = [one for one in heard if "synchroniz" in str(one.message)]
            places.update(f"{Path(one.filename).name}:{one.lineno}" for one in waits)
            return means

        loop.take_step = watched
        given = settings(part, stage, f"syncs-{stage}")
        train(stage, given | {"epochs": STEPS * given["batch"] / FACES, "log_every": STEPS})
        each = {place: count / WATCHED for place, count in places.items()}
        part.say("syncs", stage=stage, per_step=sum(each.values()), where=each)
    loop.take_step = plain


def resume(part: Part) -> None:
    def begin(part: Part, stage: str, given: dict[str, Any]) -> subprocess.Popen:
        return subprocess.Popen(words(part.options, part.folder, f"run:{stage}:{json.dumps(given, default=str)}"))

    for stage in ("one", "two"):
        given = settings(part, stage, "whole", log_every=1, hardware=EXACT)
        given |= {"epochs": STEPS * given["batch"] / FACES}
        whole, cut = part.folder / f"{stage}-whole", part.folder / f"{stage}-cut"
        begin(part, stage, given | {"out": whole}).wait()
        killed = begin(part, stage, given | {"out": cut, "checkpoint_minutes": 1e-6})
        log = cut / "metrics.jsonl"
        while killed.poll() is None and not (log.exists() and log.read_text().count("\n") > STEPS // 2):
            time.sleep(0.005)
        killed.kill()
        killed.wait()
        at = checkpoint.record_of(cut)["step"]
        begin(part, stage, {"out": cut, "resume": True}).wait()
        one, other = (load_file(run / checkpoint.LAST) for run in (whole, cut))
        same = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        part.say("resume", stage=stage, preset=given["preset"], killed_at=at, steps=STEPS, bitwise=same)


def words(options: argparse.Namespace, folder: Path, part: str) -> list[str]:
    """Return the command of one part in a process of its own."""
    tiny = ["--tiny"] if options.tiny else []
    return [sys.executable, __file__, *tiny, "--seconds", f"{options.seconds}", "--part", part, "--folder", f"{folder}"]


PARTS: dict[str, Callable[[Part], None]] = {
    "rate": rate,
    "one": lambda part: logged(part, "one", "one"),
    "compiled": lambda part: logged(part, "compiled", "one", hardware={"resident": True, "compile": part.cuda}),
    "deterministic": lambda part: logged(part, "deterministic", "one", hardware=EXACT),
    "bare": bare,
    "peer": peer,
    "two": lambda part: logged(part, "two", "two"),
    "muon": lambda part: logged(part, "muon", "two", False, optimizer="muon", gan={**WHOLE, "every": 4}),
    "syncs": syncs,
    "resume": resume,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=None, help="of each run (20; with --tiny 3)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tiny", action="store_true", help="the smallest models")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.seconds = options.seconds or (3.0 if options.tiny else 20.0)
    if options.part:
        part = Part(options, options.folder)
        if options.part.startswith("run:"):
            _, stage, given = options.part.split(":", 2)
            train(stage, json.loads(given))
        else:
            PARTS[options.part](part)
        return 0
    failed = 0
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if options.cpu else {}
    with tempfile.TemporaryDirectory() as name:
        make_faces(Path(name, "faces.parquet"), architecture("nano" if options.tiny else "paper-base").image_size)
        for part in dict.fromkeys(["rate", *options.only]):
            if status := subprocess.run(words(options, Path(name), part), env={**os.environ, **hidden}).returncode:
                print(json.dumps({"name": part, "failed": status}), flush=True)
                failed += 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

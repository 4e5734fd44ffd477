"""How fast do the training loops go: beside a bare loop, with either attention, and of the machine's rate?

    python benchmarks/training.py FACES.parquet [--preset small-conv] [--rounds 4] [--threads 2] [--optimizer muon]

All run in turns in one process, so that a noisy machine disturbs them alike. The bare loop has its tensors in memory
and does forward, backward, clipping and optimizer step; ours also reads, decodes, augments, checks that the losses are
finite, averages the weights and logs. "Fused" is ours with torch's fused attention in place of the one written out.
FLOP are counted (`pfvit.training.cost`); beside them stand the rates at which this machine multiplies matrices and
convolves forward in bfloat16, measured in the same turns. With `--threads 1` processor time is measured, which others
on the machine hardly disturb.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.config.presets import architecture
from pfvit.data.dataset import FaceDataset, Stream, loader
from pfvit.model import Autoencoder, mask_patches, transformer
from pfvit.model.transformer import patchify
from pfvit.training import losses
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.cost import training_cost
from pfvit.training.distributed import make_fabric
from pfvit.training.finite import LossCheck
from pfvit.training.gan import GeneratorSide, discriminator_losses, generator_losses
from pfvit.training.initialise import both_sides
from pfvit.training.loop import is_due, take_step
from pfvit.training.pretrainer import PretrainStage
from pfvit.training.run import Run
from pfvit.training.throughput import Throughput
from pfvit.training.trainer import TrainStage

STEPS = 3  # of each loop per round
WIDTH = 1024  # of the matrices whose product is measured
CHANNELS, MAP = 96, 24  # of the convolution: as most of those in small-conv


def update(loss: torch.Tensor, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 2.0)
    optimizer.step()
    optimizer.zero_grad()


def stage_one(config: Pretrain) -> tuple[Callable[[int], None], Callable[[int], None]]:
    fabric = make_fabric(config.hardware)
    sizes = config.model

    def model() -> Autoencoder:
        return Autoencoder(build_encoder(sizes), build_decoder(sizes))

    plain = model()
    adam = torch.optim.AdamW(plain.parameters(), 1e-4)
    face = torch.rand(config.batch, sizes.channels, sizes.image_size, sizes.image_size) * 2 - 1

    def bare(step: int) -> None:
        mask = mask_patches(torch.rand(config.batch, sizes.tokens), config.mask_ratio)
        with fabric.autocast():
            predicted = plain(face, mask)
            loss = losses.masked_reconstruction(predicted, patchify(face, sizes.patch_size), mask.hidden)
        update(loss, plain, adam)

    return bare, loop(fabric, config, PretrainStage, FaceDataset(config.data, labelled=False))


def stage_two(config: Train) -> tuple[Callable[[int], None], Callable[[int], None]]:
    fabric = make_fabric(config.hardware)
    sizes, gan = config.model, config.gan
    model, opponent = both_sides(config)
    side = GeneratorSide(model, gan)
    adam, opponent_adam = (torch.optim.AdamW(module.parameters(), 1e-4) for module in (side, opponent))
    face = torch.rand(config.batch, sizes.channels, sizes.image_size, sizes.image_size) * 2 - 1
    target = torch.eye(sizes.outputs)[torch.arange(config.batch) % sizes.outputs]
    clean, strength = face[: gan.batch], torch.ones(gan.batch)

    def bare(step: int) -> None:
        opponent.requires_grad_(False)
        with fabric.autocast():
            logits, generated = side(face, *((clean, strength) if is_due(gan.every, step) else ()))
            terms = {"classification": losses.classification(logits, target)}
            if generated is not None:
                terms |= generator_losses(gan, opponent, generated, clean, target[: gan.batch], strength, 1.0)
        update(sum(terms.values()), side, adam)
        if generated is None:
            return
        opponent.requires_grad_(True)
        with_r1 = gan.r1 > 0 and is_due(gan.every * gan.r1_every, step)
        fakes = torch.cat([generated.reconstruction, generated.poker_face]).detach()
        with fabric.autocast():
            output = opponent(clean, fakes, generated.residue.detach(), with_r1)
            loss = sum(discriminator_losses(gan, output, target[: gan.batch], with_r1).values())
        update(loss, opponent, opponent_adam)

    return bare, loop(fabric, config, TrainStage, FaceDataset(config.data))


def loop(fabric: Fabric, config: Pretrain | Train, kind: type, faces: FaceDataset) -> Callable[[int], None]:
    """Return our loop's step."""
    run = Run(fabric, config, kind.__name__)
    run.steps = 1000
    stage, throughput = kind(run, config, faces, 10), Throughput(fabric, config.batch)
    check = LossCheck(config, fabric.device)
    sizes = config.model
    batches = iter(loader(Stream(faces, config.batch, sizes.image_size, sizes.channels, 0), 0, pin=False))

    def step(number: int) -> None:
        take_step(fabric, config, stage, throughput.load(batches), number, throughput, check)

    return step


def fused(ours: Callable[[int], None]) -> Callable[[int], None]:
    """Return our loop's step with torch's fused attention, as it was before."""

    def step(number: int) -> None:
        written_out, transformer.attend = transformer.attend, F.scaled_dot_product_attention
        try:
            ours(number)
        finally:
            transformer.attend = written_out

    return step


@torch.no_grad()
def measure_rates(clock: Callable[[], float]) -> tuple[float, float]:
    """Return the FLOP/s of a matrix product and of a 3 x 3 convolution in bfloat16."""
    left, right = torch.randn(2, WIDTH, WIDTH, dtype=torch.bfloat16).unbind()
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=torch.bfloat16)
    maps = torch.randn(64, CHANNELS, MAP, MAP, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    works = (
        (lambda: left @ right, 2 * WIDTH**3),
        (lambda: F.conv2d(maps, weight, padding=1), 2 * 64 * MAP**2 * 9 * CHANNELS**2),
    )
    rates = []
    for work, flop in works:
        work()
        began = clock()
        for _ in range(5):
            work()
        rates.append(5 * flop / (clock() - began))
    return rates[0], rates[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--optimizer", default="adamw", help="of ours; the bare loop's is AdamW")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    clock = time.process_time if options.threads == 1 else time.perf_counter
    sizes, hardware = architecture(options.preset), Hardware(threads=options.threads)
    flop = training_cost(options.preset, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "data": (options.faces,),
            "batch": options.batch,
            "optimizer": options.optimizer,
            "model": sizes,
            "hardware": hardware,
        }
        stages = {
            "stage one": stage_one(Pretrain(**common, out=Path(folder, "one"))),
            "stage two": stage_two(Train(**common, out=Path(folder, "two"), gan=Gan(discriminator_start=0.0))),
        }
        for name, (bare, ours) in stages.items():
            loops = {"bare": bare, "ours": ours, "fused": fused(ours)}
            spent = dict.fromkeys(loops, 0.0)
            rates = []
            for round_ in range(options.rounds + 1):
                for kind, loop_ in loops.items():
                    began = clock()
                    for step in range(STEPS):
                        loop_(round_ * STEPS + step)
                    if round_:  # the first round warms up
                        spent[kind] += clock() - began
                rates.append(measure_rates(clock))
            matrix, convolution = (sorted(column)[len(column) // 2] for column in zip(*rates, strict=True))
            faces = {kind: options.rounds * STEPS * options.batch / time_ for kind, time_ in spent.items()}
            print(f"{name}: " + ", ".join(f"{kind} {rate:.0f} faces/s" for kind, rate in faces.items()), end="; ")
            print(f"ours / bare {faces['ours'] / faces['bare']:.2f}, ours / fused {faces['ours'] / faces['fused']:.2f}")
            print(f"  bf16: matrix product {matrix / 1e9:.0f}, convolution {convolution / 1e9:.0f} GFLOP/s")
            for kind in ("ours", "fused"):
                rate = faces[kind] * flop[name]
                shares = f"{rate / matrix:.2f} and {rate / convolution:.2f} of these"
                print(
                    f"  {kind}: {flop[name] / 1e9:.2f} GFLOP per face, {rate / 1e9:.0f} GFLOP/s: {shares}", flush=True
                )


if __name__ == "__main__":
    main()

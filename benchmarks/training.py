"""How much do the training loops cost over a bare torch loop with the same model and batch?

    python benchmarks/training.py FACES.parquet [--rounds 4] [--threads 2]

Both run in turns in one process, so that a noisy machine disturbs them alike. The bare loop has its tensors in
memory and does forward, backward, clipping and optimizer step; ours also reads, decodes, augments, checks that the
losses are finite, averages the weights and logs.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from pfvit.config import Gan, Hardware, Pretrain, Train
from pfvit.config.presets import architecture
from pfvit.data.dataset import FaceDataset, Stream, loader
from pfvit.model import Autoencoder, mask_patches
from pfvit.model.transformer import patchify
from pfvit.training import losses
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.distributed import make_fabric
from pfvit.training.gan import GeneratorSide, discriminator_losses, generator_losses
from pfvit.training.initialise import both_sides
from pfvit.training.loop import is_due, take_step
from pfvit.training.pretrainer import PretrainStage
from pfvit.training.run import Run
from pfvit.training.throughput import Throughput
from pfvit.training.trainer import TrainStage

STEPS = 6  # of each loop per round


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
    target = torch.eye(sizes.classes)[torch.arange(config.batch) % sizes.classes]
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
    sizes = config.model
    batches = iter(loader(Stream(faces, config.batch, sizes.image_size, sizes.channels, 0), 0, pin=False))

    def step(number: int) -> None:
        take_step(fabric, config, stage, throughput.load(batches), number, throughput)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    sizes, hardware = architecture(options.preset), Hardware(threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "data": (options.faces,),
            "batch": options.batch,
            "model": sizes,
            "hardware": hardware,
        }
        stages = {
            "stage one": stage_one(Pretrain(**common, out=Path(folder, "one"))),
            "stage two": stage_two(Train(**common, out=Path(folder, "two"), gan=Gan(discriminator_start=0.0))),
        }
        for name, loops in stages.items():
            spent = [0.0, 0.0]
            for round_ in range(options.rounds + 1):
                for i, loop in enumerate(loops):
                    began = time.perf_counter()
                    for step in range(STEPS):
                        loop(round_ * STEPS + step)
                    if round_:  # the first round warms up
                        spent[i] += time.perf_counter() - began
            count = options.rounds * STEPS * options.batch
            bare, ours = (count / s for s in spent)
            print(f"{name}: bare loop {bare:.0f} faces/s, ours {ours:.0f} faces/s, ratio {ours / bare:.2f}")


if __name__ == "__main__":
    main()

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
from torch import nn

from pfvit.config import Game, Hardware, Pretrain, Train
from pfvit.config.presets import architecture
from pfvit.data.dataset import Faces, Stream, loader
from pfvit.model import Autoencoder, mask_patches
from pfvit.model.transformer import patchify
from pfvit.training import losses
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.gan import critic_terms, maker_terms
from pfvit.training.loop import make_fabric
from pfvit.training.pretrainer import fit
from pfvit.training.trainer import Trainer

STEPS = 6  # of each loop per round; a whole number of games


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
            drawn = plain(face, mask)
            loss = losses.masked_reconstruction(drawn, patchify(face, sizes.patch_size), mask.hidden)
        update(loss, plain, adam)

    ours_model = model()
    module, optimizer = fabric.setup(ours_model, torch.optim.AdamW(ours_model.parameters(), 1e-4))
    stream = Stream(Faces(config.data, labelled=False), config.batch, sizes.image_size, sizes.channels, 0)
    batches = iter(loader(stream, 0, pin=False))

    def ours(step: int) -> None:
        fit(fabric, module, optimizer, next(batches), step, config)

    return bare, ours


def stage_two(config: Train) -> tuple[Callable[[int], None], Callable[[int], None]]:
    fabric = make_fabric(config.hardware)
    sizes, game = config.model, config.game
    plain, other = Trainer(fabric, config, steps=1000), Trainer(fabric, config, steps=1000)
    makers, critics = plain.makers.module, plain.bare_critics
    maker_adam = torch.optim.AdamW(makers.parameters(), 1e-4)
    critic_adam = torch.optim.AdamW(critics.parameters(), 1e-4)
    side = sizes.image_size
    face = torch.rand(config.batch, sizes.channels, side, side) * 2 - 1
    target = torch.eye(sizes.classes)[torch.arange(config.batch) % sizes.classes]
    clean, strength = face[: game.batch], torch.ones(game.batch)

    def bare(step: int) -> None:
        plays = (step + 1) % game.every == 0
        critics.requires_grad_(False)
        with fabric.autocast():
            logits, made = makers(face, *((clean, strength) if plays else ()))
            terms = {"classification": losses.classification(logits, target)}
            if made is not None:
                terms |= maker_terms(game, critics, made, clean, target[: game.batch], strength, 1.0)
        update(sum(terms.values()), makers, maker_adam)
        if made is None:
            return
        critics.requires_grad_(True)
        penalise = game.penalty > 0 and (step + 1) // game.every % game.penalty_every == 0
        drawn = torch.cat([made.expressive, made.calm]).detach()
        with fabric.autocast():
            verdicts = critics(clean, drawn, made.residue.detach(), penalise)
            loss = sum(critic_terms(game, verdicts, target[: game.batch], penalise).values())
        update(loss, critics, critic_adam)

    stream = Stream(Faces(config.data), config.batch, side, sizes.channels, 0)
    batches = iter(loader(stream, 0, pin=False))

    def ours(step: int) -> None:
        other.step(next(batches), step, warmup=10)

    return bare, ours


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
            "out": Path(folder),
            "batch": options.batch,
            "model": sizes,
            "hardware": hardware,
        }
        stages = {
            "stage one": stage_one(Pretrain(**common)),
            "stage two": stage_two(Train(**common, game=Game(start=0))),
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

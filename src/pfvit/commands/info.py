"""The size and cost of a preset: parameters, and multiply-adds counted on the real modules."""

import json
from collections.abc import Callable, Sequence

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pfvit.config import Game, Info, Pretrain
from pfvit.config.presets import ARCHITECTURES, SUMMARIES, architecture
from pfvit.model import Autoencoder, Classifier, mask_patches
from pfvit.training.build import build_decoder, build_discriminator, build_encoder, build_pfvit
from pfvit.training.gan import Critics, Makers, critic_terms, maker_terms


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit info`."""
    config = tyro.cli(Info, prog="pfvit info", args=arguments)
    console = Console()
    if config.preset == "list":
        if config.json:
            console.print_json(json.dumps(SUMMARIES))
        else:
            for name in ARCHITECTURES:
                console.print(f"{name:<16}{SUMMARIES[name]}", highlight=False)
        return 0
    table, training = cost(config.preset), training_cost(config.preset)
    if config.json:
        console.print_json(json.dumps({"preset": config.preset, "parts": table, "training": training}))
        return 0
    shown = Table(title=f"{config.preset}: {SUMMARIES[config.preset]}")
    shown.add_column("part")
    shown.add_column("parameters", justify="right")
    shown.add_column("GFLOP per face", justify="right")
    for part, row in table.items():
        shown.add_row(part, f"{row['parameters']:,}", f"{row['flops'] / 1e9:.3f}")
    console.print(shown)
    told = ", ".join(f"{stage} {flops / 1e9:.3f}" for stage, flops in training.items())
    console.print(f"Training, GFLOP per face, forward and backward: {told}.", highlight=False)
    console.print(
        "One multiply-add counts as two FLOP, in the table forward only; reading a face takes the recogniser alone."
    )
    return 0


def cost(preset: str) -> dict[str, dict[str, int]]:
    """Return parameters and forward FLOP for one face of each part, of the recogniser and of the whole."""
    sizes = architecture(preset)
    with FakeTensorMode():  # shapes without memory or arithmetic: paper-base counts in a second
        model, critic = build_pfvit(sizes), build_discriminator(sizes)
        face = torch.empty(1, sizes.channels, sizes.image_size, sizes.image_size)
        tokens = torch.empty(1, sizes.tokens + 1, sizes.width)
        rows = {
            "encoder": (model.encoder, (face,)),
            "separator": (model.separator, (tokens,)),
            "classifier": (model.classifier, (tokens,)),
            "generator": (model.generator, (tokens, tokens, torch.empty(1))),
            "discriminator": (critic, (face,)),
        }
        table = {
            name: {"parameters": _parameters(part), "flops": _flops(part, inputs)}
            for name, (part, inputs) in rows.items()
        }
    recogniser = [table[name] for name in ("encoder", "separator", "classifier")]
    table["recogniser"] = {key: sum(row[key] for row in recogniser) for key in ("parameters", "flops")}
    return table


def training_cost(preset: str) -> dict[str, int]:
    """Return the FLOP of training on one face, forward and backward, in stage one and in stage two by its defaults.

    Counted on the modules that train, as `cost` counts; the game is in full swing, its lazy penalty left out.
    """
    sizes, faces = architecture(preset), 64
    game = Game()
    with FakeTensorMode():
        shape = (sizes.channels, sizes.image_size, sizes.image_size)
        autoencoder = Autoencoder(build_encoder(sizes), build_decoder(sizes))
        mask = mask_patches(torch.rand(faces, sizes.tokens), Pretrain.mask_ratio)
        one = _training_flops(lambda: autoencoder(torch.empty(faces, *shape), mask).sum())
        makers = Makers(build_pfvit(sizes), game)
        critics = Critics(build_discriminator(sizes), Classifier(sizes.width, sizes.classes))
        clean, target = torch.empty(game.batch, *shape), torch.empty(game.batch, sizes.classes)
        strength = torch.empty(game.batch)

        def make() -> torch.Tensor:
            critics.requires_grad_(False)
            logits, made = makers(torch.empty(faces, *shape), clean, strength)
            if made is None:
                raise RuntimeError("the makers were given faces to draw")
            terms = maker_terms(game, critics, made, clean, target, strength, 1.0)
            return torch.stack([*terms.values(), logits.sum()]).sum()

        def judge() -> torch.Tensor:
            critics.requires_grad_(True)
            drawn = torch.empty(2 * game.batch, *shape)
            verdicts = critics(clean, drawn, torch.empty(game.batch, sizes.tokens + 1, sizes.width), False)
            return torch.stack(list(critic_terms(game, verdicts, target, False).values())).sum()

        two = _training_flops(make) + _training_flops(judge)
    return {"stage one": one // faces, "stage two": two // faces}


def _training_flops(loss: Callable[[], torch.Tensor]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss().backward()
    return counter.get_total_flops()


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _flops(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    # The counter does not know the processor's fused attention; written out, its two products are counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()

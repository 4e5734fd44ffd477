"""The size and cost of a preset: parameters, and multiply-adds counted on the real modules."""

import json
from collections.abc import Sequence

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pfvit.build import build_discriminator, build_pfvit
from pfvit.config import Info
from pfvit.presets import ARCHITECTURES, SUMMARIES, architecture


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
    table = cost(config.preset)
    if config.json:
        console.print_json(json.dumps({"preset": config.preset, "parts": table}))
        return 0
    shown = Table(title=f"{config.preset}: {SUMMARIES[config.preset]}")
    shown.add_column("part")
    shown.add_column("parameters", justify="right")
    shown.add_column("GFLOP per face", justify="right")
    for part, row in table.items():
        shown.add_row(part, f"{row['parameters']:,}", f"{row['flops'] / 1e9:.3f}")
    console.print(shown)
    console.print("One multiply-add counts as two FLOP, forward only; reading a face takes the recogniser alone.")
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


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _flops(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    # The counter does not know the processor's fused attention; written out, its two products are counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()

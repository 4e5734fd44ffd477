"""The cost of a preset: parameters and FLOP, counted on the real modules with fake tensors."""

from collections.abc import Callable

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pfvit.config import Gan, Pretrain, Train
from pfvit.config.presets import architecture
from pfvit.model import Autoencoder, Classifier, mask_patches
from pfvit.training.build import build_decoder, build_discriminator, build_encoder, build_pfvit
from pfvit.training.gan import DiscriminatorSide, GeneratorSide, discriminator_losses, generator_losses


def cost(preset: str) -> dict[str, dict[str, int]]:
    """Return parameters and forward FLOP for one face of each part, of the recogniser and of the whole."""
    sizes = architecture(preset)
    with FakeTensorMode():  # shapes without memory or arithmetic: paper-base counts in a second
        model, discriminator = build_pfvit(sizes), build_discriminator(sizes)
        face = torch.empty(1, sizes.channels, sizes.image_size, sizes.image_size)
        tokens = torch.empty(1, sizes.tokens + 1, sizes.width)
        rows = {
            "encoder": (model.encoder, (face,)),
            "separator": (model.separator, (tokens,)),
            "classifier": (model.classifier, (tokens,)),
            "generator": (model.generator, (tokens, tokens, torch.empty(1))),
            "discriminator": (discriminator, (face,)),
        }
        table = {
            name: {"parameters": _parameters(part), "flops": _flops(part, inputs)}
            for name, (part, inputs) in rows.items()
        }
    recogniser = [table[name] for name in ("encoder", "separator", "classifier")]
    table["recogniser"] = {key: sum(row[key] for row in recogniser) for key in ("parameters", "flops")}
    return table


def training_cost(preset: str, faces: int = Train.batch) -> dict[str, int]:
    """Return the FLOP of training on one face, forward and backward, in stage one and in stage two by its defaults.

    Counted on the modules that train, as `cost` counts, with the discriminator and without the lazy R1 penalty. `faces`
    are those of a step; the generator draws as many of them as by default.
    """
    sizes, gan = architecture(preset), Gan()
    with FakeTensorMode():
        shape = (sizes.channels, sizes.image_size, sizes.image_size)
        autoencoder = Autoencoder(build_encoder(sizes), build_decoder(sizes))
        mask = mask_patches(torch.rand(faces, sizes.tokens), Pretrain.mask_ratio)
        one = _training_flops(lambda: autoencoder(torch.empty(faces, *shape), mask).sum())
        side = GeneratorSide(build_pfvit(sizes), gan)
        opponent = DiscriminatorSide(build_discriminator(sizes), Classifier(sizes.width, sizes.outputs))
        clean, target = torch.empty(gan.batch, *shape), torch.empty(gan.batch, sizes.outputs)
        strength = torch.empty(gan.batch)

        def generator_side() -> torch.Tensor:
            opponent.requires_grad_(False)
            logits, generated = side(torch.empty(faces, *shape), clean, strength)
            if generated is None:
                raise RuntimeError("the generator side was given faces to generate from")
            terms = generator_losses(gan, opponent, generated, clean, target, strength, 1.0)
            return torch.stack([*terms.values(), logits.sum()]).sum()

        def discriminator_side() -> torch.Tensor:
            opponent.requires_grad_(True)
            fakes = torch.empty(2 * gan.batch, *shape)
            output = opponent(clean, fakes, torch.empty(gan.batch, sizes.tokens + 1, sizes.width), False)
            return torch.stack(list(discriminator_losses(gan, output, target, False).values())).sum()

        two = _training_flops(generator_side) + _training_flops(discriminator_side)
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

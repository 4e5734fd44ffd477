"""Weights as others publish them, made up: under the names of timm, MAE and Hugging Face."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from pfvit.config.presets import NANO
from pfvit.model import Autoencoder
from pfvit.training import pretrained
from pfvit.training.build import build_decoder, build_encoder

COLOUR = replace(NANO, channels=3)
LEARNED = replace(COLOUR, positions="learned")


def draw(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)


def fresh(sizes) -> Autoencoder:
    return Autoencoder(build_encoder(sizes), build_decoder(sizes))


def load(path: Path, sizes, norm_pix_loss: bool = False) -> tuple[Autoencoder, str]:
    made = fresh(sizes)
    return made, pretrained.start(path, sizes, made.encoder, made.decoder, norm_pix_loss)


def timm_file(model: Autoencoder, folder: Path, suffix: str) -> Path:
    """Write weights as timm (and facebookresearch's MAE) name them: joined qkv, a head, nested for .pth."""
    tensors = {**model.encoder.state_dict(), "pos_embed": model.encoder.pos_embed.detach()}
    tensors |= {"head.weight": torch.ones(10, 32), "head.bias": torch.ones(10)}
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "vit.safetensors")
        return folder / "vit.safetensors"
    torch.save({"model": tensors}, folder / f"vit{suffix}")
    return folder / f"vit{suffix}"


def vit(old: str = "", new: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a ViT under timm's names, `old` at the beginning of a name replaced by `new`."""
    encoder = build_encoder(COLOUR)
    draw(encoder)
    tensors = {**encoder.state_dict(), "pos_embed": encoder.pos_embed}
    return {new + name.removeprefix(old) if name.startswith(old) else name: tensor for name, tensor in tensors.items()}

"""Stage one's weights as a folder that Hugging Face's `ViTMAEForPreTraining.from_pretrained` reads."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree

from safetensors.torch import save_file
from torch import Tensor

from pfvit.config import Architecture
from pfvit.errors import InputError, OutputError
from pfvit.model import Autoencoder
from pfvit.model.transformer import LAYER_NORM_EPS, MLP_RATIO
from pfvit.utils.files import sync

#: Our names in a block, in the encoder, and theirs.
BLOCK = {
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.output.dense.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}
ENCODER = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    "blocks.": "encoder.layer.",
    "norm.": "layernorm.",
}


def write(autoencoder: Autoencoder, sizes: Architecture, norm_pix_loss: bool, folder: Path) -> None:
    """Write an autoencoder's folder, which appears whole: model.safetensors, config.json, preprocessor_config.json.

    InputError if the folder exists, OutputError if it cannot be written.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another name, or move it away")
    tensors: dict[str, Tensor] = {}
    for part, module in (("vit.", autoencoder.encoder), ("decoder.", autoencoder.decoder)):
        state = {**module.state_dict(), "pos_embed": module.pos_embed}
        tensors |= {_their_name(part, name): tensor for name, tensor in _split_qkv(state).items()}
    unfinished = folder.with_name(folder.name + ".part")
    try:
        rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        unfinished.mkdir(parents=True)
        whole = {name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, unfinished / "model.safetensors", {"format": "pt"})
        (unfinished / "config.json").write_text(json.dumps(_config(sizes, norm_pix_loss), indent=2))
        (unfinished / "preprocessor_config.json").write_text(json.dumps(_preprocessor(sizes), indent=2))
        for file in unfinished.iterdir():
            sync(file)
        unfinished.replace(folder)
        sync(folder.parent)
    except Exception as problem:  # safetensors raises its own error type on a full disk
        rmtree(unfinished, ignore_errors=True)
        raise OutputError(f"{folder} could not be written: {problem}") from problem


def _config(sizes: Architecture, norm_pix_loss: bool) -> dict:
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        "hidden_act": "gelu",
        "qkv_bias": True,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "num_channels": sizes.channels,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.heads,
        "intermediate_size": MLP_RATIO * sizes.width,
        "decoder_hidden_size": sizes.decoder_width,
        "decoder_num_hidden_layers": sizes.decoder_depth,
        "decoder_num_attention_heads": sizes.decoder_heads,
        "decoder_intermediate_size": MLP_RATIO * sizes.decoder_width,
        "norm_pix_loss": norm_pix_loss,
        "layer_norm_eps": LAYER_NORM_EPS,
    }


def _preprocessor(sizes: Architecture) -> dict:
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_rescale": True,
        "do_normalize": True,
        "do_resize": True,
        "size": {"height": sizes.image_size, "width": sizes.image_size},
        "image_mean": [0.5] * sizes.channels,
        "image_std": [0.5] * sizes.channels,
    }


def _split_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            for which, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                parted[name.replace(".attn.qkv.", f".attention.attention.{which}.")] = piece
        else:
            parted[name] = tensor
    return parted


def _their_name(part: str, name: str) -> str:
    for ours, theirs in BLOCK.items():
        name = name.replace(ours, theirs)
    if part == "decoder.":
        name = re.sub(r"^blocks\.", "layers.", name)
        return part + (name if name == "mask_token" else f"decoder_{name}")
    for ours, theirs in ENCODER.items():
        if name.startswith(ours):
            return part + theirs + name.removeprefix(ours)
    raise InputError(f"{name} has no place in Hugging Face's format, which knows the plain patch projection only")

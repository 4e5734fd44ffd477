"""Names of tensors in public weights, and ours."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

#: What wrappers put before every name: DDP, timm's and others' own.
PREFIXES = ("module.", "model.", "backbone.", "net.", "vit.", "base_model.")
#: What wrappers put between the parts of a name: torch.compile, FSDP, activation checkpointing, Fabric.
WITHIN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
#: The projection of patches; in front of it is the name of the network that it is part of, if there are others beside.
PROJECTION = re.compile(r"(.*?)(\bencoder\.)?(patch_embed\.proj|embeddings\.patch_embeddings\.projection)\.weight")
#: What the names of averaged networks have in them; these are what is evaluated.
AVERAGED = ("teacher", "ema.", "ema_")
IGNORED = ("head.", "head_drop.", "classifier.", "pooler.", "embeddings.mask_token")
RENAMED = (
    (r"^encoder\.(?=(embeddings|blocks|cls_token|pos_embed|patch_embed|norm|fc_norm)\b)", ""),
    (r"^embeddings\.(cls_token)$", r"\1"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(encoder\.layer|layers)\.(?=\d)", "blocks."),
    (r"^(decoder\.decoder_layers|decoder\.decoder_encoder\.layer|decoder_blocks)\.(?=\d)", "decoder.blocks."),
    (r"^(decoder\.)?decoder_(embed|norm|pred|pos_embed)\b", r"decoder.\2"),
    (r"^(decoder\.)?mask_token$", "decoder.mask_token"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(attention\.)?(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\2."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(?<=\d)\.output\.dense\.", ".mlp.fc2."),
)


def unwrapped(given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return tensors under names without what wrappers put before and between their parts, and what to say of it.

    Of several networks, as contrastive pretraining keeps them, an averaged one is taken, or else the first one.
    """
    tensors = {_bare(name): tensor for name, tensor in given.items()}
    networks = [found[1] for name in tensors if (found := PROJECTION.fullmatch(name))] or [""]
    taken = next((network for network in networks if any(word in network for word in AVERAGED)), networks[0])
    others = tuple(network for network in networks if network not in ("", taken))
    kept = [name for name in tensors if name.startswith(taken) and not name.startswith(others)]
    notes = f", its {taken[:-1]} taken" if taken else ""
    notes += f", its {', '.join(other[:-1] for other in others)} left out" if others else ""
    return {name.removeprefix(taken): tensors[name] for name in kept}, notes


def ours(given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return tensors under our names: those of the encoder and those of the decoder."""
    encoder: dict[str, Tensor] = {}
    decoder: dict[str, Tensor] = {}
    for name, tensor in given.items():
        for pattern, here in RENAMED:
            name = re.sub(pattern, here, name)
        if not name.startswith(IGNORED):
            part = decoder if name.startswith("decoder.") else encoder
            part[name.removeprefix("decoder.")] = tensor
    for part in (encoder, decoder):
        _join_qkv(part)
    return encoder, decoder


def take_norm(encoder: dict[str, Tensor]) -> str:
    """Take the last norm of a network that averages its tokens, fc_norm, as that of the encoder; say so."""
    norm = {name: encoder.pop(name) for name in list(encoder) if name.startswith("fc_norm.")}
    if not norm or "norm.weight" in encoder:
        return ""
    encoder |= {name.removeprefix("fc_"): tensor for name, tensor in norm.items()}
    return ", its fc_norm (of averaged tokens) taken as the last norm"


def _bare(name: str) -> str:
    """Return a name without what wrappers put before and between its parts."""
    for word in WITHIN:
        name = name.replace(word, "")
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _join_qkv(part: dict[str, Tensor]) -> None:
    for name in [name for name in part if ".attn.q." in name]:
        trio = [name.replace(".attn.q.", f".attn.{which}.") for which in "qkv"]
        if all(one in part for one in trio):
            part[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([part.pop(one) for one in trio])

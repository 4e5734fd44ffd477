"""Public ViT and MAE weights into our encoder and decoder, and stage one's out again in Hugging Face's format.

Read are files with the names of facebookresearch's MAE and of timm (`blocks.0.attn.qkv`), and Hugging Face's folders
of `ViTModel` and `ViTMAEForPreTraining` (`encoder.layer.0.attention.attention.query`), old names and new. Nothing is
unpickled: safetensors, or `torch.load(weights_only=True)`. What such networks expect of pixels is folded into the
patch projection, so that faces stay in [-1, 1] everywhere, and a gray preset gets the sum over the colours.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pfvit.config import Architecture
from pfvit.errors import InputError
from pfvit.model import Autoencoder, Decoder, Encoder
from pfvit.model.transformer import LAYER_NORM_EPS, MLP_RATIO, positions
from pfvit.training import checkpoint

#: Mean and standard deviation of pixels in [0, 1]: MAE's and DeiT's, and those of Google's ViT, which is our [-1, 1].
STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
SINUS_TOLERANCE = 1e-3  # stored in half precision, fixed positions are still recognised
IGNORED = ("head.", "head_drop.", "classifier.", "pooler.", "embeddings.mask_token")
RENAMED = (
    (r"^(module|model|vit|encoder(?=\.embeddings))\.", ""),
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
)  # fmt: skip


@dataclass
class Public:
    """Weights made elsewhere, under our names; the decoder is empty if the file has none."""

    path: Path
    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    config: dict = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        """Say whether its positions are MAE's fixed sines and cosines; they were learned otherwise."""
        given = self.encoder["pos_embed"].float()
        side = _side(given, self.path)
        return given.shape[2] % 4 == 0 and torch.allclose(given, positions(given.shape[2], side), atol=SINUS_TOLERANCE)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation per channel that its pixels, from 0 to 1, were brought to.

        They are those that its preprocessor_config.json tells; else MAE's fixed positions mean ImageNet's, and learned
        ones Google's.
        """
        mean, std = STATISTICS["imagenet" if self.fixed else "half"]
        return torch.tensor(self.config.get("image_mean", mean)), torch.tensor(self.config.get("image_std", std))


def is_public(path: Path) -> bool:
    """Say whether a path is a checkpoint that others made: a Hugging Face folder, or a file that is no run of ours."""
    if path.is_dir():
        return not (path / checkpoint.LAST).exists() and any((path / name).is_file() for name in FOLDER_FILES)
    if path.suffix not in SUFFIXES or not path.is_file():
        return False
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return not str((file.metadata() or {}).get("format")).startswith("pfvit")
    except Exception:
        return False  # checkpoint.load says what is wrong with it


def read(path: Path) -> Public:
    """Read a public checkpoint; raise InputError if it holds code, or layers that a plain ViT does not have."""
    folder = path if path.is_dir() else path.parent
    file = next(path / name for name in FOLDER_FILES if (path / name).is_file()) if path.is_dir() else path
    encoder: dict[str, Tensor] = {}
    decoder: dict[str, Tensor] = {}
    for name, tensor in _tensors(file).items():
        for pattern, ours in RENAMED:
            name = re.sub(pattern, ours, name)
        if not name.startswith(IGNORED):
            part = decoder if name.startswith("decoder.") else encoder
            part[name.removeprefix("decoder.")] = tensor
    for part in (encoder, decoder):
        _join_qkv(part)
    missing = [name for name in ("cls_token", "pos_embed", "patch_embed.proj.weight") if name not in encoder]
    if missing:
        raise InputError(f"{path} is no vision transformer that we can read: it has no {', '.join(missing)}")
    config: dict = {}
    for name in ("config.json", "preprocessor_config.json"):  # only such as belong to the file
        if path.is_dir() and (folder / name).is_file():
            config |= json.loads((folder / name).read_text())
    timm = config.get("pretrained_cfg") or {}
    config |= {f"image_{name}": timm[name] for name in ("mean", "std") if name in timm}
    return Public(path, encoder, decoder, config)


def start(path: Path, sizes: Architecture, encoder: Encoder, decoder: Decoder, normalised: bool) -> str:
    """Load a public checkpoint, and return a sentence on what was taken.

    The decoder is taken if the file has one of the same sizes that draws pixels (or, if `normalised`, patches brought
    to mean 0 and variance 1 from pixels in [-1, 1]). InputError says which sizes differ and what to do.
    """
    public = read(path)
    _check(public, sizes)
    mean, std = public.statistics()
    weights = {name: tensor.float() for name, tensor in public.encoder.items()}
    _fold_pixels(weights, mean, std, sizes.channels)
    if sizes.positions == "learned":
        weights["pos_embed"] = resized(weights["pos_embed"], sizes.image_size // sizes.patch_size)
    elif public.fixed:
        del weights["pos_embed"]
    else:
        raise InputError(f"{path} has learned positions and this preset fixed ones: add --model.positions learned")
    checkpoint.load_into(encoder, weights, "encoder", path)
    told = f"{path.name}: encoder taken, pixels of mean {mean.tolist()} and deviation {std.tolist()} folded in"
    of_patches = public.config.get("norm_pix_loss", True)
    ours = (tuple(mean.tolist()), tuple(std.tolist())) == STATISTICS["half"]
    fits = (of_patches and ours) if normalised else not of_patches
    if not (public.decoder and fits and sizes.channels == len(mean)):
        return told + ", decoder fresh"
    drawing = {name: tensor.float() for name, tensor in public.decoder.items()}
    if not of_patches:
        _unfold_pixels(drawing, mean, std)
    here = {**decoder.state_dict(), "pos_embed": decoder.pos_embed}
    if {name: tensor.shape for name, tensor in here.items()} != {name: t.shape for name, t in drawing.items()}:
        return told + ", decoder fresh (its sizes differ)"
    if not torch.allclose(drawing.pop("pos_embed"), decoder.pos_embed, atol=SINUS_TOLERANCE):
        return told + ", decoder fresh (its positions were learned)"
    checkpoint.load_into(decoder, drawing, "decoder", path)
    return told + ", decoder taken"


def resized(given: Tensor, side: int) -> Tensor:
    """Resample learned positions [1, 1 + patches, width] to a grid of another side, as timm does (bicubic)."""
    old = round((given.shape[1] - 1) ** 0.5)
    if old == side:
        return given
    grid = given[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([given[:, :1], grid.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


def write(autoencoder: Autoencoder, sizes: Architecture, normalised: bool, folder: Path) -> None:
    """Write an autoencoder as a folder that `ViTMAEForPreTraining.from_pretrained` reads; it appears whole."""
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another name, or move it away")
    tensors: dict[str, Tensor] = {}
    for part, module in (("vit.", autoencoder.encoder), ("decoder.", autoencoder.decoder)):
        state = {**module.state_dict(), "pos_embed": module.pos_embed}
        tensors |= {_their_name(part, name): tensor for name, tensor in _split_qkv(state).items()}
    config = {
        "architectures": ["ViTMAEForPreTraining"], "model_type": "vit_mae", "hidden_act": "gelu", "qkv_bias": True,
        "image_size": sizes.image_size, "patch_size": sizes.patch_size, "num_channels": sizes.channels,
        "hidden_size": sizes.width, "num_hidden_layers": sizes.depth, "num_attention_heads": sizes.heads,
        "intermediate_size": MLP_RATIO * sizes.width, "decoder_hidden_size": sizes.decoder_width,
        "decoder_num_hidden_layers": sizes.decoder_depth, "decoder_num_attention_heads": sizes.decoder_heads,
        "decoder_intermediate_size": MLP_RATIO * sizes.decoder_width, "norm_pix_loss": normalised,
        "layer_norm_eps": LAYER_NORM_EPS,
    }  # fmt: skip
    mean, std = ([0.5] * sizes.channels for _ in range(2))
    picture = {
        "image_processor_type": "ViTImageProcessor", "do_rescale": True, "do_normalize": True, "do_resize": True,
        "size": {"height": sizes.image_size, "width": sizes.image_size}, "image_mean": mean, "image_std": std,
    }  # fmt: skip
    part_folder = folder.with_name(folder.name + ".part")
    try:
        part_folder.mkdir(parents=True, exist_ok=True)
        whole = {name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, part_folder / FOLDER_FILES[0], {"format": "pt"})
        (part_folder / "config.json").write_text(json.dumps(config, indent=2))
        (part_folder / "preprocessor_config.json").write_text(json.dumps(picture, indent=2))
        part_folder.replace(folder)
    except Exception as problem:  # safetensors raises its own error type on a full disk
        raise InputError(f"{folder} could not be written: {problem}") from problem


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:
        first = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise InputError(
            f"{file} cannot be read as weights alone, and pickled code is never run ({first}). If you trust it, load "
            "it yourself and save its tensors with safetensors.torch.save_file"
        ) from problem
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise InputError(f"{file} is no table of named tensors; save the model's state_dict with safetensors")
    return dict(held)


def _join_qkv(part: dict[str, Tensor]) -> None:
    for name in [name for name in part if ".attn.q." in name]:
        trio = [name.replace(".attn.q.", f".attn.{which}.") for which in "qkv"]
        if all(one in part for one in trio):
            part[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([part.pop(one) for one in trio])


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
    inner = {".norm1.": ".layernorm_before.", ".norm2.": ".layernorm_after.", ".attn.proj.": ".attention.output.dense.",
             ".mlp.fc1.": ".intermediate.dense.", ".mlp.fc2.": ".output.dense."}  # fmt: skip
    for ours, theirs in inner.items():
        name = name.replace(ours, theirs)
    if part == "decoder.":
        name = re.sub(r"^blocks\.", "layers.", name)
        return part + (name if name == "mask_token" else f"decoder_{name}")
    outer = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
             "patch_embed.proj.": "embeddings.patch_embeddings.projection.", "blocks.": "encoder.layer.",
             "norm.": "layernorm."}  # fmt: skip
    for ours, theirs in outer.items():
        if name.startswith(ours):
            return part + theirs + name.removeprefix(ours)
    raise InputError(f"{name} has no place in Hugging Face's format, which knows the plain patch projection only")


def _fold_pixels(weights: dict[str, Tensor], mean: Tensor, std: Tensor, channels: int) -> None:
    """Make a projection of (p - mean) / std, p in [0, 1], one of 2 p - 1; exact, as patches do not overlap."""
    kernel = weights["patch_embed.proj.weight"]
    offset = (kernel.sum(dim=(2, 3)) * ((0.5 - mean) / std)).sum(dim=1)
    kernel = kernel * (0.5 / std)[:, None, None]
    weights["patch_embed.proj.bias"] = weights["patch_embed.proj.bias"] + offset
    weights["patch_embed.proj.weight"] = kernel.sum(dim=1, keepdim=True) if channels == 1 else kernel


def _unfold_pixels(weights: dict[str, Tensor], mean: Tensor, std: Tensor) -> None:
    """Make a drawing of (p - mean) / std one of 2 p - 1; its rows are pixels, the channel running fastest."""
    times = len(weights["pred.bias"]) // len(mean)
    scale, offset = (2 * std).repeat(times), (2 * mean - 1).repeat(times)
    weights["pred.weight"] = weights["pred.weight"] * scale[:, None]
    weights["pred.bias"] = weights["pred.bias"] * scale + offset


def _check(public: Public, sizes: Architecture) -> None:
    kernel = public.encoder["patch_embed.proj.weight"]
    depth = 1 + max((int(name.split(".")[1]) for name in public.encoder if name.startswith("blocks.")), default=-1)
    has = {"width": kernel.shape[0], "depth": depth, "patch_size": kernel.shape[-1],
           "heads": public.config.get("num_attention_heads", sizes.heads)}  # fmt: skip
    differ = {name: value for name, value in has.items() if value != getattr(sizes, name)}
    if differ:
        told = ", ".join(f"{name} {value} (here {getattr(sizes, name)})" for name, value in differ.items())
        flags = " ".join(f"--model.{name.replace('_', '-')} {value}" for name, value in differ.items())
        raise InputError(f"{public.path} has other sizes than this preset: {told}. Take its preset, or add {flags}")
    if kernel.shape[1] not in (sizes.channels, 3):
        raise InputError(f"{public.path} was made for {kernel.shape[1]} channels; this preset has {sizes.channels}")
    if sizes.stem:
        raise InputError(f"{public.path} has a plain patch projection; this preset has a convolutional stem")


def _side(given: Tensor, path: Path) -> int:
    side = round((given.shape[1] - 1) ** 0.5)
    if given.ndim != 3 or side * side != given.shape[1] - 1:
        raise InputError(f"{path}: positions of shape {list(given.shape)} are no class token and a square of patches")
    return side

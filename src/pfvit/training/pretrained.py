"""Public ViT and MAE weights into our encoder and decoder.

Read are files with the names of facebookresearch's MAE and of timm (`blocks.0.attn.qkv`), and Hugging Face's folders
of `ViTModel` and `ViTMAEForPreTraining` (`encoder.layer.0.attention.attention.query`), old names and new. Nothing is
unpickled: safetensors, or `torch.load(weights_only=True)`. The normalisation of pixels that such networks expect is
folded into the patch projection, so that faces stay in [-1, 1] everywhere; a gray preset gets the sum over the colours.
"""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from pfvit.config import Architecture
from pfvit.errors import InputError
from pfvit.model import Decoder, Encoder
from pfvit.model.transformer import positions
from pfvit.training import checkpoint, public_names
from pfvit.utils.files import is_file
from pfvit.utils.text import parsed

#: Mean and standard deviation of pixels in [0, 1]: MAE's and DeiT's, and those of Google's ViT, which is our [-1, 1].
STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3)}
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX_FILES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
#: What old files, which do not list it, are allowed to hold beside weights.
PLAIN = ("argparse.Namespace",)
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".tar", ".ckpt")
#: Where training programs put the weights in what they save; averaged ones first, as these are what is evaluated.
TABLES = ("model_ema", "state_dict_ema", "ema_state_dict", "ema", "teacher", "model", "state_dict", "model_state_dict",
          "module")  # fmt: skip
SHARD = re.compile(r"-\d+-of-\d+\.\w+$")
MOST_TENSORS = 20_000
MOST_DIMENSIONS = 16  # PyTorch works with 64 at most, and checks a million of them for hours
SHOWN = 5  # names of tensors in a message
SINE_TOLERANCE = 1e-3  # fixed positions that were stored in half precision are still recognised


class Nothing:
    """Stands for an object of a class that is not loaded."""

    def __init__(self, *arguments: object, **named: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


@dataclass
class Public:
    """Weights made elsewhere, under our names; the decoder is empty if the file has none."""

    path: Path
    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    config: dict = field(default_factory=dict)
    notes: str = ""
    """What a person should know of how it was read."""

    @property
    def fixed(self) -> bool:
        """Say whether its positions are MAE's fixed sines and cosines; they were learned otherwise."""
        given = self.encoder["pos_embed"].float()
        side = _side(given, self.path)
        return given.shape[2] % 4 == 0 and torch.allclose(given, positions(given.shape[2], side), atol=SINE_TOLERANCE)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return the mean and standard deviation per channel by which its pixels, from 0 to 1, were normalised.

        They are those in its preprocessor_config.json; else MAE's for fixed positions, and Google's for learned ones.
        """
        mean, std = STATISTICS["imagenet" if self.fixed else "half"]
        try:
            mean, std = (
                torch.tensor(self.config.get(f"image_{name}", own)).float()
                for name, own in (("mean", mean), ("std", std))
            )
            if not (
                mean.shape == std.shape in ((1,), (3,))
                and mean.isfinite().all()
                and std.isfinite().all()
                and std.min() > 0
            ):
                raise ValueError("one number for each channel, and deviations more than 0")
            return mean, std
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as problem:
            raise InputError(f"{self.path}: its image_mean or image_std make no sense ({problem})") from problem


def is_public(path: Path) -> bool:
    """Say whether a path is a checkpoint that others made: a Hugging Face folder, or a file that is no run of ours."""
    if path.is_dir():
        names = (*FOLDER_FILES, *INDEX_FILES)
        return not (path / checkpoint.LAST).exists() and any((path / name).is_file() for name in names)
    if path.name in INDEX_FILES:
        return True
    if path.suffix not in SUFFIXES or not path.is_file():
        return path.is_file() and path.suffix != ".npz" and _begins_as_archive(path)
    if path.suffix != ".safetensors":
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return not str((file.metadata() or {}).get("format")).startswith("pfvit")
    except Exception:
        return False  # checkpoint.load says what is wrong with it


def read(path: Path) -> Public:
    """Read a public checkpoint; raise InputError if it holds code, or layers that a plain ViT does not have."""
    path = path.parent if path.name in INDEX_FILES else path
    folder = path if path.is_dir() else path.parent
    given, notes = public_names.unwrapped(_all_tensors(path))
    if len(given) > MOST_TENSORS:
        raise InputError(f"{path} is no vision transformer: it holds {len(given):,} tensors")
    if deep := [name for name, tensor in given.items() if tensor.dim() > MOST_DIMENSIONS]:
        raise InputError(f"{path} is no vision transformer: its {deep[0][:80]} has {given[deep[0]].dim()} dimensions")
    if wrong := [name for name, tensor in given.items() if not _is_finite(tensor)]:
        raise InputError(f"{path} holds numbers that are not finite ({wrong[0]}): take an earlier checkpoint")
    encoder, decoder = public_names.ours(given)
    notes += public_names.take_norm(encoder)
    missing = [name for name in ("cls_token", "pos_embed", "patch_embed.proj.weight") if name not in encoder]
    if missing:
        found = ", ".join([*list(given)[:SHOWN], *(["..."] if len(given) > SHOWN else [])])
        raise InputError(
            f"{path} is no vision transformer that we can read: it has no {', '.join(missing)}; it has {found}"
        )
    config: dict = {}
    for name in ("config.json", "preprocessor_config.json"):  # only such as belong to the file
        if path.is_dir() and (folder / name).is_file():
            try:
                said = parsed((folder / name).read_bytes())
                if not isinstance(said, dict):
                    raise TypeError("it is no table")
                config |= said
            except (ValueError, TypeError) as problem:
                raise InputError(f"{folder / name} is damaged ({problem}): download it again") from problem
    timm = config.get("pretrained_cfg")
    if isinstance(timm, dict):
        config |= {f"image_{name}": timm[name] for name in ("mean", "std") if name in timm}
    return Public(path, encoder, decoder, config, notes)


def start(path: Path, sizes: Architecture, encoder: Encoder, decoder: Decoder, norm_pix_loss: bool) -> str:
    """Load a public checkpoint, and return a sentence on what was taken.

    The decoder is taken if the file has one of the same sizes that predicts pixels (or, with `norm_pix_loss`, patches
    of pixels in [-1, 1] normalised to mean 0 and variance 1). InputError says which sizes differ and what to do.
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
    summary = f"{path.name}: encoder taken, pixels of mean {_short(mean)} and deviation {_short(std)} folded in"
    summary += public.notes
    if "num_attention_heads" not in public.config:
        summary += f", {sizes.heads} heads (the file does not say)"
    of_patches = public.config.get("norm_pix_loss", True)
    ours = (tuple(mean.tolist()), tuple(std.tolist())) == STATISTICS["half"]
    fits = (of_patches and ours) if norm_pix_loss else not of_patches
    if not (public.decoder and fits and sizes.channels == len(mean)):
        return summary + ", decoder fresh"
    taken = {name: tensor.float() for name, tensor in public.decoder.items()}
    if not of_patches:
        _unfold_pixels(taken, mean, std)
    here = {**decoder.state_dict(), "pos_embed": decoder.pos_embed}
    if {name: tensor.shape for name, tensor in here.items()} != {name: t.shape for name, t in taken.items()}:
        return summary + ", decoder fresh (its sizes differ)"
    if not torch.allclose(taken.pop("pos_embed"), decoder.pos_embed, atol=SINE_TOLERANCE):
        return summary + ", decoder fresh (its positions were learned)"
    checkpoint.load_into(decoder, taken, "decoder", path)
    return summary + ", decoder taken"


def resized(given: Tensor, side: int) -> Tensor:
    """Resample learned positions [1, 1 + patches, width] to a grid of another side, as timm does (bicubic)."""
    old = round((given.shape[1] - 1) ** 0.5)
    if old == side:
        return given
    grid = given[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([given[:, :1], grid.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)


def _is_finite(tensor: Tensor) -> bool:
    """Say whether all numbers are finite; PyTorch itself does not for those of eight bits."""
    return bool(torch.isfinite(tensor.float() if tensor.dtype.itemsize == 1 else tensor).all())


def _all_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, or of a Hugging Face folder, whose weights may lie in several files."""
    if not path.is_dir():
        if SHARD.search(path.name) and any((path.parent / name).is_file() for name in INDEX_FILES):
            raise InputError(f"{path} holds a part of the weights: name the folder, {path.parent}")
        return _tensors(path)
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return _tensors(path / name)
    index = next(path / name for name in INDEX_FILES if (path / name).is_file())
    try:
        files = sorted(set(parsed(index.read_bytes())["weight_map"].values()))
        if not all(Path(name).name == name for name in files):
            raise ValueError("files that lie elsewhere")
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{index} is no list of files with weights: download it again") from problem
    absent = [name for name in files if not is_file(path / name)]
    if absent:
        raise InputError(f"{path} lacks {', '.join(absent)}, which {index.name} lists: download them too")
    return {name: tensor for file in files for name, tensor in _tensors(path / file).items()}


def _tensors(file: Path) -> dict[str, Tensor]:
    if why := checkpoint.no_weights(file):
        raise InputError(f"{file} {why}")
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        # Settings and figures beside the weights are of any class: nothing stands in for each, and no code is run.
        others = torch.serialization.get_unsafe_globals_in_checkpoint(file) if _is_archive(file) else PLAIN
        with torch.serialization.safe_globals([(Nothing, name) for name in others]):
            held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:
        first = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        if found := re.search(r"GLOBAL (\S+)", str(problem)):
            first = f"it holds {found[1]}"
        if file.suffix == ".safetensors" or (_begins_as_archive(file) and not _is_archive(file)):
            raise InputError(f"{file} is cut short or damaged ({first}): download it again") from problem
        raise InputError(
            f"{file} cannot be read as weights alone, and pickled code is never run ({first}). If you trust it, load "
            "it yourself and save its tensors with safetensors.torch.save_file"
        ) from problem
    for _ in TABLES:  # a table may hold itself
        if not isinstance(held, Mapping) or not (keys := [key for key in TABLES if _is_table(held.get(key))]):
            break
        held = held[keys[0]]
    if not isinstance(held, Mapping) or not any(isinstance(value, Tensor) for value in held.values()):
        raise InputError(f"{file} is no table of named tensors; save the model's state_dict with safetensors")
    return {str(name): value for name, value in held.items() if isinstance(value, Tensor)}


def _is_table(value: object) -> bool:
    """Return whether something holds tensors, or tables of them."""
    return isinstance(value, Mapping) and any(isinstance(one, Tensor | Mapping) for one in value.values())


def _is_archive(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # of several disks
        return False


def _begins_as_archive(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _fold_pixels(weights: dict[str, Tensor], mean: Tensor, std: Tensor, channels: int) -> None:
    """Make a projection of (p - mean) / std, p in [0, 1], one of 2 p - 1; exact, as patches do not overlap."""
    kernel = weights["patch_embed.proj.weight"]
    offset = (kernel.sum(dim=(2, 3)) * ((0.5 - mean) / std)).sum(dim=1)
    kernel = kernel * (0.5 / std)[:, None, None]
    weights["patch_embed.proj.bias"] = weights["patch_embed.proj.bias"] + offset
    weights["patch_embed.proj.weight"] = kernel.sum(dim=1, keepdim=True) if channels == 1 else kernel


def _unfold_pixels(weights: dict[str, Tensor], mean: Tensor, std: Tensor) -> None:
    """Make a prediction of (p - mean) / std one of 2 p - 1; its rows are pixels, the channel running fastest."""
    times = len(weights["pred.bias"]) // len(mean)
    scale, offset = (2 * std).repeat(times), (2 * mean - 1).repeat(times)
    weights["pred.weight"] = weights["pred.weight"] * scale[:, None]
    weights["pred.bias"] = weights["pred.bias"] * scale + offset


def _check(public: Public, sizes: Architecture) -> None:
    kernel = public.encoder["patch_embed.proj.weight"]
    depth = 1 + max((int(name.split(".")[1]) for name in public.encoder if name.startswith("blocks.")), default=-1)
    heads = public.config.get("num_attention_heads", sizes.heads)
    has = {"width": kernel.shape[0], "depth": depth, "patch_size": kernel.shape[-1], "heads": heads}
    differ = {name: value for name, value in has.items() if value != getattr(sizes, name)}
    if differ:
        different = ", ".join(f"{name} {value} (here {getattr(sizes, name)})" for name, value in differ.items())
        raise InputError(
            f"{public.path} has other sizes than this preset: {different}. Take its preset, or train from Python with "
            f"pfvit.train(..., model={differ})"
        )
    if kernel.shape[1] not in (sizes.channels, 3):
        raise InputError(f"{public.path} was made for {kernel.shape[1]} channels; this preset has {sizes.channels}")
    if sizes.stem:
        raise InputError(f"{public.path} has a plain patch projection; this preset has a convolutional stem")


def _short(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _side(given: Tensor, path: Path) -> int:
    side = round((given.shape[1] - 1) ** 0.5)
    if given.ndim != 3 or side * side != given.shape[1] - 1:
        raise InputError(f"{path}: positions of shape {list(given.shape)} are no class token and a square of patches")
    return side

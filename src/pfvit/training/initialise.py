"""The weights that a run starts from: fresh ones, those of an earlier run, or a public checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pfvit.config import Pretrain, Train
from pfvit.emotions import EIGHT
from pfvit.errors import InputError
from pfvit.model import Autoencoder, Classifier, PFViT
from pfvit.training import checkpoint, pretrained
from pfvit.training.build import build_decoder, build_discriminator, build_encoder, build_pfvit
from pfvit.training.gan import DiscriminatorSide
from pfvit.weights import CHECKPOINT

#: Tells the person at the terminal something.
Say = Callable[[str], None]
SHIPPED = Path("shipped")  # what --start says for the weights in the wheel


def _silent(_: str) -> None:
    pass


def autoencoder(config: Pretrain, say: Say = _silent) -> Autoencoder:
    """Make the autoencoder of stage one with the weights it starts from; a run to resume gets its own later."""
    torch.manual_seed(config.seed)
    sizes, start = config.model, _path_of(config.start)
    model = Autoencoder(build_encoder(sizes), build_decoder(sizes))
    if config.resume or start is None:
        return model
    if pretrained.is_public(start):
        say(pretrained.start(start, sizes, model.encoder, model.decoder, config.norm_pix_loss))
        return model
    tensors, record = checkpoint.load(start)
    if record["stage"] != "pretrain":
        raise InputError(f"{start} is a run of stage {record['stage']!r}: give --start a run of `pfvit pretrain`")
    checkpoint.check_sizes(record, sizes, start)
    checkpoint.load_into(model, checkpoint.part_of(tensors, "model"), "autoencoder", start)
    return model


def both_sides(
    config: Train, say: Say = _silent, classes: Sequence[str] | None = None
) -> tuple[PFViT, DiscriminatorSide]:
    """Make the model of stage two and its discriminator side, which tell `classes` apart (the emotions if not given).

    The model starts from encoder and decoder of stage one, from all parts of an earlier stage two, or from a public
    encoder; a run to resume gets its weights later.
    """
    torch.manual_seed(config.seed)
    sizes, start = config.model, _path_of(config.start)
    model = build_pfvit(sizes)
    discriminator_side = DiscriminatorSide(build_discriminator(sizes), Classifier(sizes.width, sizes.outputs))
    if config.resume or start is None:
        return model, discriminator_side
    encoder, decoder = model.encoder, model.generator.decoder
    if pretrained.is_public(start):
        say(pretrained.start(start, sizes, encoder, decoder, norm_pix_loss=False))
        return model, discriminator_side
    tensors, record = checkpoint.load(start)
    checkpoint.check_sizes(record, sizes, start)
    if record["stage"] == "train":
        weights = checkpoint.part_of(tensors, "average.module")
        known = checkpoint.classes_of(record)
        weights = _fit_head(weights, model, known, classes or EIGHT[: sizes.outputs], say)
        checkpoint.load_into(model, weights, "PF-ViT", start)
    else:
        weights = checkpoint.part_of(tensors, "model")
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            checkpoint.load_into(part, checkpoint.part_of(weights, name), name, start)
    return model, discriminator_side


def load_model(run: Path) -> tuple[PFViT, dict]:
    """Return the averaged model of a run of stage two, in evaluation mode, and the run's record."""
    tensors, record = checkpoint.load(run)
    if record["stage"] != "train":
        raise InputError(
            f"{run} is a run of stage {record['stage']!r}; those of `pfvit train` can be measured, exported, or teach"
        )
    model = build_pfvit(checkpoint.architecture_of(record))
    checkpoint.load_into(model, checkpoint.part_of(tensors, "average.module"), "PF-ViT", run)
    return model.eval(), record


def _path_of(start: Path | None) -> Path | None:
    """Return the path of the weights to start from; `shipped` is the checkpoint that the shipped files were made of."""
    if start != SHIPPED or SHIPPED.exists():
        return start
    if not CHECKPOINT.is_file():
        raise InputError(
            f"{CHECKPOINT.name} is in the repository, not in the wheel: give the path of src/pfvit/weights/"
            f"{CHECKPOINT.name} in a clone to --start, or install with `pip install --editable`"
        )
    return CHECKPOINT


def _fit_head(
    weights: dict[str, Tensor], model: PFViT, known: Sequence[str], classes: Sequence[str], say: Say
) -> dict[str, Tensor]:
    """Return weights whose last layer tells the model's classes apart: rows of the same name are taken over.

    Rows that the weights lack are those of the fresh model.
    """
    fresh = model.classifier.head.state_dict()
    fitted = dict(weights)
    had = weights.get("classifier.head.weight")
    if had is None or had.shape[1:] != fresh["weight"].shape[1:]:
        return fitted
    known = known[: len(had)]
    if tuple(known) == tuple(classes):
        return fitted
    both = [name for name in classes if name in known]
    for name, value in fresh.items():
        rows = value.clone()
        for one in both:
            rows[classes.index(one)] = weights[f"classifier.head.{name}"][known.index(one)].to(value.dtype)
        fitted[f"classifier.head.{name}"] = rows
    say(f"the weights tell {len(had)} emotions apart, this run {len(classes)}: {len(both)} are taken over")
    return fitted

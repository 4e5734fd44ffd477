"""What a run begins with: fresh weights, those of an earlier run, or those that others made public."""

from collections.abc import Callable

import torch

from pfvit import checkpoint, public
from pfvit.build import build_decoder, build_discriminator, build_encoder, build_pfvit
from pfvit.config import Pretrain, Train
from pfvit.errors import InputError
from pfvit.game import Critics
from pfvit.model import Autoencoder, Classifier, PFViT

Say = Callable[[str], None]


def _silent(_: str) -> None:
    pass


def one_start(config: Pretrain | Train) -> None:
    """Raise InputError if two settings say what to start from; asked before a run folder is made."""
    if config.imagenet and config.start is not None:
        raise InputError("--imagenet and --start both say what to start from: leave one out", status=2)


def autoencoder(config: Pretrain, say: Say = _silent) -> Autoencoder:
    """Make the autoencoder of stage one; a run to resume gets its weights later."""
    torch.manual_seed(config.seed)
    sizes, start = config.model, config.start
    made = Autoencoder(build_encoder(sizes), build_decoder(sizes))
    if config.resume:
        return made
    if config.imagenet:
        public.start_stem(made.encoder)
    if start is None:
        return made
    if public.is_public(start):
        say(public.start(start, sizes, made.encoder, made.decoder, config.start_pixels, config.normalise))
        return made
    tensors, record = checkpoint.load(start)
    if record["stage"] != "pretrain":
        raise InputError(f"{start} is a run of stage {record['stage']!r}; stage one starts from stage one")
    checkpoint.check_sizes(record, sizes, start)
    checkpoint.load_into(made, checkpoint.part_of(tensors, "model"), "autoencoder", start)
    return made


def both_sides(config: Train, say: Say = _silent) -> tuple[PFViT, Critics]:
    """Make both sides of stage two; the model may start as another: encoder and decoder of stage one, or all parts."""
    torch.manual_seed(config.seed)
    sizes, start = config.model, config.start
    model = build_pfvit(sizes)
    critics = Critics(build_discriminator(sizes), Classifier(sizes.width, sizes.classes))
    if config.resume:
        return model, critics
    encoder, decoder = model.encoder, model.generator.decoder
    if config.imagenet:
        public.start_stem(encoder)
    if start is None:
        return model, critics
    if public.is_public(start):
        say(public.start(start, sizes, encoder, decoder, config.start_pixels, normalised=False))
        return model, critics
    tensors, record = checkpoint.load(start)
    checkpoint.check_sizes(record, sizes, start)
    if record["stage"] == "train":
        checkpoint.load_into(model, checkpoint.part_of(tensors, "average.module"), "PF-ViT", start)
    else:
        weights = checkpoint.part_of(tensors, "model")
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            checkpoint.load_into(part, checkpoint.part_of(weights, name), name, start)
    return model, critics

"""Stage one's weights for other people's software: a folder in Hugging Face's format."""

from collections.abc import Sequence

import tyro
from rich.console import Console

from pfvit.config import Architecture, Convert
from pfvit.errors import InputError
from pfvit.model import Autoencoder
from pfvit.training import checkpoint, pretrained
from pfvit.training.build import build_decoder, build_encoder
from pfvit.training.run import settings


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit convert`."""
    convert(tyro.cli(Convert, prog="pfvit convert", args=arguments))
    return 0


def convert(config: Convert) -> None:
    """Write the folder; InputError if the run has nothing that the format holds."""
    tensors, record = checkpoint.load(config.run)
    if record["stage"] != "pretrain":
        raise InputError(f"{config.run} is a run of stage {record['stage']!r}; ViTMAEForPreTraining is stage one alone")
    sizes = Architecture(**settings(Architecture, record["config"]["model"]))
    if sizes.stem:
        raise InputError(f"{config.run} has a convolutional stem; Hugging Face's format knows the plain one only")
    autoencoder = Autoencoder(build_encoder(sizes), build_decoder(sizes))
    checkpoint.load_into(autoencoder, checkpoint.part_of(tensors, "model"), "autoencoder", config.run)
    pretrained.write(autoencoder, sizes, record["config"]["normalise"], config.out)
    Console(stderr=True).print(f"{config.out}: ViTMAEForPreTraining, step {record['step']}", highlight=False)

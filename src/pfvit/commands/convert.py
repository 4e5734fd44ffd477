"""`pfvit convert`: stage one's weights for other people's software, a folder in Hugging Face's format."""

from pfvit.config import Convert
from pfvit.errors import InputError
from pfvit.export import huggingface
from pfvit.model import Autoencoder
from pfvit.training import checkpoint
from pfvit.training.build import build_decoder, build_encoder
from pfvit.utils.console import say


def convert(config: Convert) -> None:
    """Write the folder; InputError if the run has nothing that the format holds."""
    tensors, record = checkpoint.load(config.run)
    if record["stage"] != "pretrain":
        raise InputError(f"{config.run} is a run of stage {record['stage']!r}; ViTMAEForPreTraining is stage one alone")
    sizes = checkpoint.architecture_of(record)
    if sizes.stem:
        raise InputError(f"{config.run} has a convolutional stem; Hugging Face's format knows the plain one only")
    autoencoder = Autoencoder(build_encoder(sizes), build_decoder(sizes))
    checkpoint.load_into(autoencoder, checkpoint.part_of(tensors, "model"), "autoencoder", config.run)
    huggingface.write(autoencoder, sizes, record["config"]["norm_pix_loss"], config.out)
    say(f"{config.out}: ViTMAEForPreTraining, step {record['step']}")

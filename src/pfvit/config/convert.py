"""Settings of what leads out of one machine: weights in other people's format."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Convert:
    """Write a run of stage one as a Hugging Face folder, which ViTMAEForPreTraining.from_pretrained reads."""

    run: Positional[Path]
    """Run folder of `pfvit pretrain`, with a plain patch projection."""
    out: Path
    """Folder to write: model.safetensors, config.json, preprocessor_config.json."""

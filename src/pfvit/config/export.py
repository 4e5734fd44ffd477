"""Settings of the verbs that write weights for others: export, convert."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pfvit.config.checks import at_least, check_order, positive
from pfvit.config.several import Words
from pfvit.errors import UsageError


@dataclass(frozen=True)
class Export:
    """Turn a training run into the .onnx files that predict and poker read."""

    run: Positional[Path]
    """Run folder of `pfvit train`."""
    out: Path
    """File of the recogniser, NAME.onnx. The generator, NAME-generator.onnx, and the weights for `pfvit train --start`,
    NAME.safetensors, are written beside it."""
    calibrate: Path | None = None
    """Labelled faces, as for `pfvit train --validation`. The temperature is fitted on every second one: report
    results on the others. Also writes NAME-int8.onnx, which answers twice as fast."""
    order: Words = ()
    """What labels 0, 1, 2, ... of --calibrate mean if the file does not say it, as for `pfvit train`; the run's
    --order if not given."""
    flip_tta: bool = False
    """Average the answers for the face and its mirror image: more accurate, twice the time."""
    logit_adjustment: float = 0.0
    """Share of the log prior to subtract from the logits, so that rare emotions are answered more often: 0 for the
    highest accuracy, towards 1 for the highest mean recall. Needs --calibrate."""
    change_gain: float = 1.0
    """Factor for the change that the generator makes, as generators are cautious. Choose it on training faces, with
    `pfvit evaluate --figures`."""
    mild_smiles: float = 0.0
    """Mark a face that is called neutral as unsure from this share of happiness on (0 to 0.5; 0 for never), since mild
    smiles are called neutral too. Choose it with experiments/measure_smiles.py. Needs --calibrate."""
    compact: bool = False
    """Store the weights in 8 bits, a quarter of the size. Unlike NAME-int8.onnx, the arithmetic stays in full
    precision. The photo model is always stored so."""
    metrics: Path | None = None
    """JSON of `pfvit evaluate --json` to store in the file."""
    license: str = "as the training data allow"
    """What others may do with the weights; stored in the files."""

    def __post_init__(self) -> None:
        positive(self, "change_gain")
        check_order(self)
        at_least(0, self, "logit_adjustment")
        if self.logit_adjustment and self.calibrate is None:
            raise UsageError("--logit-adjustment needs --calibrate to know how rare emotions are")
        if not 0 <= self.mild_smiles < 0.5:
            raise UsageError(f"--mild-smiles must be 0 or more and below 0.5, not {self.mild_smiles}")
        if self.mild_smiles and self.calibrate is None:
            raise UsageError("--mild-smiles needs --calibrate: without it no answer says how reliable it is")
        if self.out.suffix != ".onnx":
            raise UsageError(f"--out must name an .onnx file, not {self.out}")


@dataclass(frozen=True)
class Convert:
    """Write a run of stage one as a Hugging Face folder, which ViTMAEForPreTraining.from_pretrained reads."""

    run: Positional[Path]
    """Run folder of `pfvit pretrain`, with a plain patch projection."""
    out: Path
    """Folder to write: model.safetensors, config.json, preprocessor_config.json."""

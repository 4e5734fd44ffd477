"""Train the judge of poker faces: a small convolutional network that never meets the generator.

    PFVIT_DATA=/path/to/data python experiments/judge.py --out runs/judge/judge.onnx [--epochs 8] [--threads 2]

Another kind of network than PF-ViT (convolutions with batch normalisation, no masked pre-training, another seed),
trained on the clean FER+ training faces alone. It has no part in any loss: `pfvit evaluate --judge` asks it how
neutral faces look before and after. Blurred views are among its training faces, as else it would judge sharpness.
Cost: about 25 minutes on two processor cores.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor, nn

from pfvit.data import augment
from pfvit.data.dataset import FaceDataset, read_all
from pfvit.emotions import EIGHT
from pfvit.export.graphs import Preprocess
from pfvit.export.onnx import write_recogniser
from pfvit.inference.network import FORMAT

SIZE, SEED, BATCH = 44, 101, 128
RATE, DECAY = 0.004, 0.05
BLURRED = 0.3  # share of the views
LICENSE = "Research use; trained on FER2013 (no open licence) with FER+ votes (MIT)."


def block(inward: int, outward: int, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation, rectifier."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True)
    )


class Judge(nn.Module):
    """Bytes of any size -> logits and probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess(SIZE, channels=1)
        self.body = nn.Sequential(
            block(1, 24),
            block(24, 48, 2),
            block(48, 48),
            block(48, 96, 2),
            block(96, 96),
            block(96, 192, 2),
            block(192, 192),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(192, len(EIGHT)),
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities of uint8 [batch, height, width, 3]."""
        logits = self.body(self.preprocess(image))
        return logits, logits.softmax(-1)


def views(face: Tensor, step: int) -> Tensor:
    """Return random views of faces [batch, 1, 48, 48] at the judge's size."""
    draws = augment.Draws(SEED, step, len(face), list(range(len(face))))
    face = augment.geometry(face, draws, (0.9, 1.15), 10, 0.06)
    face = augment.tone(face, draws, 0.2, 0.3)
    soft = nn.functional.avg_pool2d(face, 3, 1, padding=1, count_include_pad=False)
    face = torch.where((draws.uniform() < BLURRED)[:, None, None, None], soft, face)
    return nn.functional.interpolate(face, size=(SIZE, SIZE), mode="bilinear", antialias=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PFVIT_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("runs/judge/judge.onnx"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)
    faces = read_all(FaceDataset([options.data / "ferplus_train.parquet"], len(EIGHT)), 48, 1)
    judge = Judge().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=DECAY)
    steps = options.epochs * len(faces.image) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    order = torch.Generator().manual_seed(SEED)
    rows = torch.cat([torch.randperm(len(faces.image), generator=order) for _ in range(options.epochs)])
    total = 0.0
    for step in track(range(steps), "training the judge"):
        some = rows[step * BATCH : (step + 1) * BATCH]
        shown = views(augment.to_unit(faces.image[some]), step).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge.body(shown)
        loss = nn.functional.cross_entropy(logits.float(), faces.target[some])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        total += float(loss)
        if (step + 1) % 200 == 0:
            print(f"step {step + 1} of {steps}: loss {total / 200:.3f}", flush=True)
            total = 0.0
    options.out.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "pfvit.format": FORMAT,
        "pfvit.name": options.out.stem,
        "pfvit.pair": "",
        "pfvit.labels": json.dumps(EIGHT),
        "pfvit.size": str(SIZE),
        "pfvit.channels": "1",
        "pfvit.temperature": "1.0",
        "pfvit.license": LICENSE,
        "pfvit.data": "ferplus_train.parquet; clean protocol",
        "pfvit.metrics": "{}",
    }
    write_recogniser(judge.to(memory_format=torch.contiguous_format), options.out, about, ["logits", "probabilities"])
    print(f"{options.out}  {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

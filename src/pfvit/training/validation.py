"""Validation of stage two on held-out faces: figures, and a sheet of generated faces."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pfvit.data import augment
from pfvit.data.dataset import FaceBatch
from pfvit.evaluation import metrics
from pfvit.model import PFViT
from pfvit.rendering import save_sheet

SHEET_FACES = 48
EVALUATION_BATCH = 128


@torch.no_grad()
def validate(model: PFViT, held_out: Mapping[str, FaceBatch], classes: Sequence[str], sheet: Path) -> dict[str, float]:
    """Return figures of a model on held-out faces, and write a sheet: face, reconstruction, poker face, difference.

    WAR is the accuracy, UAR the mean recall, both from 0 to 1, and the recall of each class that occurs; the loss is
    the mean -log p of the right class, the reconstruction the mean |difference| of pixels in [-1, 1]. They are of all
    faces together; where there are several sets, WAR and UAR are given for each as well, as in `validation_war/NAME`.
    """
    device = next(model.parameters()).device
    model.eval()
    figures: dict[str, float] = {}
    logits = {name: _logits(model, faces, device) for name, faces in held_out.items()}
    confusions = {name: _confusion(logits[name], faces) for name, faces in held_out.items()}
    confusion = np.sum(list(confusions.values()), axis=0)
    for name, counts in confusions.items() if len(confusions) > 1 else ():
        figures |= {f"validation_war/{name}": metrics.war(counts), f"validation_uar/{name}": metrics.uar(counts)}
    recalls = zip(classes, metrics.recalls(confusion).tolist(), strict=True)
    figures |= {f"validation_recall_{name}": recall for name, recall in recalls if not math.isnan(recall)}
    face = augment.to_unit(torch.cat([faces.image for faces in held_out.values()]))
    # Every so many faces: the order of the file is arbitrary, so nothing is picked.
    some = face[:: max(1, len(face) // SHEET_FACES)][:SHEET_FACES].to(device)
    out = model(some)
    difference = (out.reconstruction - out.poker_face).abs() * 2 - 1
    columns = [augment.to_bytes(faces) for faces in (some, out.reconstruction, out.poker_face, difference)]
    save_sheet(sheet, columns)
    return {
        "validation_war": metrics.war(confusion),
        "validation_uar": metrics.uar(confusion),
        "validation_loss": _loss(logits, held_out),
        "validation_reconstruction": float((out.reconstruction - some).abs().mean()),
        **figures,
    }


def figure_names(classes: Sequence[str], sets: Sequence[str]) -> list[str]:
    """Return the names of the figures of `validate`, without `validation_`."""
    each = [f"{name}/{one}" for one in sets for name in ("war", "uar")] if len(sets) > 1 else []
    return ["war", "uar", "loss", "reconstruction", *(f"recall_{name}" for name in classes), *each]


def _logits(model: PFViT, faces: FaceBatch, device: torch.device) -> Tensor:
    parts = faces.image.split(EVALUATION_BATCH)
    return torch.cat([model.recognise(augment.to_unit(part).to(device)).float().cpu() for part in parts])


def _confusion(logits: Tensor, faces: FaceBatch) -> NDArray[np.integer]:
    """Return how often each class was taken for each, [classes, classes]."""
    truth = faces.target.argmax(1).numpy()
    return metrics.confusion_matrix(truth, logits.argmax(1).numpy(), faces.target.shape[1])


def _loss(logits: Mapping[str, Tensor], held_out: Mapping[str, FaceBatch]) -> float:
    """Return the mean cross-entropy of all faces."""
    truth = torch.cat([faces.target.argmax(1) for faces in held_out.values()])
    return float(F.cross_entropy(torch.cat([logits[name] for name in held_out]), truth))

"""Validation of stage two on held-out faces: figures, and a sheet of generated faces."""

from pathlib import Path

import torch

from pfvit.data import augment
from pfvit.data.dataset import FaceBatch
from pfvit.evaluation import metrics
from pfvit.model import PFViT
from pfvit.rendering import save_sheet

SHEET_FACES = 48
EVALUATION_BATCH = 128


@torch.no_grad()
def validate(model: PFViT, held_out: FaceBatch, sheet: Path) -> dict[str, float]:
    """Return figures of a model on held-out faces, and write a sheet: face, reconstruction, poker face, difference.

    WAR is the accuracy, UAR the mean recall, both from 0 to 1; the reconstruction is the mean |difference| of pixels in
    [-1, 1].
    """
    device = next(model.parameters()).device
    model.eval()
    face = augment.to_unit(held_out.image)
    logits = torch.cat([model.recognise(part.to(device)).float().cpu() for part in face.split(EVALUATION_BATCH)])
    truth = held_out.target.argmax(1).numpy()
    confusion = metrics.confusion_matrix(truth, logits.argmax(1).numpy(), logits.shape[1])
    # Every so many faces: the order of the file is arbitrary, so nothing is picked.
    some = face[:: max(1, len(face) // SHEET_FACES)][:SHEET_FACES].to(device)
    out = model(some)
    difference = (out.reconstruction - out.poker_face).abs() * 2 - 1
    columns = [augment.to_bytes(faces) for faces in (some, out.reconstruction, out.poker_face, difference)]
    save_sheet(sheet, columns)
    return {
        "validation_war": metrics.war(confusion),
        "validation_uar": metrics.uar(confusion),
        "validation_reconstruction": float((out.reconstruction - some).abs().mean()),
    }

"""What a run of stage two looks like on held-out faces: figures, and a sheet of what is drawn."""

import torch

from pfvit.config import Train
from pfvit.data import augment
from pfvit.data.dataset import Batch
from pfvit.emotions import label_set
from pfvit.evaluation import metrics
from pfvit.model import PFViT
from pfvit.rendering import save_sheet

SHEET_FACES = 48
EVALUATION_BATCH = 128


@torch.no_grad()
def look(model: PFViT, held_out: Batch, step: int, config: Train) -> dict[str, float]:
    """Return validation figures of the averaged weights and write a sheet: face, reconstruction, poker face, change."""
    device = next(model.parameters()).device
    model.eval()
    face = augment.to_unit(held_out.image)
    logits = torch.cat([model.recognise(part.to(device)).float().cpu() for part in face.split(EVALUATION_BATCH)])
    truth = held_out.target.argmax(1).numpy()
    confusion = metrics.confusion_matrix(truth, logits.argmax(1).numpy(), len(label_set(config.model.classes)))
    # Every so many faces: the order of the file is arbitrary, so nothing is picked.
    some = face[:: max(1, len(face) // SHEET_FACES)][:SHEET_FACES].to(device)
    out = model(some)
    change = (out.reconstruction - out.poker_face).abs() * 2 - 1
    columns = [augment.to_bytes(faces) for faces in (some, out.reconstruction, out.poker_face, change)]
    save_sheet(config.out / "sheets" / f"{step:07d}.png", columns)
    return {
        "validation_war": metrics.war(confusion),
        "validation_uar": metrics.uar(confusion),
        "validation_reconstruction": float((out.reconstruction - some).abs().mean()),
    }

"""The photo model -> `NAME-photo.onnx`, which reads a face and says how it moves, and `NAME-photo-drawing.onnx`."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pfvit.export.compact import store_in_8_bits
from pfvit.export.onnx import write
from pfvit.inference.network import drawing_path
from pfvit.model.photo import SIDE, SIZE, WIDTH, PhotoDrawing, PhotoPFViT

OUTPUTS = ("maps", "probabilities", "emotion", "residue")


class PhotoReader(nn.Module):
    """Image bytes of 112 px -> movement maps, probabilities and the two components."""

    def __init__(self, model: PhotoPFViT):
        super().__init__()
        self.model = model

    def forward(self, image: UInt8[Tensor, "batch high wide 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return maps [batch, 9, 56, 56] in the order of `CHANNELS`, probabilities, emotion, residue."""
        emotion, residue, logits, maps = self.model(image.float().permute(0, 3, 1, 2) / 127.5 - 1)
        return torch.cat(maps, dim=1), logits.softmax(-1), emotion, residue


class PhotoDrawer(nn.Module):
    """Tokens -> a drawn face in [0, 1], channels last."""

    def __init__(self, drawing: PhotoDrawing):
        super().__init__()
        self.drawing = drawing

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch size size 3"]:
        """Draw."""
        return ((self.drawing(tokens) + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


def export_photo(model: PhotoPFViT, out: Path, about: dict[str, str]) -> None:
    """Write both files of a photo model; `about` becomes their metadata."""
    batch = torch.export.Dim.DYNAMIC
    image = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    write(PhotoReader(model), (image,), {"image": {0: batch}}, OUTPUTS, out, {**about, "pfvit.kind": "photo"})
    tokens = torch.zeros(2, SIDE * SIDE, WIDTH)
    drawing = drawing_path(out)
    write(
        PhotoDrawer(model.drawing),
        (tokens,),
        {"tokens": {0: batch}},
        ["face"],
        drawing,
        {**about, "pfvit.kind": "photo-drawing"},
    )
    for path in (out, drawing):
        store_in_8_bits(path)

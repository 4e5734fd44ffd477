"""What the exported files compute, as modules: from picture bytes to answers, and from components to faces.

Everything that could be done wrongly outside is inside: conversion to gray or colour, resampling, normalisation,
temperature.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pfvit.model import Classifier, Encoder, Generator, Separator
from pfvit.model.photo import PhotoDrawing, PhotoPFViT

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's convert("L")


class Preprocess(nn.Module):
    """Bytes of any size -> pixels in [-1, 1] at the model's size, gray or colour."""

    def __init__(self, size: int, channels: int):
        super().__init__()
        self.size, self.channels = size, channels
        self.register_buffer("luma", torch.tensor(LUMA))

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch channels size size"]:
        """Convert, resample with an antialiasing triangle filter as Pillow's BILINEAR does, and normalise."""
        pixels = image.to(torch.float32)
        rows = self._filter(image.shape[1])
        columns = self._filter(image.shape[2])
        if self.channels == 1:
            # Grayscale and the narrower width in one product, as onnxruntime is slow in products with vectors.
            across = (columns.T[:, None] * self.luma[:, None]).flatten(0, 1)
            return rows @ (pixels.flatten(2) @ across)[:, None] / 127.5 - 1
        return rows @ pixels.permute(0, 3, 1, 2) @ columns.T / 127.5 - 1

    def _filter(self, length: int) -> Float[Tensor, "size length"]:
        """Return the weights that resample a line of `length` pixels; rows sum to 1."""
        scale = length / self.size
        centre = (torch.arange(self.size) + 0.5) * scale
        distance = (torch.arange(length) + 0.5)[None] - centre[:, None]
        # The triangle is at least one pixel wide, so enlarging interpolates and shrinking averages.
        weight = (1 - distance.abs() / torch.clamp(torch.ones(1) * scale, min=1.0)).clamp(min=0)
        return weight / weight.sum(dim=1, keepdim=True)


class Recogniser(nn.Module):
    """Picture bytes -> logits, calibrated probabilities, and the two components.

    `adjustment` is added to the logits (`calibration.fit`); with `flip_tta` they are the mean over the face and its
    mirror image, and the components those of the face.
    """

    def __init__(
        self,
        encoder: Encoder,
        separator: Separator,
        classifier: Classifier,
        preprocess: Preprocess,
        temperature: float,
        adjustment: Float[Tensor, " classes"] | None = None,
        flip_tta: bool = False,
    ):
        super().__init__()
        self.preprocess, self.encoder = preprocess, encoder
        self.separator, self.classifier = separator, classifier
        self.temperature, self.flip_tta = temperature, flip_tta
        self.register_buffer("adjustment", adjustment)

    def forward(self, image: UInt8[Tensor, "batch height width 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return logits, probabilities, emotion, residue."""
        face = self.preprocess(image)
        emotion, residue = self.separator(self.encoder(torch.cat([face, face.flip(3)]) if self.flip_tta else face))
        logits = self.classifier(emotion)
        if self.flip_tta:
            faces = face.shape[0]  # not len(face), which is one number for good in what torch.export traces
            logits = (logits[:faces] + logits[faces:]) / 2
            emotion, residue = emotion[:faces], residue[:faces]
        if self.adjustment is not None:
            logits = logits + self.adjustment
        return logits, (logits / self.temperature).softmax(-1), emotion, residue


class FaceGraph(nn.Module):
    """Emotion, residue and strength -> face as a picture in [0, 1], channels last."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(
        self,
        emotion: Float[Tensor, "batch tokens width"],
        residue: Float[Tensor, "batch tokens width"],
        strength: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch size size channels"]:
        """Generate faces that lack the share `strength` of their expression."""
        face = self.generator(emotion, residue, strength)
        return ((face + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


class PhotoGraph(nn.Module):
    """Image bytes of 112 px -> movement maps, probabilities and the two components."""

    def __init__(self, model: PhotoPFViT):
        super().__init__()
        self.model = model

    def forward(self, image: UInt8[Tensor, "batch high wide 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return maps [batch, 9, 56, 56] in the order of `CHANNELS`, probabilities, emotion, residue."""
        emotion, residue, logits, maps = self.model(image.float().permute(0, 3, 1, 2) / 127.5 - 1)
        return torch.cat(maps, dim=1), logits.softmax(-1), emotion, residue


class DrawingGraph(nn.Module):
    """Tokens -> a drawn face in [0, 1], channels last."""

    def __init__(self, drawing: PhotoDrawing):
        super().__init__()
        self.drawing = drawing

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch size size 3"]:
        """Draw."""
        return ((self.drawing(tokens) + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

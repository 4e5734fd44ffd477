"""The photo model: its parts, its maps, and how they are applied in training and in reading alike."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pfvit.inference.face_change import MAPS, movement_change
from pfvit.inference.face_edit import apply_change
from pfvit.model.movement import CHANNELS, MovementMaps, apply_movement, enlarge
from pfvit.model.photo import SIDE, SIZE, WIDTH, PhotoDecoder, PhotoDiscriminator, PhotoPFViT


@pytest.fixture(scope="module")
def model() -> PhotoPFViT:
    torch.manual_seed(0)
    return PhotoPFViT().eval()


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_components_add_up_and_a_fresh_model_moves_nothing(model, faces):
    emotion, residue, logits, maps = model(faces)
    assert torch.allclose(emotion + residue, model.encoder(faces), atol=1e-5)
    assert emotion.shape == (2, SIDE * SIDE, WIDTH) and logits.shape == (2, 8)
    assert [part.shape for part in maps] == [(2, count, 56, 56) for count in CHANNELS.values()]
    assert not maps.base.any() and not maps.split.any() and not maps.light.any()
    assert torch.allclose(apply_movement(faces, maps).poker_face, faces, atol=1e-5)
    assert model.drawing(residue).shape == faces.shape


def test_the_masked_encoder_sees_only_what_is_kept(model, faces):
    kept = torch.stack([torch.randperm(SIDE * SIDE)[:49] for _ in range(2)])
    hidden = faces.clone()
    mask = torch.zeros(2, SIDE * SIDE).scatter(1, kept, 1.0).view(2, 1, SIDE, SIDE).repeat_interleave(8, 2)
    hidden = hidden * mask.repeat_interleave(8, 3)
    with torch.no_grad():
        assert torch.allclose(model.encoder(faces, kept), model.encoder(hidden, kept), atol=1e-5)
        drawn = PhotoDecoder()(model.encoder(faces, kept), kept)
    assert drawn.shape == (2, SIDE * SIDE, 192)


def test_enlarging_is_bicubic_interpolation():
    maps = torch.randn(2, 3, 56, 56)
    wanted = F.interpolate(maps, (150, 150), mode="bicubic", align_corners=False)
    assert torch.allclose(enlarge(maps, 150), wanted, atol=1e-4)
    assert enlarge(maps, 56) is maps


def smooth_maps(seed: int) -> MovementMaps:
    """Maps like a trained head's: smooth flows of a few pixels, a lip line, some light."""
    generator = torch.Generator().manual_seed(seed)

    def smooth(channels: int, size: float) -> torch.Tensor:
        coarse = torch.randn(1, channels, 6, 6, generator=generator) * size
        return F.interpolate(coarse, (56, 56), mode="bicubic", align_corners=False)

    y, x = torch.meshgrid(torch.linspace(0, 1, 56), torch.linspace(0, 1, 56), indexing="ij")
    near = torch.exp(-(((y - 0.7) / 0.12) ** 4) - ((x - 0.5) / 0.2) ** 4)[None, None]
    inside = (torch.minimum(x, 1 - x) * torch.minimum(y, 1 - y) * 16).clamp(max=1)[None, None]
    return MovementMaps(
        smooth(2, 0.04) * inside, smooth(2, 0.03) * near, (0.7 - y)[None, None], torch.zeros(1, 1, 56, 56),
        smooth(3, 0.1) * inside,
    )  # fmt: skip


@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("side", [112, 331])
def test_training_and_reading_move_alike(side, strength):
    """What the model is taught with is what people get, up to a different cubic filter and 8 bits.

    Below 0, which nothing is taught with, lips part no further: there only a face that they do not part in is alike.
    """
    maps = smooth_maps(2)
    if strength < 0:
        maps = maps._replace(split=torch.zeros_like(maps.split))
    y, x = np.mgrid[:side, :side] / side
    photo = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y), np.sin(5 * x * y)], axis=2) * 90 + 128
    pixels = np.rint(photo).astype(np.uint8)
    face = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    taught = (apply_movement(face, maps, strength=strength).poker_face[0].clamp(-1, 1) + 1) * 127.5
    change = movement_change(torch.cat(maps, 1)[0].numpy()).times(strength)
    given = apply_change(pixels, change).astype(float)
    error = np.abs(given - taught.permute(1, 2, 0).numpy())
    assert np.mean(error) < 0.6 and np.quantile(error, 0.99) < 4
    assert np.abs(given - pixels).mean() > 4 * abs(strength) - 1.5  # there was something to agree on


def test_both_sides_name_the_maps_alike():
    assert CHANNELS == MAPS


def test_discriminators_judge_faces_and_mouths(faces):
    judge = PhotoDiscriminator((8, 16, 16, 24))
    for side in (SIZE, 56):
        patches, whole, neutral = judge(F.interpolate(faces, (side, side)))
        assert whole.shape == (2, 1) and neutral.shape == (2,) and patches.shape == (2, (side // 8) ** 2)
    sum(part.sum() for part in judge(faces)).backward()
    assert all(weight.grad is not None for weight in judge.parameters())

"""Brows and lids are read off the tokens: a ridge regression, whose shapes move what the movement measures."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import plain_face
from sklearn.linear_model import Ridge

from pfvit.datasets import mesh_points as mesh
from pfvit.inference.face_change import movement_change
from pfvit.inference.movement import EYE_DISTANCE, measure_movement
from pfvit.model.movement import MOST_READ, MovementMaps
from pfvit.model.photo import SIZE, WIDTH, PhotoPFViT
from pfvit.training.eye_readout import eye_flows, eye_shapes, fit_eyes, ridge


def maps_of(down: torch.Tensor) -> MovementMaps:
    base = torch.stack([torch.zeros_like(down), down])[None]
    return MovementMaps(base, torch.zeros(1, 2, 56, 56), torch.ones(1, 1, 56, 56), *torch.zeros(2, 1, 1, 56, 56))


def test_a_shape_moves_its_region_alone():
    brows, lids = eye_shapes()
    assert torch.allclose(eye_flows(torch.stack([brows, lids])[:, None]), torch.eye(2), atol=1e-6)
    for shape, moved in ((brows, "brows"), (lids, "lids")):
        found = measure_movement(movement_change(torch.cat(maps_of(0.01 * shape), dim=1)[0].numpy()))
        other = {"brows": "lids", "lids": "brows"}[moved]
        assert abs(getattr(found, moved)) == pytest.approx(0.005 / EYE_DISTANCE, rel=0.02)  # a half is half of the side
        assert abs(getattr(found, other)) < 1e-4 and abs(found.mouth_corners) < 1e-4


@pytest.mark.parametrize("faces", [30, 200])
def test_the_ridge_is_that_of_scikit_learn(faces):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(faces, 80)), rng.normal(size=(faces, 2))
    theirs = Ridge(alpha=0.2 * faces, fit_intercept=False).fit(x, y).coef_.T
    np.testing.assert_allclose(ridge(torch.tensor(x).float(), torch.tensor(y).float(), 0.2), theirs, atol=1e-5)


class FacesOfOneSet:
    """Faces whose brows lie as high as their pictures are bright."""

    device = torch.device("cpu")

    def __init__(self, count: int):
        self.lift = torch.linspace(-0.01, 0.01, count)
        q = torch.from_numpy(plain_face().astype(np.float32) * 0.51 + [0.5, 0.375]).float().expand(count, -1, -1)
        p = q.clone()
        p[:, mesh.BROWS, 1] -= self.lift[:, None] * 0.51
        everyone, nobody = torch.arange(count), torch.arange(0)
        self.sets = [SimpleNamespace(name="utk", neutral=nobody, expressive=everyone, middling=nobody, p=p, q=q)]

    def plain(self, k: int, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # The encoder's tokens are normalised, so a flat picture would show its brightness in their direction alone.
        face = (self.lift[indices] * 50)[:, None, None, None].expand(-1, 3, SIZE, SIZE).clone()
        face[:, :, ::2] += 0.3
        return face, torch.zeros(len(indices), 8)


@torch.no_grad()
def test_what_the_flow_leaves_of_the_teachers_brows_is_added():
    torch.manual_seed(0)
    model, faces = PhotoPFViT().eval(), FacesOfOneSet(60)
    assert fit_eyes(model, faces, nullcontext) == 54  # every tenth is left for measuring
    left_out = torch.arange(5, 60, 10)
    maps = model(faces.plain(0, left_out)[0]).maps
    read = eye_flows(maps.base[:, 1:])
    wanted = -faces.lift[left_out] * 2 * 0.51
    assert torch.allclose(read[:, 0], wanted, atol=1e-3) and float(read[:, 1].abs().max()) < 1e-3
    assert not maps.base[:, 0].any()


@torch.no_grad()
def test_a_fresh_readout_adds_nothing_and_a_wild_one_little():
    model = PhotoPFViT().eval()
    tokens = torch.randn(2, 196, WIDTH)
    maps = MovementMaps(*(one.expand(2, -1, -1, -1) for one in maps_of(torch.randn(56, 56))))
    assert torch.equal(model.eyes(tokens, maps).base, maps.base)
    model.eyes.bias.fill_(9.0)
    model.eyes.shapes.copy_(eye_shapes())
    added = model.eyes(tokens, maps).base - maps.base
    assert torch.allclose(eye_flows(added[:, 1:]), torch.full((2, 2), MOST_READ), atol=1e-5)


def test_weights_of_before_have_no_readout():
    weights = {name: value for name, value in PhotoPFViT().state_dict().items() if not name.startswith("eyes")}
    model = PhotoPFViT()
    model.load_state_dict(weights)
    assert not model.eyes.weight.any() and not model.eyes.shapes.any()

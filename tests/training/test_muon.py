"""Muon: what a step is, which weights take it, and that nothing else changes."""

import pytest
import torch
from torch import nn

from pfvit.config.presets import NANO
from pfvit.training.build import build_pfvit
from pfvit.training.muon import ADAM_SIZE, Muon, orthogonal
from pfvit.training.optim import groups


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (24, 8), (1, 9)])
def test_singular_values_come_near_one_and_their_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    turned = orthogonal(matrix)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    assert values.max() < 0.02, "they were not one before"
    along = left.T @ turned @ right.T
    assert torch.dist(along, along.diagonal().diag()) < 1e-4
    large = values > 0.2 * values.max()  # five iterations do not lift the very smallest
    assert along.diagonal()[large].min() > 0.6 and along.diagonal().max() < 1.3


def test_a_step_has_adam_s_size_whatever_the_gradient_s_and_decays_the_weight():
    for size in (1e-6, 1.0, 1e6):
        weight = nn.Parameter(torch.ones(16, 4, 3, 3))
        optimizer = Muon(
            [{"params": [weight], "lr": 0.1, "weight_decay": 0.5, "matrices": True}], (0.9, 0.95), torch.float32
        )
        weight.grad = size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        moved = weight.detach() - (1 - 0.1 * 0.5)
        assert moved.square().mean().sqrt() == pytest.approx(0.1 * ADAM_SIZE, rel=0.2)


def test_matrices_of_one_shape_may_be_taken_together(monkeypatch):
    def weights_after(together: bool) -> list[nn.Parameter]:
        shapes = [(6, 4), (4, 6), (6, 4), (6, 2, 2), (3, 3)]
        weights = [nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(3))) for shape in shapes]
        if not together:
            monkeypatch.setattr("pfvit.training.muon.alike", lambda few: [[weight] for weight in few])
        optimizer = Muon([{"params": weights, "lr": 0.1, "matrices": True}], (0.9, 0.95), torch.float32)
        for step in range(3):
            for number, weight in enumerate(weights):
                noise = torch.Generator().manual_seed(10 * step + number)
                weight.grad = torch.randn(weight.shape, generator=noise)
            optimizer.step()
        return weights

    for alone, stacked in zip(weights_after(False), weights_after(True), strict=True):
        assert torch.allclose(alone, stacked, atol=1e-5)


def test_what_is_no_matrix_takes_adamw_s_step():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    matrix = nn.Parameter(torch.eye(3))
    muon = Muon(
        [{"params": [matrix], "matrices": True}, {"params": [ours], "matrices": False, "weight_decay": 0.1}],
        (0.9, 0.95),
        torch.float32,
    )
    adam = torch.optim.AdamW([{"params": [theirs], "weight_decay": 0.1}], betas=(0.9, 0.95))
    for step in range(3):
        for weight in (ours, theirs, matrix):
            weight.grad = torch.full_like(weight, step + 0.5)
        muon.step()
        adam.step()
    assert torch.equal(ours, theirs)
    assert not torch.equal(matrix, torch.eye(3))


def test_weights_without_a_gradient_stay():
    matrix = nn.Parameter(torch.eye(3))
    Muon([{"params": [matrix], "matrices": True}], (0.9, 0.95), torch.float32).step()
    assert torch.equal(matrix, torch.eye(3))


def test_matrices_are_all_but_tokens_and_the_last_layers():
    model = build_pfvit(NANO)
    names = {weight: name for name, weight in model.named_parameters()}
    parted = groups([(name, weight) for weight, name in names.items()], 0.1, matrices=True)
    assert sum(len(group["params"]) for group in parted) == len(names)
    ours = {names[weight] for group in parted if group["matrices"] for weight in group["params"]}
    theirs = set(names.values()) - ours
    assert {"encoder.patch_embed.proj.weight", "encoder.blocks.0.attn.qkv.weight", "separator.fc1.weight"} <= ours
    assert {"encoder.cls_token", "generator.no_emotion", "classifier.head.weight", "encoder.norm.weight"} <= theirs
    assert any(name.endswith("decoder.pred.weight") for name in theirs)
    assert not any(name.endswith("bias") for name in ours)
    assert not any(group["matrices"] for group in groups(list(model.named_parameters()), 0.1))

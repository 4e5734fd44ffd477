import math

import pytest
import torch

from pfvit.config import Gan
from pfvit.training import losses
from pfvit.training.gan import ClipGradient, gradient_limit


def face(value: float, batch: int = 2) -> torch.Tensor:
    return torch.full((batch, 1, 2, 2), value)


def test_masked_reconstruction_looks_at_hidden_patches_only():
    drawn = torch.tensor([[[0.0, 0.0], [5.0, 5.0], [1.0, 3.0]]])
    target = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [1.0, 1.0]]])
    hidden = torch.tensor([[True, False, True]])
    # patch 0: (1 + 4) / 2; patch 2: (0 + 4) / 2
    assert losses.masked_reconstruction(drawn, target, hidden).item() == pytest.approx((2.5 + 2.0) / 2)


def test_normalised_target_has_mean_0_and_variance_1():
    target = torch.tensor([[[3.0, 5.0, 7.0]]])  # mean 5, unbiased variance 4: becomes -1, 0, 1
    drawn = torch.tensor([[[0.0, 0.0, 0.0]]])
    hidden = torch.tensor([[True]])
    assert losses.masked_reconstruction(drawn, target, hidden, norm_pix_loss=True).item() == pytest.approx(
        2 / 3, rel=1e-5
    )


def test_classification_of_flat_logits_is_log_k_and_of_soft_targets_the_cross_entropy():
    assert losses.classification(torch.zeros(2, 8), torch.eye(8)[:2]).item() == pytest.approx(math.log(8))
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4 and 3/4
    target = torch.tensor([[0.5, 0.5]])
    expected = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75))
    assert losses.classification(logits, target).item() == pytest.approx(expected)


def test_reconstruction_is_the_mean_absolute_error():
    assert losses.reconstruction(face(0.5), face(-0.25)).item() == pytest.approx(0.75)


def test_feature_matching_does_not_move_the_real_features():
    drawn = torch.ones(1, 2, 3, requires_grad=True)
    real = torch.zeros(1, 2, 3, requires_grad=True)
    loss = losses.feature_matching(drawn, real)
    loss.backward()
    assert loss.item() == 1 and real.grad is None and drawn.grad is not None


def test_hinges():
    real, made = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    # relu(1 - 2), relu(1 - .5) -> 0, .5; relu(1 - 3), relu(1 + 0) -> 0, 1
    assert losses.discriminator_hinge(real, made).item() == pytest.approx(0.25 + 0.5)
    assert losses.generator_hinge(made).item() == pytest.approx(1.5)


def test_neutral_identity_counts_neutral_faces_by_weight():
    poker = torch.cat([face(0.2, 1), face(1.0, 1)])
    neutral = torch.tensor([1.0, 0.0])
    assert losses.neutral_identity(poker, face(0.0), neutral).item() == pytest.approx(0.2 / 2)
    assert losses.neutral_identity(poker, face(0.0), torch.zeros(2)).item() == 0


def test_residue_confusion_is_zero_only_for_a_flat_guess():
    assert losses.residue_confusion(torch.zeros(3, 8)).item() == pytest.approx(0, abs=1e-6)
    logits = torch.tensor([[0.0, math.log(3.0)]])
    kl = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert losses.residue_confusion(logits).item() == pytest.approx(kl, rel=1e-5)


def test_orthogonality_is_the_squared_cosine():
    a = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    b = torch.tensor([[[0.0, 2.0], [1.0, 1.0]]])
    assert losses.orthogonality(a, b).item() == pytest.approx((0 + 0.5) / 2)


def test_cycle_moves_only_the_second_residue():
    first = torch.zeros(1, 1, 2, requires_grad=True)
    again = torch.ones(1, 1, 2, requires_grad=True)
    loss = losses.cycle(first, again)
    loss.backward()
    assert loss.item() == 1 and first.grad is None and again.grad is not None


def test_minimal_change():
    assert losses.minimal_change(face(0.1), face(-0.3)).item() == pytest.approx(0.4)


def test_the_target_of_a_poker_face_fades_from_the_emotion_to_neutral():
    target = torch.eye(4)[[2, 2, 2]]
    faded = losses.poker_target(target, torch.tensor([0.0, 0.25, 1.0]), neutral=0)
    assert faded.tolist() == [[0, 0, 1, 0], [0.25, 0, 0.75, 0], [1, 0, 0, 0]]


def test_gradients_are_clipped_face_by_face():
    faces = torch.zeros(2, 1, 2, 2, requires_grad=True)
    gradients = torch.tensor([[3.0, 0.0, 0.0, 4.0], [0.3, 0.0, 0.0, 0.4]]).reshape(2, 1, 2, 2)  # norms 5 and 0.5
    passed = ClipGradient.apply(faces, 1.0)
    assert torch.equal(passed, faces)
    passed.backward(gradients)
    assert torch.allclose(faces.grad[0], gradients[0] / 5) and torch.equal(faces.grad[1], gradients[1])


def test_the_limit_is_the_gradient_of_the_reconstruction():
    """What `gradient_limit` takes for the norm of L1's gradient: 1 / (faces sqrt(pixels))."""
    drawn = torch.rand(3, 1, 8, 8, requires_grad=True)
    losses.reconstruction(drawn, drawn.detach() - 0.5).backward()
    assert drawn.grad.flatten(1).norm(dim=1).tolist() == pytest.approx([1 / (3 * 8)] * 3)
    assert gradient_limit(Gan(max_adversarial_gradient=2.0, reconstruction=3.0), drawn) == pytest.approx(6 / (3 * 8))

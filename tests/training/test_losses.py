from __future__ import annotations

import pickle

import pytest
import torch

from nnunet_spine_ext.training.losses import ProbabilityMSELoss


def logits_for(probabilities: list[list[float]]) -> torch.Tensor:
    """Logits (B=1, K, 1, n) whose softmax is `probabilities[class][voxel]`."""
    return torch.tensor(probabilities).log()[None, :, None]


def labels(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int16)[None, None, None]


def test_value_worked_out_by_hand() -> None:
    # Voxel 0: probabilities (0.5, 0.25, 0.25), label 1: 0.25 + 0.5625 + 0.0625 = 0.875.
    # Voxel 1: probabilities (0.2, 0.2, 0.6), label 2: 0.04 + 0.04 + 0.16 = 0.24.  Mean of 2 voxels x 3 classes.
    logits = logits_for([[0.5, 0.2], [0.25, 0.2], [0.25, 0.6]])
    assert ProbabilityMSELoss()(logits, labels([1, 2])).item() == pytest.approx((0.875 + 0.24) / 6)


def test_two_classes_equal_the_error_of_the_foreground_probability() -> None:
    logits, target = torch.randn(2, 2, 3, 4, 5), torch.randint(0, 2, (2, 1, 3, 4, 5))
    foreground = torch.sigmoid(logits[:, 1] - logits[:, 0])
    expected = ((foreground - target[:, 0]) ** 2).mean()
    assert torch.allclose(ProbabilityMSELoss()(logits, target), expected)


def test_ignored_voxels_neither_count_nor_learn() -> None:
    logits = logits_for([[0.5, 0.2], [0.25, 0.2], [0.25, 0.6]]).requires_grad_()
    loss = ProbabilityMSELoss(ignore_label=3)(logits, labels([3, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(0.24 / 3)
    assert logits.grad is not None
    assert (logits.grad[..., 0] == 0).all()
    assert (logits.grad[..., 1] != 0).all()


def test_a_batch_without_annotation_has_loss_zero() -> None:
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    loss = ProbabilityMSELoss(ignore_label=3)(logits, labels([3, 3]))
    loss.backward()
    assert loss.item() == 0


def test_regions_are_independent_probabilities_and_their_last_channel_is_ignored() -> None:
    # Sigmoid probabilities 0.5 and 0.8 for regions that overlap; voxel 1 carries the ignore mark.
    logits = torch.tensor([[0.5, 0.9], [0.8, 0.9]]).logit()[None, :, None]
    regions = torch.tensor([[True, False], [True, False], [False, True]])[None, :, None]
    loss = ProbabilityMSELoss(regions=True, ignore_label=3)(logits, regions)
    assert loss.item() == pytest.approx((0.25 + 0.04) / 2)
    without_ignore = ProbabilityMSELoss(regions=True)(logits, regions[:, :2])
    assert without_ignore.item() == pytest.approx((0.25 + 0.04 + 0.81 + 0.81) / 4)


def test_half_precision_logits_are_squared_in_float32() -> None:
    # A probability of 1e-4 has the square 1e-8, which float16 cannot hold.
    logit = torch.tensor(-9.2, dtype=torch.float16)
    expected = float(torch.sigmoid(logit.double()) ** 2)
    labels_loss = ProbabilityMSELoss()(torch.stack([-logit, 0 * logit]).view(1, 2, 1, 1), torch.zeros(1, 1, 1, 1))
    regions_loss = ProbabilityMSELoss(regions=True)(logit.view(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    for loss in (labels_loss, regions_loss):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected, rel=1e-2)


def test_gradient_agrees_with_finite_differences() -> None:
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (1, 1, 2, 3))
    loss = ProbabilityMSELoss().forward
    # The loss casts to float32, hence the loose step.
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits, eps=1e-2, atol=1e-3)


def test_can_be_sent_to_another_process() -> None:
    loss = pickle.loads(pickle.dumps(ProbabilityMSELoss(regions=True, ignore_label=2)))
    assert (loss.regions, loss.ignore_label) == (True, 2)

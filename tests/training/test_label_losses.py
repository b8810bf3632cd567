"""Dice alone and cross-entropy alone, against sums over voxels written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from nnunet_spine_ext.training.label_losses import CrossEntropyLoss, DiceLoss

B, K, H, W = 2, 3, 3, 4
SMOOTH = 1e-5


def logits() -> torch.Tensor:
    return torch.randn(B, K, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def labels(highest: int = K) -> torch.Tensor:
    return torch.randint(0, highest, (B, 1, H, W), generator=torch.Generator().manual_seed(1)).float()


def regions(*, ignored: bool) -> torch.Tensor:
    return torch.rand(B, K + ignored, H, W, generator=torch.Generator().manual_seed(2)) > 0.6


def dice_by_hand(p: np.ndarray, reference: np.ndarray, valid: np.ndarray, *, batch: bool) -> np.ndarray:
    """(samples, classes), voxel by voxel; one sample where the batch counts as a whole."""
    sums = np.zeros((B, K, 3))
    for b, k, i, j in product(range(B), range(K), range(H), range(W)):
        if valid[b, i, j]:
            r = float(reference[b, k, i, j])
            sums[b, k] += (p[b, k, i, j] * r, p[b, k, i, j], r)
    if batch:
        sums = sums.sum(0, keepdims=True)
    return (2 * sums[..., 0] + SMOOTH) / (sums[..., 1] + sums[..., 2] + SMOOTH)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("ignore_label", [None, 3])
def test_dice_of_labels(batch: bool, background: bool, ignore_label: int | None) -> None:
    target = labels(K + (ignore_label is not None))
    loss = DiceLoss(batch_dice=batch, background=background, ignore_label=ignore_label)(logits(), target)
    map_ = target[:, 0].numpy()
    reference = np.stack([map_ == k for k in range(K)], axis=1)
    dice = dice_by_hand(softmax(logits().numpy()), reference, map_ != 3, batch=batch)
    assert float(loss) == pytest.approx(1 - dice[:, 0 if background else 1 :].mean(), abs=1e-6)


@pytest.mark.parametrize("ignored", [False, True])
def test_dice_of_regions_has_no_background(ignored: bool) -> None:
    target = regions(ignored=ignored)
    loss = DiceLoss(batch_dice=False, background=False, regions=True, ignore_label=9 if ignored else None)
    p = 1 / (1 + np.exp(-logits().numpy()))
    valid = ~target[:, -1].numpy() if ignored else np.ones((B, H, W), dtype=bool)
    dice = dice_by_hand(p, target[:, :K].numpy(), valid, batch=False)
    assert float(loss(logits(), target)) == pytest.approx(1 - dice.mean(), abs=1e-6)


@pytest.mark.parametrize("ignore_label", [None, 3])
def test_cross_entropy_of_labels(ignore_label: int | None) -> None:
    target = labels(K + (ignore_label is not None))
    p = softmax(logits().numpy())
    terms = [
        -np.log(p[b, int(target[b, 0, i, j]), i, j])
        for b, i, j in product(range(B), range(H), range(W))
        if target[b, 0, i, j] != 3
    ]
    loss = CrossEntropyLoss(ignore_label=ignore_label)(logits(), target)
    assert float(loss) == pytest.approx(np.mean(terms))


@pytest.mark.parametrize("ignored", [False, True])
def test_cross_entropy_of_regions(ignored: bool) -> None:
    target = regions(ignored=ignored)
    p = 1 / (1 + np.exp(-logits().numpy()))
    terms = [
        -np.log(p[b, k, i, j] if target[b, k, i, j] else 1 - p[b, k, i, j])
        for b, k, i, j in product(range(B), range(K), range(H), range(W))
        if not (ignored and target[b, K, i, j])
    ]
    loss = CrossEntropyLoss(regions=True, ignore_label=9 if ignored else None)(logits(), target)
    assert float(loss) == pytest.approx(np.mean(terms))


@pytest.mark.parametrize(
    "loss", [DiceLoss(batch_dice=True, background=True, ignore_label=3), CrossEntropyLoss(ignore_label=3)]
)
def test_nothing_annotated_gives_a_finite_loss_and_no_gradient(loss: torch.nn.Module) -> None:
    x = logits().requires_grad_()
    value = loss(x, torch.full((B, 1, H, W), 3.0))
    value.backward()
    assert torch.isfinite(value)
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize(
    "loss", [DiceLoss(batch_dice=True, background=True, ignore_label=3), CrossEntropyLoss(ignore_label=3)]
)
def test_ignored_voxels_have_no_gradient(loss: torch.nn.Module) -> None:
    x, target = logits().requires_grad_(), labels(4)
    loss(x, target).backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(1, keepdim=True) > 0
    assert torch.equal(touched, target != 3)

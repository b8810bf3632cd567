"""The loss of paper 001 against values worked out by hand and a plain sum in float64."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from nnunet_spine_ext.training.log_dice import LogDiceLoss

FAR = 60.0
"""A logit whose probability is 0 or 1 in float32."""


def logits_for(probabilities: list[list[float]]) -> torch.Tensor:
    """Logits (B=1, K, 1, n) whose softmax is `probabilities[class][voxel]`."""
    return torch.tensor(probabilities).log()[None, :, None]


def labels(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int16)[None, None, None]


def plain(probabilities: Any, reference: Any, *, smooth: float = 1.0) -> float:
    """-ln Dice of two lists of numbers."""
    pairs = list(zip(probabilities, reference, strict=True))
    top = 2 * sum(p * g for p, g in pairs) + smooth
    return -math.log(top / (sum(p for p, _ in pairs) + sum(g for _, g in pairs) + smooth))


def test_value_worked_out_by_hand() -> None:
    # Foreground probabilities 0.75 and 0.5, reference 1 and 0: I = 0.75, A = 1, P = 1.25, Dice = 2.5 / 3.25.
    logits = logits_for([[0.25, 0.5], [0.75, 0.5]])
    assert LogDiceLoss()(logits, labels([1, 0])).item() == pytest.approx(math.log(3.25 / 2.5))
    # As printed, 2 (I + 1) over the same: 3.5 / 3.25, so that the loss is negative.
    assert LogDiceLoss(form="typeset")(logits, labels([1, 0])).item() == pytest.approx(-math.log(3.5 / 3.25))


def test_nothing_there_and_nothing_predicted_costs_nothing() -> None:
    logits = torch.tensor([FAR, -FAR]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    empty = torch.zeros(1, 1, 4, 4)
    assert LogDiceLoss()(logits, empty).item() == 0
    assert LogDiceLoss(form="typeset")(logits, empty).item() == pytest.approx(-math.log(2))


def test_perfect_prediction_costs_nothing() -> None:
    target = labels([1, 1, 0])
    logits = FAR * torch.stack([1 - 2 * target[:, 0].float(), 2 * target[:, 0].float() - 1], dim=1)
    assert LogDiceLoss()(logits, target).item() == 0
    # I = A = P = 2: 6 / 5.
    assert LogDiceLoss(form="typeset")(logits, target).item() == pytest.approx(-math.log(6 / 5))


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("regions", [False, True])
def test_agrees_with_a_plain_sum(batch_dice: bool, regions: bool) -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 4, 3, 5, 6)
    if regions:
        probabilities, target = torch.sigmoid(logits.double()), torch.randint(0, 2, logits.shape).bool()
        expected_target, first = target.double(), 0
    else:
        target = torch.randint(0, 4, (2, 1, 3, 5, 6), dtype=torch.int16)
        probabilities = torch.softmax(logits.double(), 1)
        expected_target, first = torch.cat([(target == k).double() for k in range(4)], 1), 1
    terms = []
    for k in range(first, 4):
        samples = [(probabilities[b, k].flatten(), expected_target[b, k].flatten()) for b in range(2)]
        if batch_dice:
            samples = [tuple(torch.cat(parts) for parts in zip(*samples, strict=True))]  # type: ignore[list-item]
        terms += [plain(p.tolist(), g.tolist()) for p, g in samples]
    loss = LogDiceLoss(regions=regions, batch_dice=batch_dice)(logits, target)
    assert loss.item() == pytest.approx(float(np.mean(terms)), rel=1e-5)


def test_two_classes_equal_the_sigmoid_of_a_single_output() -> None:
    logits, target = torch.randn(2, 2, 3, 4), torch.randint(0, 2, (2, 1, 3, 4))
    single = LogDiceLoss(regions=True)((logits[:, 1:] - logits[:, :1]), target.bool())
    torch.testing.assert_close(LogDiceLoss()(logits, target), single)


def test_ignored_voxels_neither_count_nor_learn() -> None:
    logits = logits_for([[0.25, 0.5, 0.1], [0.75, 0.5, 0.9]]).requires_grad_()
    loss = LogDiceLoss(ignore_label=2)(logits, labels([1, 0, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3.25 / 2.5))
    assert logits.grad is not None
    assert (logits.grad[..., 2] == 0).all()
    assert (logits.grad[..., :2] != 0).all()


def test_last_channel_of_regions_is_ignored() -> None:
    logits = torch.tensor([[0.75, 0.5, 0.9]]).logit()[None, :, None]
    regions = torch.tensor([[True, False, True], [False, False, True]])[None, :, None]
    loss = LogDiceLoss(regions=True, ignore_label=3)(logits, regions)
    assert loss.item() == pytest.approx(math.log(3.25 / 2.5))


def test_a_batch_without_annotation_has_loss_zero() -> None:
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    loss = LogDiceLoss(ignore_label=3)(logits, labels([3, 3]))
    loss.backward()
    assert loss.item() == 0


def test_sums_that_float16_cannot_hold_are_those_of_float32() -> None:
    # 100 000 voxels, all predicted with 0.5, half of them right: I = 25 000, A = P = 50 000.
    logits = torch.zeros(1, 2, 100, 1000, dtype=torch.float16)
    target = torch.arange(100_000).view(1, 1, 100, 1000) % 2
    loss = LogDiceLoss()(logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(100_001 / 50_001), rel=1e-5)


def test_a_hopeless_prediction_has_a_finite_loss_and_gradient() -> None:
    # Dice would be 10^-12 / 64; it is not taken to be less than 10^-8.
    logits = torch.tensor([-FAR, FAR]).view(1, 2, 1, 1).expand(1, 2, 8, 8).clone().requires_grad_()
    loss = LogDiceLoss(smooth=1e-12)(logits, torch.zeros(1, 1, 8, 8))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1e8))
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_gradient_agrees_with_finite_differences() -> None:
    torch.manual_seed(1)
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0, 1, 2], [1, 1, 0]])[None, None]
    loss = LogDiceLoss().forward
    # The loss casts to float32, hence the loose step.
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits, eps=1e-2, atol=1e-3)


def test_smooth_must_be_positive() -> None:
    with pytest.raises(ValueError, match="smooth"):
        LogDiceLoss(smooth=0)


def test_can_be_sent_to_another_process() -> None:
    loss = pickle.loads(pickle.dumps(LogDiceLoss(regions=True, ignore_label=2, batch_dice=True)))
    assert (loss.regions, loss.ignore_label, loss.batch_dice) == (True, 2, True)


# ---- several processes -------------------------------------------------------------------------------------------


def whole_batch() -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(3, 3, 4, 5, generator=torch.Generator().manual_seed(5))
    return logits, torch.randint(0, 3, (3, 1, 4, 5), generator=torch.Generator().manual_seed(6))


def _part(rank: int, folder: str) -> None:
    """Train rank 0 on two samples and rank 1 on one; save loss and gradient."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    logits, target = whole_batch()
    share = slice(0, 2) if rank == 0 else slice(2, 3)
    mine = logits[share].clone().requires_grad_()
    loss = LogDiceLoss(batch_dice=True, ddp=True)(mine, target[share])
    loss.backward()
    torch.save((loss.detach(), mine.grad), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_batches_of_two_and_one_see_the_dice_of_three(tmp_path: Any) -> None:
    torch.multiprocessing.spawn(_part, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    logits, target = whole_batch()
    logits.requires_grad_()
    expected = LogDiceLoss(batch_dice=True)(logits, target)
    expected.backward()
    assert logits.grad is not None
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for loss, _ in results:
        torch.testing.assert_close(loss, expected.detach())
    # nnU-Net's gather sums the gradients of all processes' losses, which DistributedDataParallel then halves.
    torch.testing.assert_close(torch.cat([gradient for _, gradient in results]), 2 * logits.grad)

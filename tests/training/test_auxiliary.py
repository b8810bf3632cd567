"""Further outputs in training: how they are weighed, and what a label border is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from nnunet_spine_ext.networks.slice_network import AuxTerm
from nnunet_spine_ext.training.auxiliary import AuxLoss, label_border
from nnunet_spine_ext.training.deep_supervision import slice_wise_scales


class Mean(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output.mean(1, keepdim=True) - target).abs().mean()


class CrossEntropy(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(output, target[:, 0])


def test_each_term_counts_with_its_weight() -> None:
    loss = AuxLoss(Mean(), [AuxTerm("seg", 0.4), AuxTerm("edge", 0.5)])
    target = torch.zeros(1, 1, 2, 2)
    main, aux, edge = torch.full((1, 3, 2, 2), 1.0), torch.full((1, 3, 2, 2), 2.0), torch.full((1, 1, 2, 2), 3.0)
    # No label changes, so the border target is 0 everywhere: its loss is ln(1 + e^3).
    expected = 1.0 + 0.4 * 2.0 + 0.5 * torch.log1p(torch.exp(torch.tensor(3.0)))
    torch.testing.assert_close(loss([main, aux, edge], target), expected)


def test_evaluation_gives_the_main_loss_alone() -> None:
    loss = AuxLoss(Mean(), [AuxTerm("seg", 0.4)])
    assert loss(torch.ones(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)) == 1


def test_missing_output_is_an_error() -> None:
    loss = AuxLoss(Mean(), [AuxTerm("seg", 0.4)])
    with pytest.raises(ValueError, match="0 further outputs, the recipe has 1"):
        loss([torch.ones(1, 3, 2, 2)], torch.zeros(1, 1, 2, 2))


def test_border_is_where_a_neighbour_in_the_slice_has_another_label() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 1, 4, 7, 6))
    expected = torch.zeros_like(labels, dtype=torch.bool)
    for b, _, z, y, x in torch.cartesian_prod(*(torch.arange(n) for n in labels.shape)).tolist():
        for step_y, step_x in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            i, j = y + step_y, x + step_x
            if 0 <= i < 7 and 0 <= j < 6 and labels[b, 0, z, i, j] != labels[b, 0, z, y, x]:
                expected[b, 0, z, y, x] = True
    assert torch.equal(label_border(labels), expected)


def test_border_of_regions_is_that_of_any_region() -> None:
    regions = torch.zeros(1, 2, 4, 4)
    regions[0, 0, :, 2:] = 1
    regions[0, 1, 3] = 1
    expected = label_border(regions[:, :1]) | label_border(regions[:, 1:])
    assert torch.equal(label_border(regions), expected)


def test_gradient_reaches_every_output() -> None:
    loss = AuxLoss(CrossEntropy(), [AuxTerm("seg", 1.0), AuxTerm("edge", 1.0)])
    outputs = [torch.randn(1, k, 4, 4, requires_grad=True) for k in (3, 3, 1)]
    target = torch.randint(0, 3, (1, 1, 4, 4))
    loss(outputs, target).backward()
    assert all(o.grad is not None and o.grad.any() for o in outputs)


def test_scales_are_1_along_the_slices() -> None:
    assert slice_wise_scales([[1, 1], [0.5, 0.5]], axis=0, dims=3) == [[1, 1, 1], [1, 0.5, 0.5]]
    assert slice_wise_scales([[1, 1, 1], [0.5, 0.25, 0.125]], axis=1, dims=3) == [[1, 1, 1], [0.5, 1, 0.125]]

"""Operations of a step, by hand; torch's own counter is wrong for the gradients of grouped convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_spine_ext.planning.flops import flops_of

CONVOLUTIONS = {
    # layer on 8 x 4 x 4 → multiplications and additions of its forward pass, by hand
    "dense": (nn.Conv2d(8, 8, 3, padding=1, bias=False), 2 * 16 * 9 * 8 * 8),
    "depthwise": (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), 2 * 16 * 9 * 8),
    "transposed": (nn.ConvTranspose2d(8, 4, 2, 2, bias=False), 2 * 16 * 4 * 8 * 4),
}


@pytest.mark.parametrize(("layer", "forward"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_step_of_a_convolution_costs_three_times_its_forward_pass(layer: nn.Module, forward: int) -> None:
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    assert flops_of(lambda: layer(x).sum().backward()) == 3 * forward


def test_the_image_needs_no_gradient() -> None:
    layer, forward = CONVOLUTIONS["dense"]
    assert flops_of(lambda: layer(torch.randn(1, 8, 4, 4)).sum().backward()) == 2 * forward

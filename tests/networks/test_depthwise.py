"""Depthwise convolutions run in 2D against the Conv3d that they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_spine_ext.networks.blocks.depthwise import ChannelsLastPlaneDepthwise, PlaneDepthwise, RodDepthwise
from tests.networks.tiny import gradients

CASES = [
    (PlaneDepthwise, (1, 3, 3)),
    (PlaneDepthwise, (1, 5, 3)),
    (ChannelsLastPlaneDepthwise, (1, 7, 7)),
    (RodDepthwise, (7, 1, 1)),
    (RodDepthwise, (3, 1, 1)),
]


@pytest.mark.parametrize(("kind", "kernel"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_equals_conv3d_in_values_and_gradients(kind: type[nn.Conv3d], kernel: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    ours = kind(6, kernel, bias=bias).double()
    literal = nn.Conv3d(6, 6, kernel, padding=[k // 2 for k in kernel], groups=6, bias=bias).double()  # type: ignore[arg-type]
    literal.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 5, 9, 8, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), literal(x))
    for one, other in zip(
        gradients(ours(x), [x, *ours.parameters()]), gradients(literal(x), [x, *literal.parameters()]), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_large_kernel_result_has_its_channels_last_in_memory() -> None:
    result = ChannelsLastPlaneDepthwise(6, (1, 7, 7), bias=True)(torch.randn(2, 6, 5, 9, 8))
    assert result.shape == (2, 6, 5, 9, 8)
    assert result.movedim(1, -1).is_contiguous()

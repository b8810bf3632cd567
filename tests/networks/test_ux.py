"""The large-kernel blocks against their definitions, written with torch's own modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes
from nnunet_spine_ext.networks.blocks.ux import DenseUXBlock, UXBlock
from tests.networks.tiny import CUBIC, FLAT, THICK, gradients, kept_bytes, layers, randomise

SHAPES = {THICK: (2, 6, 5, 9, 8), CUBIC: (1, 6, 7, 8, 9), FLAT: (2, 6, 9, 8)}


def literal_ux(block: UXBlock, x: Tensor) -> Tensor:
    """UX-Net's block: depthwise convolution, LayerNorm, two grouped pointwise convolutions, scale, sum."""
    C, ones = x.shape[1], (1,) * (x.dim() - 2)
    convolve = F.conv3d if x.dim() == 5 else F.conv2d
    y = convolve(x, block.conv.weight, block.conv.bias, padding="same", groups=C)
    y = F.layer_norm(y.movedim(1, -1), (C,), block.norm_weight, block.norm_bias, 1e-6).movedim(-1, 1)
    # Grouped 1x1x1 convolution C → 4C: the four outputs of channel c lie side by side.
    y = F.gelu(convolve(y, block.up_weight.T.reshape(4 * C, 1, *ones), block.up_bias.T.reshape(-1), groups=C))
    y = convolve(y, block.down_weight.T.reshape(C, 4, *ones), block.down_bias, groups=C)
    return x + y * block.layer_scale.view(-1, *ones)


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
@pytest.mark.parametrize("axes", SHAPES, ids=["thick", "isotropic", "2d"])
def test_equals_the_grouped_convolutions_in_values_and_gradients(axes: Axes, recompute: bool) -> None:
    torch.manual_seed(0)
    block = UXBlock(6, layers=layers(axes), kernel=5, recompute=recompute).double()
    randomise(block)
    x = torch.randn(SHAPES[axes], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(block(x), literal_ux(block, x))
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(literal_ux(block, x), wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_has_the_published_size_of_ux_nets_block() -> None:
    # 3D UX-Net, 48 channels, 7 x 7 x 7.
    assert sum(p.numel() for p in UXBlock(48, layers=layers(CUBIC)).parameters()) == 17_280


def test_begins_as_the_identity() -> None:
    x = torch.randn(SHAPES[THICK])
    torch.testing.assert_close(UXBlock(6, layers=layers(THICK))(x), x, atol=1e-4, rtol=0)


def test_mixes_no_slices() -> None:
    block = UXBlock(6, layers=layers(THICK))
    randomise(block)
    x = torch.randn(SHAPES[THICK])
    changed = x.clone()
    changed[:, :, 2] += 1
    difference = (block(changed) - block(x)).abs().amax(dim=(0, 1, 3, 4))
    assert difference[2] > 0
    assert (difference[[0, 1, 3, 4]] == 0).all()


def test_keeps_two_maps_and_not_eleven() -> None:
    x = torch.randn(1, 8, 6, 32, 32, requires_grad=True)
    map_bytes = 4 * x.numel()
    assert kept_bytes(UXBlock(8, layers=layers(THICK)), x) < 2.1 * map_bytes
    assert kept_bytes(UXBlock(8, layers=layers(THICK), recompute=False), x) > 10 * map_bytes


@pytest.mark.parametrize("second_conv", ["2d", "3d"])
def test_dense_form_is_the_published_sequence_of_sums(second_conv: str) -> None:
    torch.manual_seed(0)
    plan = layers(THICK, nonlin=nn.GELU, nonlin_kwargs={})
    block = DenseUXBlock(4, layers=plan, kernel=5, second_conv=second_conv).double()  # type: ignore[arg-type]
    randomise(block)
    x = torch.randn(2, 4, 5, 9, 8, dtype=torch.float64)
    n1, n2, n3, n4 = block.norms
    y1 = block.convs[0](n1(x))
    y2 = F.gelu(block.points[0](n2(y1 + x)))
    y3 = block.convs[1](n3(y2 + y1))
    torch.testing.assert_close(block(x), F.gelu(block.points[1](n4(y3 + y2))))
    assert block.convs[1].kernel_size == ((1, 5, 5) if second_conv == "2d" else (3, 5, 5))

"""Residual block and up-sampling block."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nnunet_spine_ext.networks.blocks.residual import ResBlock
from nnunet_spine_ext.networks.blocks.upsample import UpBlock
from tests.networks.tiny import FLAT, THICK, gradients, kept_bytes, layers, randomise


def units(path: nn.Module) -> list[nn.Module]:
    return [m for m in path.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d))]


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
def test_down_sampling_is_the_published_sum_of_two_paths(recompute: bool) -> None:
    torch.manual_seed(0)
    block = ResBlock(3, 5, layers=layers(THICK), stride=(1, 2, 2), recompute=recompute).double()
    randomise(block)
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64, requires_grad=True)
    conv1, norm1, conv2, norm2 = units(block.main)
    (point,) = units(block.shortcut)
    y = F.leaky_relu(norm1(F.conv3d(x, conv1.weight, conv1.bias, stride=(1, 2, 2), padding=(0, 1, 1))), 0.01)
    y = F.leaky_relu(norm2(F.conv3d(y, conv2.weight, conv2.bias, padding=1)), 0.01)
    pooled = F.conv3d(x, point.weight, point.bias).unfold(3, 2, 2).unfold(4, 2, 2).amax(dim=(-1, -2))
    expected = (y + pooled) / 2**0.5
    torch.testing.assert_close(block(x), expected)
    wanted = [x, *block.parameters()]
    for one, other in zip(gradients(block(x), wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("recompute", [True, False], ids=["recomputed", "kept"])
def test_up_sampling_is_the_published_sum_of_two_paths(recompute: bool) -> None:
    torch.manual_seed(0)
    block = UpBlock(6, 4, layers=layers(THICK), stride=(1, 2, 3), recompute=recompute).double()
    randomise(block)
    below, skip = (torch.randn(2, n, 3, 4, 5, dtype=torch.float64, requires_grad=True) for n in (4, 2))
    x = torch.cat((below, skip), dim=1)
    transposed, norm1, conv, norm2 = units(block.main)
    y = F.leaky_relu(norm1(transposed(x)), 0.01)
    y = F.leaky_relu(norm2(F.conv3d(y, conv.weight, conv.bias, padding=(0, 1, 1))), 0.01)
    nearest = block.shortcut(x).repeat_interleave(2, dim=3).repeat_interleave(3, dim=4)
    expected = (y + nearest) / 2**0.5
    torch.testing.assert_close(block(x), expected)
    torch.testing.assert_close(block(below, skip), expected)
    wanted = [below, skip, *block.parameters()]
    for one, other in zip(gradients(block(below, skip), wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_halving_through_the_planes_reads_every_slice() -> None:
    # A kernel of 1 with stride 2 would leave every second slice out of the main path.
    torch.manual_seed(0)
    block = ResBlock(2, 4, layers=layers(THICK), stride=(2, 2, 2))
    x = torch.randn(1, 2, 8, 8, 8, requires_grad=True)
    (gradient,) = gradients(block.main(x), [x])
    assert (gradient.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_unpooled_slices_do_not_mix_in_the_strided_convolution() -> None:
    block = ResBlock(2, 4, layers=layers(THICK, norm_op=None), stride=(1, 2, 2))
    assert units(block.main)[0].kernel_size == (1, 3, 3)


def test_shortcut_convolution_exists_only_where_the_width_changes() -> None:
    assert not list(ResBlock(4, 4, layers=layers(THICK)).shortcut.parameters())
    assert not list(ResBlock(4, 4, layers=layers(THICK), stride=(1, 2, 2)).shortcut.parameters())
    assert len(list(ResBlock(4, 6, layers=layers(FLAT)).shortcut.parameters())) == 2


def test_a_recomputed_block_keeps_its_input_and_what_its_convolutions_give() -> None:
    x = torch.randn(1, 8, 6, 32, 32, requires_grad=True)
    block = ResBlock(8, 16, layers=layers(THICK), stride=(1, 2, 2))
    # x; twice the channels at a quarter of the voxels, twice. Neither the shortcut's map nor pooling's 8-byte indices.
    assert kept_bytes(block, x) == 4 * x.numel() * 2
    assert kept_bytes(ResBlock(8, 16, layers=layers(THICK), stride=(1, 2, 2), recompute=False), x) > 4 * x.numel() * 6


def test_a_recomputed_up_sampling_keeps_no_concatenation() -> None:
    x, skip = (torch.randn(1, 8, 6, 16, 16, requires_grad=True) for _ in range(2))
    block = UpBlock(16, 8, layers=layers(THICK), stride=(1, 2, 2))
    kept = kept_bytes(block, x, skip)
    # Both inputs; the transposed convolution and the convolution, at four times the voxels.
    assert kept == 4 * x.numel() * (2 + 4 + 4)

"""What acts on skip connections, against its formula; and the up-sampling they use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.attention_gate import AttentionGate, GridAttentionGate
from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.residual_attention import ResidualAttention
from nnunet_spine_ext.networks.blocks.resize import LinearUp, NearestUp, linear_resize
from tests.networks.plain_convolution import plain_convolution
from tests.networks.tiny import CUBIC, FLAT, gradients, layers, randomise

RELU: dict[str, Any] = {"nonlin": nn.ReLU, "nonlin_kwargs": {}}
STRIDES = {"2d": (2, 2), "thick": (1, 2, 2), "3d": (2, 2, 2)}
every_stride = pytest.mark.parametrize("stride", STRIDES.values(), ids=STRIDES)
MODES = {2: "bilinear", 3: "trilinear"}


def plan(stride: Shape, **changed: Any) -> Any:
    return layers(FLAT if len(stride) == 2 else CUBIC, **{**RELU, **changed})


def filled(block: nn.Module) -> Any:
    torch.manual_seed(0)
    block = block.double()
    randomise(block)
    return block


def skip_and_coarse(stride: Shape) -> tuple[Tensor, Tensor]:
    coarse = (3, 4, 5)[3 - len(stride) :]
    fine = [n * s for n, s in zip(coarse, stride, strict=True)]
    return (
        torch.randn(2, 4, *fine, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 8, *coarse, dtype=torch.float64, requires_grad=True),
    )


def conv(module: nn.Module, x: Tensor, stride: Shape | int = 1) -> Tensor:
    return (F.conv3d if x.dim() == 5 else F.conv2d)(x, module.weight, module.bias, stride=stride)  # type: ignore


def same(block: Any, expected: Tensor, skip: Tensor, gate: Tensor) -> None:
    result, wanted = block(skip, gate), [skip, gate, *block.parameters()]
    torch.testing.assert_close(result, expected)
    for one, other in zip(gradients(result, wanted), gradients(expected, wanted), strict=True):
        torch.testing.assert_close(one, other)


@every_stride
def test_residual_attention_is_its_formula(stride: Shape) -> None:
    block = filled(ResidualAttention(4, 8, layers=plan(stride), stride=stride))
    skip, coarse = skip_and_coarse(stride)
    both = conv(block.theta, skip, stride) + conv(block.phi, coarse)
    both = F.interpolate(both, scale_factor=[float(s) for s in stride], mode=MODES[len(stride)])
    alpha = torch.sigmoid(conv(block.psi, F.relu(both)))
    same(block, alpha * skip + skip, skip, coarse)


def test_residual_attention_in_loops() -> None:
    # One row of pixels, all by hand: patches of 2, linear interpolation between their centres.
    block = filled(ResidualAttention(2, 3, layers=plan((1, 2)), stride=(1, 2)))
    skip, coarse = torch.randn(1, 2, 1, 8, dtype=torch.float64), torch.randn(1, 3, 1, 4, dtype=torch.float64)
    w, b = block.theta.weight.detach().numpy(), block.theta.bias.detach().numpy()
    x, g = skip[0, :, 0].numpy(), coarse[0].numpy()
    theta = np.array([[b[o] + sum(w[o, i, 0, t] * x[i, 2 * p + t] for i in range(2) for t in range(2))
                       for p in range(4)] for o in range(2)])  # fmt: skip
    both = theta + plain_convolution(g, block.phi)[:, 0]
    fine = np.array([np.interp((np.arange(8) + 0.5) / 2 - 0.5, np.arange(4), row) for row in both])
    psi = plain_convolution(np.maximum(fine, 0)[:, None], block.psi)
    np.testing.assert_allclose(block(skip, coarse)[0].detach().numpy(), x[:, None] * (1 + 1 / (1 + np.exp(-psi))))


@pytest.mark.parametrize("width", [64, 512])
def test_residual_attention_has_the_stated_size(width: int) -> None:
    block = ResidualAttention(width, 2 * width, layers=plan((2, 2)), stride=(2, 2))
    assert sum(p.numel() for p in block.parameters()) == 6 * width**2 + 3 * width + 1


@pytest.mark.parametrize("dims", [2, 3])
def test_attention_gate_is_its_formula(dims: int) -> None:
    stride = (1,) * dims
    norm = nn.BatchNorm3d if dims == 3 else nn.BatchNorm2d
    block = filled(AttentionGate(4, 6, layers=plan(stride, norm_op=norm)))
    skip = torch.randn(2, 4, *(3, 4, 5)[:dims], dtype=torch.float64, requires_grad=True)
    gate = torch.randn(2, 6, *(3, 4, 5)[:dims], dtype=torch.float64, requires_grad=True)

    def normed(part: Any, x: Tensor) -> Tensor:
        return F.batch_norm(conv(part[0], x), None, None, part[1].weight, part[1].bias, training=True)

    both = F.relu(normed(block.theta, skip) + normed(block.phi, gate))
    same(block, skip * torch.sigmoid(normed(block.psi, both)), skip, gate)


def test_attention_gate_has_the_papers_size() -> None:
    # Two 1x1 convolutions to half the width with norm, and one to a single map, all with bias.
    c = 64
    block = AttentionGate(c, c, layers=plan((1, 1), norm_op=nn.BatchNorm2d))
    assert sum(p.numel() for p in block.parameters()) == 2 * (c * c // 2 + c // 2 + c) + (c // 2 + 1 + 2)


@every_stride
def test_grid_attention_gate_is_its_formula(stride: Shape) -> None:
    block = filled(GridAttentionGate(4, 8, layers=plan(stride, norm_op=None, conv_bias=True), stride=stride))
    skip, coarse = skip_and_coarse(stride)
    assert block.theta.bias is None
    attention = torch.sigmoid(conv(block.psi, F.relu(conv(block.theta, skip, stride) + conv(block.phi, coarse))))
    attention = F.interpolate(attention, scale_factor=[float(s) for s in stride], mode=MODES[len(stride)])
    same(block, conv(block.out[0], skip * attention), skip, coarse)


@every_stride
def test_linear_resize_is_torchs_own_also_where_slices_stay(stride: Shape) -> None:
    x = torch.randn(2, 3, *(3, 4, 5)[3 - len(stride) :], dtype=torch.float64, requires_grad=True)
    size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    expected = F.interpolate(x, size=tuple(size), mode=MODES[len(stride)])
    torch.testing.assert_close(linear_resize(x, size), expected)
    torch.testing.assert_close(LinearUp(stride)(x), expected)
    torch.testing.assert_close(gradients(LinearUp(stride)(x), [x]), gradients(expected, [x]))


@every_stride
def test_nearest_up_repeats_every_voxel(stride: Shape) -> None:
    x = torch.randn(2, 3, *(3, 4, 5)[3 - len(stride) :])
    expected = x.numpy()
    for axis, s in enumerate(stride):
        expected = expected.repeat(s, axis=2 + axis)
    np.testing.assert_array_equal(NearestUp(stride)(x).numpy(), expected)

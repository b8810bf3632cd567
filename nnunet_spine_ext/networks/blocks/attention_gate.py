"""The additive attention gate of Attention U-Net on a skip connection, in two forms.

`AttentionGate` (paper 003, the common 2D form) works on the grid of the skip x; g is the up-sampled decoder feature:

    y = x · sigmoid(norm(psi(act(norm(theta(x)) + norm(phi(g))))))          theta, phi: 1x1 to half the width; psi: to 1

`GridAttentionGate` (Oktay et al. 2018, the original 3D form) works on the grid of g, the decoder feature before
up-sampling; theta is a convolution whose kernel is its stride, without bias:

    y = norm(out(x · up(sigmoid(psi(act(theta(x) + phi(g)))))))              out: 1x1

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import Layers
from nnunet_spine_ext.networks.blocks.resize import linear_resize
from nnunet_spine_ext.networks.blocks.strided import patch_conv


class AttentionGate(nn.Module):
    """A gate on the grid of the skip.

    Args:
        channels: of the skip.
        gate_channels: of the decoder's up-sampled feature, on the same grid.
        layers: of the plan.
    """

    gate_is_coarse = False

    def __init__(self, channels: int, gate_channels: int, *, layers: Layers) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta = _ConvNorm(channels, inner, layers=layers)
        self.phi = _ConvNorm(gate_channels, inner, layers=layers)
        self.act = layers.act()
        self.psi = _ConvNorm(inner, 1, layers=layers)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return skip (B, C, ...) times a map between 0 and 1; gate is (B, C', ...) of the same size."""
        gated: Tensor = skip * torch.sigmoid(self.psi(self.act(self.theta(skip) + self.phi(gate))))
        return gated


class GridAttentionGate(nn.Module):
    """A gate on the coarser grid of the decoder.

    Args:
        channels: of the skip.
        gate_channels: of the decoder's feature, which is `stride` times coarser.
        layers: of the plan.
        stride: between the two grids.
    """

    gate_is_coarse = True

    def __init__(self, channels: int, gate_channels: int, *, layers: Layers, stride: Shape) -> None:
        super().__init__()
        self.theta = patch_conv(channels, channels, stride=stride, bias=False)
        self.phi = layers.pointwise(gate_channels, channels)
        self.act = layers.act()
        self.psi = layers.pointwise(channels, 1)
        self.out = _ConvNorm(channels, channels, layers=layers)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return skip (B, C, ...) gated by gate (B, C', ...), which is coarser."""
        attention = torch.sigmoid(self.psi(self.act(self.theta(skip) + self.phi(gate))))
        gated: Tensor = self.out(skip * linear_resize(attention, skip.shape[2:]))
        return gated


class _ConvNorm(nn.Sequential):
    """1x1 convolution → norm."""

    def __init__(self, inputs: int, outputs: int, *, layers: Layers) -> None:
        conv = layers.conv(inputs, outputs, layers.axes.space(1), bias=layers.conv_bias)
        super().__init__(conv, layers.norm(outputs))

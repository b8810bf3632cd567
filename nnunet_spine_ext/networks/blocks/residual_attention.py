"""RA, the residual attention of paper 002, on a skip connection.

    α = sigmoid(psi(act(up(theta(x) + phi(g)))))        one map for all channels, at the skip's resolution
    y = α x + x

x is the skip (C channels), g the decoder's feature before up-sampling; theta is a convolution whose kernel is its
stride, which brings x to the grid of g; phi and psi are 1x1 convolutions.

Source: paper 002, 3.5.2 and figure 9. Not stated there: one map in α ("weight map"), C channels inside. The sizes that
it reports prove theta's kernel and stride of 2. In its code these convolutions were not registered: they kept random
weights and were never trained, nor saved. Here they are parameters like all others, 6 C² + 3 C + 1 in 2D.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import Layers
from nnunet_spine_ext.networks.blocks.resize import linear_resize
from nnunet_spine_ext.networks.blocks.strided import patch_conv


class ResidualAttention(nn.Module):
    """A skip connection in which the decoder stresses what it needs.

    Args:
        channels: of the skip.
        gate_channels: of the decoder's feature, which is `stride` times coarser.
        layers: of the plan; its nonlinearity is used, its norm is not.
        stride: between the two grids.
    """

    gate_is_coarse = True

    def __init__(self, channels: int, gate_channels: int, *, layers: Layers, stride: Shape) -> None:
        super().__init__()
        self.theta = patch_conv(channels, channels, stride=stride, bias=True)
        self.phi = layers.pointwise(gate_channels, channels)
        self.act = layers.act()
        self.psi = layers.pointwise(channels, 1)

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return skip (B, C, ...) with the places stressed that gate (B, C', ...) asks for."""
        both = linear_resize(self.theta(skip) + self.phi(gate), skip.shape[2:])
        attended: Tensor = skip + skip * torch.sigmoid(self.psi(self.act(both)))
        return attended

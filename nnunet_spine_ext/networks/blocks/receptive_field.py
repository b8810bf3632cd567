"""Receptive field block (Liu et al. 2018, arXiv:1711.07767), in the form that Inf-Net has.

Four branches with growing kernels and dilations, side by side, a 3x3 convolution, plus a 1x1 convolution of the input,
ReLU. A norm follows each convolution, and no nonlinearity.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ConvNorm
from nnunet_spine_ext.networks.backbones.norms import Norm

KERNELS = (3, 5, 7)
"""Of the branches beside the 1x1 one: 1 x k, k x 1, then 3x3 with dilation k."""


class ReceptiveFieldBlock(nn.Module):
    """(B, C, H, W) → (B, width, H, W)."""

    def __init__(self, inputs: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        wide = [
            nn.Sequential(
                ConvNorm(inputs, width, 1, norm=norm),
                ConvNorm(width, width, (1, k), norm=norm),
                ConvNorm(width, width, (k, 1), norm=norm),
                ConvNorm(width, width, 3, dilation=k, norm=norm),
            )
            for k in KERNELS
        ]
        self.branches = nn.ModuleList([ConvNorm(inputs, width, 1, norm=norm), *wide])
        self.fuse = ConvNorm(len(self.branches) * width, width, norm=norm)
        self.shortcut = ConvNorm(inputs, width, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its surroundings."""
        fused = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return torch.relu(fused + self.shortcut(x))

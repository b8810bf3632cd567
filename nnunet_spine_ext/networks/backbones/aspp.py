"""Atrous spatial pyramid pooling as DeepLabV3 has it (Chen et al. 2017, arXiv:1706.05587, section 3.3).

Five branches on one map: a 1x1 unit, three 3x3 units with dilations 6, 12 and 18 (twice that at output stride 8, half
at 32, so that they reach equally far in the image), and the map's average through a 1x1 unit; side by side, then a 1x1
unit.

Plan-driven networks have another one (`blocks/aspp.py`): on a plan's axes, layers and per-axis dilations, its branches
summed instead of put side by side. This one has the units and the dropout of published networks, on one slice.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ConvUnit, PooledUnit
from nnunet_spine_ext.networks.backbones.norms import Norm

_RATES = (6, 12, 18)
"""At output stride 16."""


def rates_at(output_stride: int) -> tuple[int, ...]:
    """Return the dilations of the three 3x3 branches."""
    return tuple(rate * 16 // output_stride for rate in _RATES)


class ASPP(nn.Module):
    """(B, C, H, W) → (B, width, H, W).

    Args:
        inputs: channels C.
        width: of each branch and of the result.
        output_stride: of the map.
        norm: of all units.
        pooled_norm: a norm on the pooled branch, as published.
        dropout: of single values of the result.
    """

    def __init__(
        self, inputs: int, width: int, *, output_stride: int, norm: Norm, pooled_norm: bool = False, dropout: float
    ) -> None:
        super().__init__()
        dilated = [ConvUnit(inputs, width, dilation=rate, norm=norm) for rate in rates_at(output_stride)]
        self.branches = nn.ModuleList([ConvUnit(inputs, width, 1, norm=norm), *dilated])
        self.pooled = PooledUnit(inputs, width, norm=norm, pooled_norm=pooled_norm)
        self.fuse = nn.Sequential(ConvUnit(5 * width, width, 1, norm=norm), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Return the map with its context."""
        pooled = self.pooled(x).expand(-1, -1, *x.shape[2:])
        fused: Tensor = self.fuse(torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1))
        return fused

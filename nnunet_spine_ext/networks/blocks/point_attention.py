"""Point-wise spatial attention of PSANet (Zhao et al. 2018, ECCV): maps of attention that belong to a position.

Each position i holds one value for each relative place in the map, M = (2 h - 1) (2 w - 1) channels for a map of h x w,
so the number of weights depends on the size of the map. For the position j the value is in the channel

    (j_y - i_y + h - 1) (2 w - 1) + (j_x - i_x + w - 1)          and A[j, i] is that channel at i.

`collect` gathers at i from all j, with A over j; `distribute` sends from i to all j, with Aᵀ. Either is normalised by a
softmax over its first index k, and out_p = Σ_k x_k A[k, p].

The published code has a compiled operation for the rule; here it is one `gather`.

Axes: B batch, C channels, H W = the axes of a slice, h w = those of the smaller map, N = h w positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.backbones.layers import ConvUnit
from nnunet_spine_ext.networks.backbones.norms import Norm
from nnunet_spine_ext.networks.blocks.precision import at_least_float32, without_autocast

Direction = Literal["collect", "distribute"]


class PointAttention(nn.Module):
    """One direction: (B, C, H, W) → (B, width, h, w).

    Args:
        inputs: channels C.
        width: channels that are moved between positions.
        size: (h, w) of the smaller map.
        direction: `collect` or `distribute`.
        norm: of the units.
    """

    def __init__(self, inputs: int, width: int, *, size: Sequence[int], direction: Direction, norm: Norm) -> None:
        super().__init__()
        self.size = tuple(size)
        self.direction = direction
        self.reduce = ConvUnit(inputs, width, 1, norm=norm)
        places = (2 * self.size[0] - 1) * (2 * self.size[1] - 1)
        self.attention = nn.Sequential(ConvUnit(width, width, 1, norm=norm), nn.Conv2d(width, places, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return, for each position of the smaller map, what it gathers or is sent."""
        x = resized_by_corners(self.reduce(x), self.size)
        values = self.attention(x)
        with without_autocast(x):
            matrix = attention_matrix(at_least_float32(values))
            if self.direction == "distribute":
                matrix = matrix.transpose(1, 2)
            moved = at_least_float32(x).flatten(2) @ torch.softmax(matrix, dim=1)
        return moved.view(x.shape).to(x.dtype)


def attention_matrix(values: Tensor) -> Tensor:
    """Return A (B, N, N), A[j, i] = what position i holds for position j, from values (B, M, h, w)."""
    rows, columns = values.shape[2:]
    y = torch.arange(rows, device=values.device).repeat_interleave(columns)
    x = torch.arange(columns, device=values.device).repeat(rows)
    down, across = y[:, None] - y[None, :], x[:, None] - x[None, :]
    channel = (down + rows - 1) * (2 * columns - 1) + across + columns - 1
    return values.flatten(2).gather(1, channel.expand(values.shape[0], -1, -1))


def resized_by_corners(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return x (B, C, ...) interpolated bilinearly to `size` (H, W), corner on corner, as published."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)

"""The large-kernel block of the plane path, in the two forms that exist.

`UXBlock` is the block of 3D UX-Net (Lee et al., arXiv 2209.15076) with its 7x7x7 kernel laid into the plane, as paper
000 describes it. `DenseUXBlock` is what the code of paper 000 computes: dense convolutions, no expansion, the residual
sums moved inside.

Axes: B batch, C channels, D H W = spatial axes 0 1 2, E expansion.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Axes, Shape
from nnunet_spine_ext.networks.blocks.depthwise import ChannelsLastPlaneDepthwise
from nnunet_spine_ext.networks.blocks.layers import Conv, Layers
from nnunet_spine_ext.networks.blocks.recompute import RecomputedBlock, has_state

EXPANSION = 4
EPS = 1e-6


class UXBlock(RecomputedBlock):
    """x + scale · MLP(norm(depthwise conv(x))), with an MLP per channel.

    The norm is over channels. "Depth-wise scaling" (UX-Net): the MLP 1 → 4 → 1 has its own weights for every channel
    and mixes none. It runs as four multiply-adds over the map instead of two grouped convolutions (equal, see tests),
    so the fourfold map never exists, and everything behind the convolution is recomputed in backward instead of kept.
    """

    def __init__(
        self, channels: int, *, layers: Layers, kernel: int = 7, layer_scale: float = 1e-6, recompute: bool = True
    ) -> None:
        super().__init__()
        self.conv = _depthwise(channels, layers.axes.plane(kernel), axes=layers.axes)
        self.dropout = layers.dropout()
        self.norm_weight = nn.Parameter(torch.ones(channels))
        self.norm_bias = nn.Parameter(torch.zeros(channels))
        # He initialisation; fan-in 1 on the way up and EXPANSION on the way down.
        self.up_weight = nn.Parameter(torch.randn(EXPANSION, channels) * 2**0.5)
        self.up_bias = nn.Parameter(torch.zeros(EXPANSION, channels))
        self.down_weight = nn.Parameter(torch.randn(EXPANSION, channels) * (2 / EXPANSION) ** 0.5)
        self.down_bias = nn.Parameter(torch.zeros(channels))
        self.layer_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.recompute = recompute and not has_state(self)

    def compute(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W) or (B, C, H, W)."""
        y = self._channel_mlp(self.dropout(self.conv(x)).movedim(1, -1))
        return x + y.movedim(-1, 1).to(x.dtype)

    def _channel_mlp(self, y: Tensor) -> Tensor:
        """Return scale · MLP(norm(y)) for y (B, ..., C)."""
        y = F.layer_norm(y, self.norm_weight.shape, self.norm_weight, self.norm_bias, EPS)
        down_weight, out = self.down_weight * self.layer_scale, self.down_bias * self.layer_scale
        for e in range(EXPANSION):
            out = torch.addcmul(out, F.gelu(torch.addcmul(self.up_bias[e], y, self.up_weight[e])), down_weight[e])
        return out


class DenseUXBlock(nn.Module):
    """Two pairs of dense convolutions, kxk in the plane and 1x1x1, each behind a norm, with the sums in between.

    y1 = conv(n(x)); y2 = act(point(n(y1 + x))); y3 = conv'(n(y2 + y1)); out = act(point'(n(y3 + y2))).

    In the paper's code conv' and point' are conv and point again (tied), and the second pair it builds, with a 3xkxk
    kernel, is never called. Here the second pair is its own and is called; `second_conv` chooses its kernel.
    """

    def __init__(
        self, channels: int, *, layers: Layers, kernel: int = 7, second_conv: Literal["2d", "3d"] = "2d"
    ) -> None:
        super().__init__()
        plane = layers.axes.plane(kernel)
        second = tuple(max(k, 3) for k in plane) if second_conv == "3d" else plane
        self.norms = nn.ModuleList(layers.norm(channels) for _ in range(4))
        self.convs = nn.ModuleList(layers.conv(channels, channels, k) for k in (plane, second))
        self.points = nn.ModuleList(layers.pointwise(channels, channels) for _ in range(2))
        self.act = layers.act()
        self.dropout = layers.dropout()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W) or (B, C, H, W)."""
        y1 = self.dropout(self.convs[0](self.norms[0](x)))
        y2 = self.act(self.points[0](self.norms[1](y1 + x)))
        y3 = self.dropout(self.convs[1](self.norms[2](y2 + y1)))
        result: Tensor = self.act(self.points[1](self.norms[3](y3 + y2)))
        return result


def _depthwise(channels: int, kernel: Shape, *, axes: Axes) -> Conv:
    if axes.has_through_plane:
        return ChannelsLastPlaneDepthwise(channels, kernel, bias=True)
    op: type[Conv] = nn.Conv3d if axes.dims == 3 else nn.Conv2d
    padding = tuple(k // 2 for k in kernel)
    return op(channels, channels, kernel, padding=padding, groups=channels)  # type: ignore[arg-type]

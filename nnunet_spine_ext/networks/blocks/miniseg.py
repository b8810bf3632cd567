"""The blocks of MiniSeg (Qiu et al. 2021): a stage of two paths, of dilated and of wide depthwise convolutions.

Written from the description of the network; no code was copied. Every nonlinearity is a PReLU with one slope for each
channel, which is part of the network.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding
from nnunet_spine_ext.networks.blocks.dilated import depthwise_conv
from nnunet_spine_ext.networks.blocks.layers import Layers


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far the convolutions of a stage look; not kept by any module."""

    small: Shape
    """Kernel of the dilated convolutions and of the pooling."""
    wide: Shape
    """Kernel of the wide path."""
    dilations: tuple[Shape, ...]
    attention: bool = True


class WidePath(nn.Sequential):
    """1x1 convolution → wide depthwise convolution, strided → norm → PReLU."""

    def __init__(self, inputs: int, outputs: int, *, reach: Reach, layers: Layers, stride: Shape | None = None) -> None:
        super().__init__(
            layers.conv(inputs, outputs, _ones(reach.small), bias=False),
            depthwise_conv(outputs, reach.wide, stride=stride, bias=layers.conv_bias),
            *_finish(outputs, layers),
        )


class ConvBlock(nn.Sequential):
    """The first stage's narrow path: convolution, strided → norm → PReLU."""

    def __init__(self, inputs: int, outputs: int, *, reach: Reach, layers: Layers, stride: Shape | None = None) -> None:
        conv = layers.conv(inputs, outputs, reach.small, stride=stride, bias=layers.conv_bias)
        super().__init__(conv, *_finish(outputs, layers))


class PyramidBlock(nn.Module):
    """The further stages' narrow path (attentive hierarchical spatial pyramid).

    A 1x1 convolution narrows to a quarter; of that, a mean pooling and one depthwise convolution for each dilation,
    added up step by step (y₁ = pooled + d₁, y₂ = y₁ + d₂, …); each y is weighed, voxel by voxel, by 1 + sigmoid(1x1
    convolution of it); a 1x1 convolution of each, side by side → norm → PReLU. Without `reach.attention`, nothing is
    weighed.
    """

    def __init__(self, inputs: int, outputs: int, *, reach: Reach, layers: Layers, stride: Shape | None = None) -> None:
        super().__init__()
        scales = len(reach.dilations)
        width, pointwise = outputs // scales, _ones(reach.small)
        self.window, self.stride = reach.small, stride or pointwise
        self.narrow = layers.conv(inputs, width, pointwise, bias=False)
        self.convs = nn.ModuleList(
            depthwise_conv(width, reach.small, dilation=dilation, stride=stride, bias=False)
            for dilation in reach.dilations
        )
        self.attention = _grouped(scales * width, scales, groups=scales, like=pointwise) if reach.attention else None
        self.mix = _grouped(scales * width, outputs, groups=scales, like=pointwise, bias=layers.conv_bias)
        self.finish = nn.Sequential(*_finish(outputs, layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, ...)."""
        x = self.narrow(x)
        pooled = mean_pool(x, self.window, self.stride)
        sums = list(accumulate((conv(x) for conv in self.convs), initial=pooled))[1:]
        stacked = torch.cat(sums, dim=1)
        if self.attention is not None:
            weights = 1 + torch.sigmoid(self.attention(stacked))
            stacked = torch.cat([y * w for y, w in zip(sums, weights.chunk(len(sums), dim=1), strict=True)], dim=1)
        result: Tensor = self.finish(self.mix(stacked))
        return result


Block = Callable[..., nn.Module]


class Stage(nn.Module):
    """A strided stage: two paths that see their sum again and again.

    From (wide, narrow): both strided; then `repeats` times narrow ← block(sum) + narrow, and in the first half of them
    also wide ← path(sum) + wide, of the same sum.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        block: Block,
        repeats: int,
        reach: Reach,
        strided_reach: Reach,
        layers: Layers,
        stride: Shape,
    ) -> None:
        super().__init__()
        self.first_wide = WidePath(inputs, outputs, reach=strided_reach, layers=layers, stride=stride)
        self.first_narrow = block(inputs, outputs, reach=strided_reach, layers=layers, stride=stride)
        self.narrow = nn.ModuleList(block(outputs, outputs, reach=reach, layers=layers) for _ in range(repeats))
        self.wide = nn.ModuleList(WidePath(outputs, outputs, reach=reach, layers=layers) for _ in range(repeats // 2))

    def forward(self, wide: Tensor, narrow: Tensor) -> tuple[Tensor, Tensor]:
        """Return both paths (B, C, ...) at the stage's resolution."""
        wide, narrow = self.first_wide(wide), self.first_narrow(narrow)
        for i, block in enumerate(self.narrow):
            total = wide + narrow
            narrow = block(total) + narrow
            if i < len(self.wide):
                wide = self.wide[i](total) + wide
        return wide, narrow


class Exchange(nn.Module):
    """Between two stages: a 1x1 convolution of both paths side by side → norm, added to them."""

    def __init__(self, channels: int, *, layers: Layers) -> None:
        super().__init__()
        conv = layers.conv(2 * channels, 2 * channels, layers.axes.space(1), bias=layers.conv_bias)
        self.mix = nn.Sequential(conv, layers.norm(2 * channels))

    def forward(self, wide: Tensor, narrow: Tensor) -> tuple[Tensor, Tensor]:
        """Return both paths (B, C, ...), each with what it learnt from the other."""
        to_wide, to_narrow = self.mix(torch.cat((wide, narrow), dim=1)).chunk(2, dim=1)
        return wide + to_wide, narrow + to_narrow


class Fusion(nn.Module):
    """In the decoder: 1x1 convolution → two depthwise convolutions, one of them dilated, summed → norm."""

    def __init__(self, inputs: int, outputs: int, *, reach: Reach, layers: Layers) -> None:
        super().__init__()
        self.narrow = layers.conv(inputs, outputs, _ones(reach.small), bias=False)
        # One bias is enough for the sum of both.
        self.near = depthwise_conv(outputs, reach.small, dilation=reach.dilations[0], bias=layers.conv_bias)
        self.far = depthwise_conv(outputs, reach.small, dilation=reach.dilations[1], bias=False)
        self.norm = layers.norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the fused map of x (B, C, ...)."""
        x = self.narrow(x)
        fused: Tensor = self.norm(self.near(x) + self.far(x))
        return fused


def mean_pool(x: Tensor, window: Shape, stride: Shape) -> Tensor:
    """Return the mean over `window` (odd) around every `stride`-th voxel of x (B, C, ...), cut off at the border.

    In 3D as one pass in the plane of axes 1 and 2 and one along axis 0: torch's 3D pooling refuses a window larger than
    the image. The mean of means is the mean, because the window is a box and so is what the border leaves of it.
    """
    if x.dim() == 4:
        return F.avg_pool2d(x, window, stride, same_padding(window), count_include_pad=False)
    if max(window[1:]) > 1 or max(stride[1:]) > 1:
        flat = F.avg_pool2d(
            x.flatten(1, 2), window[1:], stride[1:], same_padding(window[1:]), count_include_pad=False
        )  # fmt: skip
        x = flat.reshape(*x.shape[:3], *flat.shape[2:])
    if window[0] > 1 or stride[0] > 1:
        rods = F.avg_pool2d(
            x.flatten(3), (window[0], 1), (stride[0], 1), (window[0] // 2, 0), count_include_pad=False
        )  # fmt: skip
        x = rods.reshape(*rods.shape[:3], *x.shape[3:])
    return x


def _finish(channels: int, layers: Layers) -> tuple[nn.Module, ...]:
    return layers.dropout(), layers.norm(channels), nn.PReLU(channels)


def _grouped(inputs: int, outputs: int, *, groups: int, like: Shape, bias: bool = False) -> nn.Module:
    op: type[nn.Module] = nn.Conv3d if len(like) == 3 else nn.Conv2d
    return op(inputs, outputs, 1, groups=groups, bias=bias)


def _ones(kernel: Shape) -> Shape:
    return (1,) * len(kernel)

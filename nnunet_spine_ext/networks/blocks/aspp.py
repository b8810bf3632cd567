"""Atrous spatial pyramid pooling (Chen et al. 2017, 2018): one map seen at several scales, and as a whole.

Lines side by side, each convolution → norm → nonlinearity: a 1x1 convolution, one dilated convolution for each rate,
and the mean over the map → 1x1 convolution → nonlinearity, spread over the map again. Their concatenation goes through
a 1x1 convolution → norm → nonlinearity.

The concatenation is never made: the 1x1 convolution is linear, so it is applied to each line with its own slice of the
weight and the results are added up; that of the pooled line is spread as it is added.

No norm on the pooled line: a norm over a map has nothing to compare one voxel with, and raises in training. BatchNorm,
as published, compares the images of a batch, needs two, and of two learns little more than which is larger; it is an
option.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.dilated import dilated_conv
from nnunet_spine_ext.networks.blocks.layers import Conv, Layers, NormAct


class ASPP(nn.Module):
    """C channels to `outputs`, at the same size.

    Args:
        channels: of the input.
        outputs: of the result.
        kernel: of the dilated lines (odd): 3 on the axes that they look along, 1 on the others.
        dilations: one for each dilated line, per axis.
        layers: of the plan.
        width: of each line; `outputs` if None.
        pooled_axes: spatial axes that the pooled line averages over (0 = the first); none: no such line.
        pooled_norm: a norm on that line; only for BatchNorm, and batches of at least 2.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        kernel: Shape,
        dilations: Sequence[Shape],
        layers: Layers,
        width: int | None = None,
        pooled_axes: Sequence[int] = (),
        pooled_norm: bool = False,
    ) -> None:
        super().__init__()
        width = width or outputs
        bias = layers.conv_bias
        convs = [layers.conv(channels, width, (1,) * len(kernel), bias=bias)]
        convs += [dilated_conv(channels, width, kernel, dilation=dilation, bias=bias) for dilation in dilations]
        self.lines = nn.ModuleList(nn.Sequential(conv, NormAct(width, layers=layers)) for conv in convs)
        self.pooled_dims = tuple(2 + axis for axis in pooled_axes)
        self.pooled = nn.Sequential()
        if pooled_axes:
            norm = layers.norm(width) if pooled_norm else nn.Identity()
            self.pooled = nn.Sequential(layers.pointwise(channels, width), norm, layers.act())
        self.mix = layers.conv((len(convs) + bool(pooled_axes)) * width, outputs, (1,) * len(kernel), bias=bias)
        self.finish = NormAct(outputs, layers=layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pyramid of x (B, C, D, H, W) or (B, C, H, W)."""
        maps = [line(x) for line in self.lines]
        if self.pooled_dims:
            maps.append(self.pooled(x.mean(self.pooled_dims, keepdim=True)))
        result: Tensor = self.finish(mixed(maps, self.mix))
        return result


def mixed(maps: Sequence[Tensor], mix: Conv) -> Tensor:
    """Return the 1x1 convolution `mix` of the concatenation of `maps` (B, E, ...), of equal widths, without making it.

    A later map may have size 1 on an axis on which the first is larger: it is spread along it.
    """
    convolve = F.conv3d if mix.weight.dim() == 5 else F.conv2d
    weights = mix.weight.chunk(len(maps), dim=1)
    total = convolve(maps[0], weights[0], mix.bias)
    for one, weight in zip(maps[1:], weights[1:], strict=True):
        total = total + convolve(one, weight)
    return total

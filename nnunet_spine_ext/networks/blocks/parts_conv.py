"""A convolution over maps side by side, without putting them side by side.

conv(concat(a, b, …)) = conv_a(a) + conv_b(b) + …, where conv_a has the part of the weight that belongs to a's channels.
In a densely connected network each map goes into several concatenations, and autograd would keep a copy of it for each;
here it keeps the map itself, once. Multiplications and weights are those of the one convolution.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import Layers


class PartsConv(nn.Module):
    """Convolution at stride 1 over several maps of one size.

    Args:
        parts: channels of each map.
        outputs: channels of the result.
        kernel: odd, so that the size stays.
        layers: builds the convolution.
        bias: whether it has one.
    """

    def __init__(self, parts: Sequence[int], outputs: int, kernel: Shape, *, layers: Layers, bias: bool) -> None:
        super().__init__()
        self.parts = list(parts)
        self.conv = layers.conv(sum(parts), outputs, kernel, bias=bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the convolution (B, C, ...) of the maps, each (B, parts[i], ...)."""
        conv = self.conv
        convolve = F.conv3d if maps[0].dim() == 5 else F.conv2d
        # One split and not slices: its backward writes the gradient of the weight once.
        weights = torch.split(conv.weight, self.parts, dim=1)
        total = convolve(maps[0], weights[0], conv.bias, padding=conv.padding)
        for one, weight in zip(maps[1:], weights[1:], strict=True):
            # In place: no backward pass reads the sum.
            total += convolve(one, weight, padding=conv.padding)
        return total

"""CIE, the context information extraction of paper 002: three dilated convolutions added to their input.

    y = x + mix(concat(conv_2(x), conv_6(x), conv_10(x)))         conv_d: kernel 3, dilation d; mix: 1x1, 3 C → C

Source: paper 002, 3.4.4 (after MC-Net, Xia et al. 2021, whose own form is not published openly); 30 C² + 4 C weights in
2D. Nothing in it is nonlinear, so the three convolutions and the mix are computed as three convolutions whose outputs
are summed (`folding`): the same values, and neither the three maps nor their concatenation are ever made.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.folding import mixed_convolution
from nnunet_spine_ext.networks.blocks.layers import Conv, Layers

RATES = (2, 6, 10)


class CIE(nn.Module):
    """Context from far around, added to the input.

    Args:
        channels: C, in and out.
        kernel: of the plan's stage, odd; an axis where it is 1 is not dilated either.
        layers: of the plan; norm and nonlinearity are not used.
        rates: dilations in voxels. Taps beyond the border read zeros, so no size is too small.
    """

    def __init__(self, channels: int, kernel: Shape, *, layers: Layers, rates: Sequence[int] = RATES) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(_dilated(channels, kernel, rate) for rate in rates)
        self.mix = layers.pointwise(len(rates) * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with its context."""
        bias = self.mix.bias
        assert bias is not None
        y = x + bias.view(-1, *(1,) * (x.dim() - 2))
        for conv, mix in zip(self.dilated, torch.split(self.mix.weight, x.shape[1], dim=1), strict=True):
            y = y + mixed_convolution(x, conv, mix)  # type: ignore[arg-type]
        return y


def _dilated(channels: int, kernel: Shape, rate: int) -> Conv:
    dilation = tuple(rate if k > 1 else 1 for k in kernel)
    padding = tuple(d * (k // 2) for k, d in zip(kernel, dilation, strict=True))
    op: type[Conv] = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
    return op(channels, channels, kernel, padding=padding, dilation=dilation)  # type: ignore[arg-type]

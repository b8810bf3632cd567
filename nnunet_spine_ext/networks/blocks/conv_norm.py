"""A convolution without bias and a norm, without nonlinearity.

Axes: B batch, C channels, H W = the axes of a slice.
"""

from __future__ import annotations

from torch import nn

from nnunet_spine_ext.networks.backbones.norms import Norm, norm_layer


class ConvNorm(nn.Sequential):
    """Keeps the size. `kernel` is one number, or one for each axis."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, *, norm: Norm, dilation: int = 1
    ) -> None:
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (sides[0] // 2), dilation * (sides[1] // 2))
        conv = nn.Conv2d(inputs, outputs, sides, padding=padding, dilation=dilation, bias=False)
        super().__init__(conv, norm_layer(norm, outputs))

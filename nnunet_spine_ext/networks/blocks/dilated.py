"""Dilated and depthwise convolutions that keep the size, or divide it by a stride.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import Conv


def dilated_conv(
    inputs: int, outputs: int, kernel: Shape, *, dilation: Shape, bias: bool, stride: Shape | None = None
) -> Conv:
    """Return a convolution of odd `kernel` whose taps are `dilation` apart, in 2D or 3D as the kernel says."""
    op: type[Conv] = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
    padding = _same_padding(kernel, dilation)
    return op(inputs, outputs, kernel, stride or _ones(kernel), padding, dilation, bias=bias)  # type: ignore[arg-type]


def depthwise_conv(
    channels: int, kernel: Shape, *, bias: bool, dilation: Shape | None = None, stride: Shape | None = None
) -> nn.Module:
    """Return a depthwise convolution of odd `kernel`, in 2D or 3D as the kernel says.

    Where a 3D one is flat across the slices, it runs as a 2D convolution of the slices, which is several times faster
    and equal; parameters and state keys are those of nn.Conv3d.
    """
    stride, dilation = stride or _ones(kernel), dilation or _ones(kernel)
    padding = _same_padding(kernel, dilation)
    op: type[nn.Module] = nn.Conv2d
    if len(kernel) == 3:
        op = _FlatDepthwise if kernel[0] == stride[0] == 1 else nn.Conv3d
    return op(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=bias)


class _FlatDepthwise(nn.Conv3d):
    """Depthwise, with kernel and stride 1 on axis 0: slices become channels, so the input is only viewed."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, D, H, W)."""
        B, C, D = x.shape[:3]
        window = self.weight.shape[-2:]
        weight = self.weight[:, :, 0].expand(C, D, *window).reshape(C * D, 1, *window)
        bias = None if self.bias is None else self.bias[:, None].expand(C, D).reshape(C * D)
        slices = x.reshape(B, C * D, *x.shape[3:])
        result = F.conv2d(slices, weight, bias, self.stride[1:], self.padding[1:], self.dilation[1:], C * D)
        return result.reshape(B, C, D, *result.shape[2:])


def _same_padding(kernel: Shape, dilation: Shape) -> Shape:
    return tuple(d * (k // 2) for k, d in zip(kernel, dilation, strict=True))


def _ones(kernel: Shape) -> Shape:
    return (1,) * len(kernel)

"""Depthwise convolutions whose kernel is flat or a rod, run as 2D convolutions.

A depthwise Conv3d with a 1xkxk or nx1x1 kernel is slow; the same sums as a depthwise Conv2d on a view are several times
faster, and equal. Parameters and state keys are those of nn.Conv3d.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding


class _Depthwise(nn.Conv3d):
    def __init__(self, channels: int, kernel: Shape, *, bias: bool) -> None:
        D, H, W = kernel
        super().__init__(channels, channels, (D, H, W), padding="same", groups=channels, bias=bias)
        self.pads = same_padding(kernel)


class PlaneDepthwise(_Depthwise):
    """Depthwise 1xkxk convolution; slices become channels, so the input is only viewed, never copied."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, D, H, W)."""
        B, C, D, H, W = x.shape
        k = self.weight.shape[-2:]
        weight = self.weight[:, :, 0].expand(C, D, *k).reshape(C * D, 1, *k)
        bias = None if self.bias is None else self.bias[:, None].expand(C, D).reshape(C * D)
        slices = F.conv2d(x.reshape(B, C * D, H, W), weight, bias, padding=self.pads[1:], groups=C * D)
        return slices.reshape(B, C, D, H, W)


class ChannelsLastPlaneDepthwise(_Depthwise):
    """Depthwise 1xkxk convolution for large k; slices become batch entries, stored with the channels last.

    One copy in, none out. Faster than slices as channels from k = 7 on, and in the layout in which a normalisation over
    channels reads its input.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, D, H, W); the result has that shape too, with the channels last in memory."""
        B, C, D, H, W = x.shape
        slices = x.permute(0, 2, 3, 4, 1).reshape(B * D, H, W, C).permute(0, 3, 1, 2)
        slices = F.conv2d(slices, self.weight[:, :, 0], self.bias, padding=self.pads[1:], groups=C)
        return slices.permute(0, 2, 3, 1).reshape(B, D, H, W, C).permute(0, 4, 1, 2, 3)


class RodDepthwise(_Depthwise):
    """Depthwise nx1x1 convolution; the plane becomes one axis, so the input is only viewed, never copied."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, D, H, W)."""
        B, C, D, H, W = x.shape
        padding = (self.pads[0], 0)
        rods = F.conv2d(x.reshape(B, C, D, H * W), self.weight[..., 0], self.bias, padding=padding, groups=C)
        return rods.reshape(B, C, D, H, W)

"""A convolution whose kernel is its stride: each patch of voxels becomes one."""

from __future__ import annotations

from torch import nn

from nnunet_spine_ext.networks.blocks.axes import Shape
from nnunet_spine_ext.networks.blocks.layers import Conv


def patch_conv(inputs: int, outputs: int, *, stride: Shape, bias: bool) -> Conv:
    """Return a convolution that divides each axis by `stride` and reads every voxel once."""
    op: type[Conv] = nn.Conv3d if len(stride) == 3 else nn.Conv2d
    return op(inputs, outputs, stride, stride, bias=bias)  # type: ignore[arg-type]

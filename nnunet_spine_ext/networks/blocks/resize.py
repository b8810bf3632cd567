"""Bi- and trilinear up-sampling.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape


def linear_resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return x (B, C, [D,] H, W) interpolated to the spatial `size`; voxels are areas (`align_corners=False`).

    Where the slices stay (thick slices are pooled in the plane only), the trilinear weights across them are 1 and 0:
    the same values come from the bilinear kernel, which is faster and reads each slice once.
    """
    if x.dim() == 4:
        return F.interpolate(x, size=tuple(size), mode="bilinear")
    if x.shape[2] != size[0]:
        return F.interpolate(x, size=tuple(size), mode="trilinear")
    plane = F.interpolate(x.flatten(1, 2), size=tuple(size[1:]), mode="bilinear")
    return plane.reshape(*x.shape[:3], *plane.shape[2:])


class LinearUp(nn.Module):
    """Linear interpolation to `stride` times the resolution; no weights, the width stays."""

    def __init__(self, stride: Shape) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with each axis `stride` times as long."""
        return linear_resize(x, [n * s for n, s in zip(x.shape[2:], self.stride, strict=True)])


class NearestUp(nn.Module):
    """Repetition of each voxel `stride` times; no weights, the width stays."""

    def __init__(self, stride: Shape) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with each axis `stride` times as long."""
        size = tuple(n * s for n, s in zip(x.shape[2:], self.stride, strict=True))
        return F.interpolate(x, size=size, mode="nearest")

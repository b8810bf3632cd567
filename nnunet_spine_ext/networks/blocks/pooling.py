"""Maximum and mean over a box around every voxel, at stride 1.

At the border the box is cut off: the maximum sees only voxels of the image, the mean divides by their number. So it
works however few slices there are (torch's 3D average pooling refuses a window larger than the image), and it does not
darken the border. Both separate exactly into passes in the plane and through it.

Channels come last here: each pass is then a 2D pooling of a view, in the layout for which torch has its fast kernels.

Axes: B batch, D H W = spatial axes 0 1 2, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

BoxPool = Callable[[Tensor, Sequence[int]], Tensor]
Pool2d = Callable[[Tensor, tuple[int, int]], Tensor]


def box_max(x: Tensor, window: Sequence[int]) -> Tensor:
    """Return the maximum over `window` (odd, voxels per axis) around each voxel of x (B, [D,] H, W, C)."""
    return _by_passes(x, window, _max2d)


def box_mean(x: Tensor, window: Sequence[int]) -> Tensor:
    """Return the mean over `window` (odd, voxels per axis) around each voxel of x (B, [D,] H, W, C)."""
    return _by_passes(x, window, _mean2d)


def channels_first(x: Tensor) -> Tensor:
    """Return x (B, ..., C) viewed as (B, C, ...); its gradient comes back with the channels last in memory."""
    viewed: Tensor = _ChannelsFirst.apply(x)
    return viewed


class _ChannelsFirst(torch.autograd.Function):
    """Copies the gradient once, where otherwise every operation before it would make its own copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        return x.movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        return gradient.movedim(1, -1).contiguous()


def _by_passes(x: Tensor, window: Sequence[int], pool2d: Pool2d) -> Tensor:
    *rod, height, width = window
    shape = x.shape
    if max(height, width) > 3:  # two passes of n beat one of n x n as soon as n > 3
        x = _pass(x.reshape(-1, *shape[-3:]), (height, 1), pool2d)
        x = _pass(x, (1, width), pool2d).reshape(shape)
    elif max(height, width) > 1:
        x = _pass(x.reshape(-1, *shape[-3:]), (height, width), pool2d).reshape(shape)
    if rod and rod[0] > 1:
        B, D, H, W, C = shape
        x = _pass(x.reshape(B, D, H * W, C), (rod[0], 1), pool2d).reshape(shape)
    return x


def _pass(x: Tensor, window: tuple[int, int], pool2d: Pool2d) -> Tensor:
    """Pool x (N, H, W, C) with the channels last in memory, before and after."""
    return pool2d(x.permute(0, 3, 1, 2), window).permute(0, 2, 3, 1)


def _max2d(x: Tensor, window: tuple[int, int]) -> Tensor:
    return F.max_pool2d(x, window, stride=1, padding=(window[0] // 2, window[1] // 2))


def _mean2d(x: Tensor, window: tuple[int, int]) -> Tensor:
    padding = (window[0] // 2, window[1] // 2)
    return F.avg_pool2d(x, window, stride=1, padding=padding, count_include_pad=False)

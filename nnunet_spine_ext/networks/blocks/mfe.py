"""MFE, the multi-scale feature extraction of paper 002: four branches on four shares of the channels.

    share:  1/4 → 1x1 ┐
            1/8 → max-pooling 3x3 → 1x1 ┤
            1/2 → 1x1 → 3x3 ┤ concat → fuse (1x1) → + x
            the rest (1/8) → 1x1 → 3x3 → 3x3 ┘

Source: paper 002, 3.4.3; 2.875 C² + 2.75 C + 1 weights in 2D. Its text reads as if `fuse` kept all channels; its table
of parameters shows that it has one output, added to every channel. `fuse="full"` is what the text says.

No branch has a nonlinearity after its last convolution, so that one and its part of `fuse` are computed as one
(`folding`): with one output, the widest convolution of the block goes from C/2 channels to 1 instead of to C/2.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.axes import Shape, same_padding
from nnunet_spine_ext.networks.blocks.folding import mixed_convolution
from nnunet_spine_ext.networks.blocks.layers import Layers

MIN_CHANNELS = 8


class _Pool(nn.Module):
    """The maximum around each voxel, at stride 1."""

    def __init__(self, kernel: Shape) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool3d if x.dim() == 5 else F.max_pool2d
        return pool(x, self.kernel, stride=1, padding=same_padding(self.kernel))


class MFE(nn.Module):
    """Features of several scales, added to the input.

    Args:
        channels: C, in and out. Fewer than 8 are first raised to 8 by a 1x1 convolution (as the paper says).
        kernel: of the plan's stage, odd; for convolutions and pooling.
        layers: of the plan; norm and nonlinearity are not used.
        fuse: one map for all channels, or one for each.
    """

    def __init__(
        self, channels: int, kernel: Shape, *, layers: Layers, fuse: Literal["single", "full"] = "single"
    ) -> None:
        super().__init__()
        inner = max(channels, MIN_CHANNELS)
        self.widen = layers.pointwise(channels, inner) if inner > channels else nn.Identity()
        a, b, c = inner // 4, inner // 8, inner // 2
        self.shares = [a, b, c, inner - a - b - c]
        d = self.shares[-1]
        self.before = nn.ModuleList((
            nn.Identity(),
            _Pool(kernel),
            layers.pointwise(c, c),
            nn.Sequential(layers.pointwise(d, d), layers.conv(d, d, kernel)),
        ))  # fmt: skip
        self.last = nn.ModuleList((
            layers.pointwise(a, a),
            layers.pointwise(b, b),
            layers.conv(c, c, kernel),
            layers.conv(d, d, kernel),
        ))  # fmt: skip
        self.fuse = layers.pointwise(inner, 1 if fuse == "single" else channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with its features of several scales."""
        bias = self.fuse.bias
        assert bias is not None
        added = bias.view(-1, *(1,) * (x.dim() - 2))
        shares = torch.split(self.widen(x), self.shares, dim=1)
        fuses = torch.split(self.fuse.weight, self.shares, dim=1)
        for share, before, last, fuse in zip(shares, self.before, self.last, fuses, strict=True):
            added = added + mixed_convolution(before(share), last, fuse)  # type: ignore[arg-type]
        return x + added

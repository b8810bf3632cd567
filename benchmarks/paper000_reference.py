"""The literal reading of paper 000's network: what its description says, without any of the library's savings.

A plain reference to measure against, written from the description and its counts; no code was copied. LayerNorm over
C, H, W and slices with a weight for every voxel (so it is built for one size), dense 7x7 and nx3x3 convolutions, nine
maps put side by side in the link, the UX block's pair of convolutions called twice and its second pair never. With 12
slices of 128 x 128 and width 64 it has the published 1,012,865,948 weights.

Two liberties: sums of two paths are divided by sqrt 2 (published: 1.414), and the order of axes is nnU-Net's.

Axes: B batch, C channels, D H W = slices, rows, columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

SQRT2 = 2**0.5
THICKNESS = (3, 5, 7)
Size = tuple[int, int, int]


def voxel_norm(channels: int, size: Size) -> nn.LayerNorm:
    """Return a LayerNorm over C, D, H, W: two weights for every voxel."""
    return nn.LayerNorm((channels, *size))


def plane(size: Size, stride: int) -> Size:
    """Return the size `stride` times smaller in the plane."""
    return size[0], size[1] // stride, size[2] // stride


class LiteralUXBlock(nn.Module):
    """Norm, dense 1x7x7; norm, 1x1x1, GELU; the same pair again, with the sums in between."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        self.norms = nn.ModuleList(voxel_norm(channels, size) for _ in range(2))
        self.conv = nn.Conv3d(channels, channels, (1, 7, 7), padding=(0, 3, 3))
        self.point = nn.Conv3d(channels, channels, 1)
        # Built and never called, as published.
        self.never_norms = nn.ModuleList(voxel_norm(channels, size) for _ in range(2))
        self.never_conv = nn.Conv3d(channels, channels, (3, 7, 7), padding=(1, 3, 3))
        self.never_point = nn.Conv3d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W)."""
        first, second = self.norms
        y1 = self.conv(first(x))
        y2 = F.gelu(self.point(second(y1 + x)))
        y3 = self.conv(first(y2 + y1))
        return F.gelu(self.point(second(y3 + y2)))


class LiteralResBlock(nn.Module):
    """(main + shortcut) / sqrt 2; the shortcut's convolution is always built and used where the width changes."""

    def __init__(self, inputs: int, outputs: int, size: Size, *, stride: int = 1) -> None:
        super().__init__()
        steps, small = (1, stride, stride), plane(size, stride)
        self.main = nn.Sequential(
            nn.Conv3d(inputs, outputs, (1, 3, 3), steps, padding=(0, 1, 1), bias=False),
            voxel_norm(outputs, small),
            nn.GELU(),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            voxel_norm(outputs, small),
            nn.GELU(),
        )
        self.point = nn.Conv3d(inputs, outputs, 1)
        self.widens = inputs != outputs
        self.pool = nn.MaxPool3d(steps) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for x (B, C, D, H, W)."""
        shortcut = self.pool(self.point(x) if self.widens else x)
        result: Tensor = (self.main(x) + shortcut) / SQRT2
        return result


class LiteralLink(nn.Module):
    """Three convolutions, three maxima and three means, concatenated, to the input's width by a 1x1x1 convolution."""

    def __init__(self, channels: int, size: Size, *, expansion: int = 1) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _unit(channels, inner, (1, 3, 3), size)
        self.convs = nn.ModuleList(_unit(inner, inner, (n, 3, 3), size) for n in THICKNESS)
        self.pools = nn.ModuleList(
            kind((n, 3, 3), stride=1, padding=(n // 2, 1, 1))
            for kind in (nn.MaxPool3d, nn.AvgPool3d)
            for n in THICKNESS
        )
        self.mix = nn.Conv3d(9 * inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the link's output for x (B, C, D, H, W)."""
        a = self.expand(x)
        together = torch.cat([part(a) for part in (*self.convs, *self.pools)], dim=1)
        result: Tensor = (x + self.mix(together)) / SQRT2
        return result


class LiteralUp(nn.Module):
    """Twice the size in the plane: transposed convolution and convolution, beside a repeated 1x1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose3d(inputs, outputs, (1, 2, 2), (1, 2, 2), bias=False),
            voxel_norm(outputs, size),
            nn.GELU(),
            nn.Conv3d(outputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=False),
            voxel_norm(outputs, size),
            nn.GELU(),
        )
        self.point = nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, C', D, 2 H, 2 W) for x (B, C, D, H, W)."""
        result: Tensor = (self.main(x) + F.interpolate(self.point(x), scale_factor=(1, 2, 2))) / SQRT2
        return result


class LiteralHybrid(nn.Module):
    """The whole network: one channel in, one channel out (a regression, as published), at the input's size.

    Args:
        width: h; the published code has 64.
        patch: (D, H, W), the only size it takes; rows and columns must divide by 32, and slices be at least 7.
    """

    def __init__(self, *, width: int = 64, patch: Sequence[int] = (12, 128, 128)) -> None:
        super().__init__()
        D, H, W = patch
        full = (D, H, W)
        widths = [width * 2**i for i in range(5)]
        sizes = [plane(full, 2 ** (i + 1)) for i in range(5)]
        self.stem = nn.Conv3d(1, width, (1, 27, 27), (1, 2, 2), padding=(0, 13, 13))
        self.planes = nn.ModuleList(LiteralUXBlock(widths[i], sizes[i]) for i in range(4))
        self.downs = nn.ModuleList(LiteralResBlock(widths[i], widths[i + 1], sizes[i], stride=2) for i in range(4))
        self.links = nn.ModuleList(LiteralLink(widths[i], sizes[i], expansion=2 if i == 4 else 1) for i in range(5))
        outputs = [8 * width, 4 * width, 2 * width, width, width]
        self.ups = nn.ModuleList(
            LiteralUp(2 * widths[4 - i] if i else widths[4], outputs[i], [*sizes[3::-1], full][i]) for i in range(5)
        )
        self.output = LiteralResBlock(width, width, full)
        self.last = LiteralResBlock(width, 1, full)

    def features(self, x: Tensor) -> Tensor:
        """Return what the last block reads, (B, width, D, H, W)."""
        x = self.stem(x)
        skips = [x]
        for block, down in zip(self.planes, self.downs, strict=True):
            x = down(block(x))
            skips.append(x)
        linked = [link(skip) for link, skip in zip(self.links, skips, strict=True)]
        x = self.ups[0](linked[4])
        for i, up in enumerate(self.ups[1:], start=1):
            x = up(torch.cat((x, linked[4 - i]), dim=1))
        result: Tensor = self.output(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (B, 1, D, H, W) for x (B, 1, D, H, W)."""
        result: Tensor = self.last(self.features(x))
        return result


def _unit(inputs: int, outputs: int, kernel: Size, size: Size) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, kernel, padding="same", bias=False)
    return nn.Sequential(conv, voxel_norm(outputs, size), nn.GELU())

"""Parallel partial decoder of Inf-Net (Fan et al. 2020, arXiv:2004.14133, section III-B): three levels multiplied.

    a2 = conv(up r4) · r3                            b2 = conv(a2 ‖ conv(up r4))
    a3 = conv(up up r4) · conv(up r3) · r2           b3 = conv(a3 ‖ conv(up b2))        S = 1x1(conv(b3))

where r2, r3, r4 have 1/8, 1/16 and 1/32 of the image's size, ‖ is side by side, and each conv is 3x3 with a norm.

Axes: B batch, C channels, H W = the axes of a slice, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.backbones.layers import ConvNorm, resized
from nnunet_spine_ext.networks.backbones.norms import Norm


class PartialDecoder(nn.Module):
    """Maps (B, width, ...) of three levels → logits (B, K, ...) at the size of the largest."""

    def __init__(self, width: int, num_classes: int, *, norm: Norm) -> None:
        super().__init__()
        self.factor_r4_at_r3 = ConvNorm(width, width, norm=norm)
        self.factor_r4_at_r2 = ConvNorm(width, width, norm=norm)
        self.factor_r3_at_r2 = ConvNorm(width, width, norm=norm)
        self.beside_r3 = ConvNorm(width, width, norm=norm)
        self.fuse_r3 = ConvNorm(2 * width, 2 * width, norm=norm)
        self.beside_r2 = ConvNorm(2 * width, 2 * width, norm=norm)
        self.fuse_r2 = nn.Sequential(
            ConvNorm(3 * width, 3 * width, norm=norm), ConvNorm(3 * width, 3 * width, norm=norm)
        )
        self.seg_layers = nn.Conv2d(3 * width, num_classes, 1)

    def forward(self, r2: Tensor, r3: Tensor, r4: Tensor) -> Tensor:
        """Return the first, coarse segmentation."""
        middle, fine = r3.shape[2:], r2.shape[2:]
        r4_at_r3 = resized(r4, middle)
        r4_at_r2, r3_at_r2 = resized(r4_at_r3, fine), resized(r3, fine)
        a2 = self.factor_r4_at_r3(r4_at_r3) * r3
        a3 = self.factor_r4_at_r2(r4_at_r2) * self.factor_r3_at_r2(r3_at_r2) * r2
        b2 = self.fuse_r3(torch.cat((a2, self.beside_r3(r4_at_r3)), dim=1))
        b3 = self.fuse_r2(torch.cat((a3, self.beside_r2(resized(b2, fine))), dim=1))
        logits: Tensor = self.seg_layers(b3)
        return logits

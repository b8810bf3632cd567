"""LayerNorm over the channels of each voxel.

Axes: B batch, C channels, D H W = spatial axes 0 1 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

EPS = 1e-6


class ChannelNorm(nn.Module):
    """Normalises each voxel over C, with a weight and a bias for each channel (ConvNeXt, 3D UX-Net).

    torch's own operator, which autocast runs in float32; the result is cast back, or every map after it would be kept
    at double size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) normalised."""
        y = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, EPS)
        return y.movedim(-1, 1).to(x.dtype)

"""Channel attention of DANet (Fu et al. 2019, arXiv:1809.02983, section 3.3): every channel attends to every other.

    E = X Xᵀ (C x C)        S = softmax over d of max_d E[c, d] - E[c, d]        out_c = β Σ_d S[c, d] x_d + x_c

β is learnt and begins with 0; there are no other weights. The difference from the maximum is that of the published
code: a channel attends most to those that are least like it. E sums over all positions, which overflows float16.

Axes: B batch, C channels, H W = the axes of a slice, N = H W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.precision import at_least_float32, without_autocast


class ChannelAttention(nn.Module):
    """(B, C, H, W) → the same, each channel with what it attends to."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return β · attended + x."""
        with without_autocast(x):
            channels = at_least_float32(x).flatten(2)
            energy = channels @ channels.transpose(1, 2)
            # Softmax does not change when a row is shifted, so the row's maximum need not be computed.
            attended = self.beta * (torch.softmax(-energy, dim=-1) @ channels).view(x.shape)
        return x + attended.to(x.dtype)

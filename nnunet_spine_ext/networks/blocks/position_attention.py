"""Position attention of DANet (Fu et al. 2019, arXiv:1809.02983, section 3.2): every position attends to every other.

    q, k = 1x1 convolutions to few channels, v = 1x1 convolution        S = softmax over j of q_i · k_j, not scaled
    out_i = γ Σ_j S[i, j] v_j + x_i                                      γ is learnt and begins with 0

The matrix S has N² entries for N positions (629 MB for a map of 112 x 112), so it is never made: torch's
`scaled_dot_product_attention` works block by block, if q, k and v have equally many channels. v has more. It is split
into groups of as many channels as q has, which share q and k; each group gets the same S, so the result is the same.

Axes: B batch, C channels, H W = the axes of a slice, N = H W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_spine_ext.networks.blocks.precision import at_least_float32, without_autocast

REDUCTION = 8
"""Channels of x for each channel of q and k."""


class PositionAttention(nn.Module):
    """(B, C, H, W) → the same, each position with what it attends to.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // REDUCTION, 1)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return γ · attended + x."""
        q, k, v = (at_least_float32(project(x)).flatten(2) for project in (self.query, self.key, self.value))
        with without_autocast(x):
            attended = self.gamma * attend(q, k, v).view(x.shape)
        return x + attended.to(x.dtype)

    def initialize_scores(self) -> None:
        """Draw q and k as torch does. Drawn for a ReLU (He et al.), q · k would spread so that softmax picks one."""
        self.query.reset_parameters()
        self.key.reset_parameters()


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return Σ_j softmax_j(q_i · k_j) v_j for each i.

    Args:
        q: (B, c, N).
        k: (B, c, N).
        v: (B, C, N).

    Returns:
        (B, C, N).
    """
    inner, width = q.shape[1], v.shape[1]
    groups = width // inner if width % inner == 0 else 1
    queries, keys = (t.transpose(1, 2).unsqueeze(1).expand(-1, groups, -1, -1) for t in (q, k))
    values = v.view(v.shape[0], groups, width // groups, -1).transpose(2, 3)
    attended = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return attended.transpose(2, 3).flatten(1, 2)

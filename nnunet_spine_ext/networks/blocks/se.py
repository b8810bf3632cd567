"""Squeeze and excitation (Hu et al. 2018): weigh the channels of a map by what the whole map shows.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """x · sigmoid(W₂ relu(W₁ mean(x))), no biases; W₁ has `channels // reduction` rows, at least one."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with each channel weighed."""
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.flatten(2).mean(2)))))
        return x * weights.view(*weights.shape, *[1] * (x.dim() - 2))

"""Squeeze and excitation as ACC-UNet has it, with a norm behind it.

Axes: B batch, C channels, D H W = spatial axes 0 1 2 of the plan.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_spine_ext.networks.blocks.layers import Layers

REDUCTION = 8


class ACCSqueeze(nn.Module):
    """act(norm(x · sigmoid(W₂ act(W₁ mean(x))))), with biases; W₁ has C // 8 rows, at least one.

    Published with BatchNorm. InstanceNorm would divide each channel by its own spread and so take the weights of the
    channels out again, exactly but for its eps; where the plan has it, the norm here runs over all channels at once
    (`GroupNorm1`), which does not.
    """

    def __init__(self, channels: int, *, layers: Layers) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.squeeze = nn.Linear(channels, inner)
        self.excite = nn.Linear(inner, channels)
        self.act = layers.act()
        self.norm = layers.keeping_channel_weights().norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, ...) with each channel weighed by what the whole map shows."""
        weights = torch.sigmoid(self.excite(self.act(self.squeeze(x.flatten(2).mean(2)))))
        weighed = x * weights.view(*weights.shape, *[1] * (x.dim() - 2))
        result: Tensor = self.act(self.norm(weighed))
        return result

"""Losses that papers trained with and nnU-Net does not have.

Axes: B batch, K classes or regions, then the spatial axes D H W (or H W) as nnU-Net orders them.
"""

from __future__ import annotations

import torch

from nnunet_spine_ext.training.targets import TargetLoss, mean_where, one_hot_target


class ProbabilityMSELoss(TargetLoss):
    """Mean squared error between probabilities and the one-hot reference (the loss of paper 000, for K classes).

    The mean runs over batch, classes and voxels. With two classes it equals the mean squared error of the foreground
    probability alone, which is what a network with one output channel would be trained with. The network returns raw
    logits: softmax over classes, or a sigmoid for each region, is applied here, in float32 also under autocast.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of `logits` (B, K, ...) against `target` (B, 1, ...), or (B, K [+ 1], ...) with regions."""
        scores = logits.float()
        probabilities = torch.sigmoid(scores) if self.regions else torch.softmax(scores, dim=1)
        expected, valid = one_hot_target(
            target, classes=range(logits.shape[1]), regions=self.regions, ignore_label=self.ignore_label
        )
        return mean_where((probabilities - expected.float()).square().mean(dim=1, keepdim=True), valid)

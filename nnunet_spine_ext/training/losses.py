"""Losses that papers trained with and nnU-Net does not have.

Axes: B batch, K classes or regions, then the spatial axes D H W (or H W) as nnU-Net orders them.
"""

from __future__ import annotations

import torch
from torch import nn


class ProbabilityMSELoss(nn.Module):
    """Mean squared error between probabilities and the one-hot reference (the loss of paper 000, for K classes).

    The mean runs over batch, classes and voxels. With two classes it equals the mean squared error of the foreground
    probability alone, which is what a network with one output channel would be trained with. The network returns raw
    logits: softmax over classes, or a sigmoid for each region, is applied here, in float32 also under autocast.

    Args:
        regions: targets are one-hot regions (nnU-Net's region-based training) instead of a label map.
        ignore_label: value of the voxels to leave out; with regions, that there is a last channel marking them.
    """

    def __init__(self, *, regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        self.regions = regions
        self.ignore_label = ignore_label

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of `logits` (B, K, ...) against `target` (B, 1, ...), or (B, K [+ 1], ...) with regions."""
        if self.regions:
            probabilities = torch.sigmoid(logits.float())
            expected, ignored = self._split_regions(target)
        else:
            probabilities = torch.softmax(logits.float(), dim=1)
            expected, ignored = self._split_labels(target, classes=logits.shape[1])
        errors = (probabilities - expected.float()).square().mean(dim=1, keepdim=True)
        if ignored is None:
            return errors.mean()
        valid = ~ignored
        # At least one voxel in the divisor: a batch without any annotation has loss 0, not NaN.
        return (errors * valid).sum() / valid.sum().clamp(min=1)

    def _split_labels(self, target: torch.Tensor, *, classes: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the one-hot reference (B, K, ...) and where it is to be ignored (B, 1, ...)."""
        classes_K = torch.arange(classes, device=target.device).view(1, -1, *[1] * (target.ndim - 2))
        return target == classes_K, None if self.ignore_label is None else target == self.ignore_label

    def _split_regions(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.ignore_label is None:
            return target, None
        return target[:, :-1], target[:, -1:].bool()

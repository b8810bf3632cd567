"""What a target says, apart from what it says is to be ignored; for labels and regions alike.

Axes: B batch, K classes or regions, then the spatial axes D H W (or H W) as nnU-Net orders them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TargetLoss(nn.Module):
    """A loss of logits (B, K, ...) against a target (B, 1, ...), or (B, K [+ 1], ...) with regions.

    Args:
        regions: targets are one-hot regions (nnU-Net's region-based training) instead of a label map.
        ignore_label: value of the voxels to leave out; with regions, that there is a last channel marking them.
    """

    def __init__(self, *, regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        self.regions = regions
        self.ignore_label = ignore_label


def split_target(target: Tensor, *, regions: bool, ignore_label: int | None) -> tuple[Tensor, Tensor | None]:
    """Return the reference without what is to be ignored, and where it holds (B, 1, ...); None for everywhere.

    Args:
        target: label map (B, 1, ...), or one-hot regions (B, K, ...) with a last channel for what is to be ignored.
        regions: which of the two.
        ignore_label: None where nothing is to be ignored.
    """
    if ignore_label is None:
        return target, None
    if regions:
        return target[:, :-1], ~target[:, -1:].bool()
    valid = target != ignore_label
    return torch.where(valid, target, 0), valid


def one_hot_target(
    target: Tensor, *, classes: range, regions: bool, ignore_label: int | None
) -> tuple[Tensor, Tensor | None]:
    """Return the one-hot reference (B, K, ...), boolean, and where it holds (B, 1, ...); None for everywhere.

    Args:
        target: label map (B, 1, ...), or one-hot regions (B, K, ...) with a last channel for what is to be ignored.
        classes: the labels that get a channel; with regions, all of them have one.
        regions: which of the two.
        ignore_label: None where nothing is to be ignored.
    """
    if regions:
        reference, valid = split_target(target, regions=True, ignore_label=ignore_label)
        return reference.bool(), valid
    classes_K = torch.arange(classes.start, classes.stop, device=target.device).view(1, -1, *[1] * (target.ndim - 2))
    return target == classes_K, None if ignore_label is None else target != ignore_label


def mean_where(terms: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of `terms` (B, 1, ...) where `valid` (B, 1, ...) says so; 0 where it nowhere does."""
    if valid is None:
        return terms.mean()
    return (terms * valid).sum() / valid.sum().clamp(min=1)

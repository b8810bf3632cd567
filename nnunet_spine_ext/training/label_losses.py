"""Dice alone and cross-entropy alone, for labels and regions, with and without an ignore label.

nnU-Net has both as parts of its sums; alone they lack one kind of target or another.

Axes: B batch, K classes or regions, then the spatial axes D H W (or H W) as nnU-Net orders them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from torch import Tensor

from nnunet_spine_ext.training.targets import TargetLoss, mean_where, split_target


class DiceLoss(TargetLoss):
    """1 - the mean soft Dice over classes, or over regions; nnU-Net's own sums.

    Args:
        batch_dice: Dice of the whole batch instead of each sample, as the plan says.
        background: whether label 0 is one of the classes that the mean runs over; regions have no background.
        regions: targets are one-hot regions (nnU-Net's region-based training) instead of a label map.
        ignore_label: value of the voxels to leave out; with regions, that there is a last channel marking them.
        ddp: gather the sums of all GPUs.
        smooth: added to numerator and denominator.
    """

    def __init__(
        self,
        *,
        batch_dice: bool,
        background: bool,
        regions: bool = False,
        ignore_label: int | None = None,
        ddp: bool = False,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(regions=regions, ignore_label=ignore_label)
        self.dc = MemoryEfficientSoftDiceLoss(
            apply_nonlin=torch.sigmoid if regions else softmax_helper_dim1,
            batch_dice=batch_dice,
            do_bg=background or regions,
            smooth=smooth,
            ddp=ddp,
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, K, ...) against target (B, 1, ...), or (B, K[+1], ...) with regions."""
        reference, valid = split_target(target, regions=self.regions, ignore_label=self.ignore_label)
        return 1 + self.dc(logits, reference, loss_mask=valid)  # type: ignore[no-any-return]


class CrossEntropyLoss(TargetLoss):
    """The mean cross-entropy over voxels; binary, for each region, with regions."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, K, ...) against target (B, 1, ...), or (B, K[+1], ...) with regions."""
        reference, valid = split_target(target, regions=self.regions, ignore_label=self.ignore_label)
        if self.regions:
            terms = F.binary_cross_entropy_with_logits(logits, reference.to(logits.dtype), reduction="none").mean(1)
        else:
            terms = F.cross_entropy(logits, reference[:, 0].long(), reduction="none")
        return mean_where(terms[:, None], valid)

"""The loss of paper 001: the negative logarithm of the soft Dice coefficient.

Axes: B batch, K classes or regions, then the spatial axes D H W (or H W) as nnU-Net orders them.
"""

from __future__ import annotations

from typing import Literal

import torch
from nnunetv2.utilities.ddp_allgather import AllGatherGrad

from nnunet_spine_ext.training.targets import TargetLoss, one_hot_target

LEAST_DICE = 1e-8
"""Dice is not taken to be less, so that its logarithm stays finite."""


class LogDiceLoss(TargetLoss):
    """Mean over foreground classes of -ln Dice, Dice = (2 I + s) / (A + P + s).

    I, A and P are the sums of p·g, of the reference g and of the probabilities p over a sample, or over the batch. The
    network returns raw logits: softmax over classes, or a sigmoid for each region, is applied here. Everything is in
    float32, also under autocast: sums of more than 65 504 voxels do not fit float16.

    The paper has one structure, and does not say whether its sums run over an image or the batch. With two classes,
    softmax gives the foreground what a sigmoid gives a single output.

    Args:
        regions: targets are one-hot regions (nnU-Net's region-based training) instead of a label map.
        ignore_label: value of the voxels to leave out; with regions, that there is a last channel marking them.
        batch_dice: sums run over the batch, and over all processes if there are several.
        ddp: several processes train together (needed for `batch_dice` only).
        smooth: s, which keeps the quotient defined where a structure is absent; the paper has 1.
        form: `prose`, as the text of the paper describes it ("a constant added to both numerator and denominator"): 0
            where a structure is absent and not predicted. `typeset`, as its equation is printed, with 2 (I + s) above
            and s once below: -ln 2 there, and slightly below 0 for a perfect prediction.
    """

    def __init__(
        self,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        ddp: bool = False,
        smooth: float = 1.0,
        form: Literal["prose", "typeset"] = "prose",
    ) -> None:
        super().__init__(regions=regions, ignore_label=ignore_label)
        if smooth <= 0:
            raise ValueError(f"smooth must be positive, got {smooth}")
        self.batch_dice = batch_dice
        self.ddp = ddp
        self.smooth = smooth
        self.form = form

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of `logits` (B, K, ...) against `target` (B, 1, ...), or (B, K [+ 1], ...) with regions."""
        scores = logits.float()
        probabilities = torch.sigmoid(scores) if self.regions else torch.softmax(scores, dim=1)[:, 1:]
        foreground = range(1, logits.shape[1])
        reference, valid = one_hot_target(
            target, classes=foreground, regions=self.regions, ignore_label=self.ignore_label
        )
        if valid is not None:
            probabilities = probabilities.masked_fill(~valid, 0)
            reference = reference & valid
        space = tuple(range(2, logits.ndim))
        # Autograd keeps a mask of one byte a voxel for this product.
        intersection = probabilities.masked_fill(~reference, 0).sum(space)
        sums = torch.stack([intersection, reference.sum(space, dtype=torch.float32), probabilities.sum(space)])
        dice = self._dice(*self._gathered(sums))
        return -dice.clamp_min(LEAST_DICE).log().mean()

    def _dice(self, intersection: torch.Tensor, reference: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        added = self.smooth if self.form == "prose" else 2 * self.smooth
        return (2 * intersection + added) / (reference + predicted + self.smooth)

    def _gathered(self, sums: torch.Tensor) -> torch.Tensor:
        """Return sums (3, B, K), with `batch_dice` summed over batch and processes: (3, K)."""
        if not self.batch_dice:
            return sums
        # The batch first: nnU-Net may give the processes batches of different sizes.
        sums = sums.sum(1)
        return AllGatherGrad.apply(sums).sum(0) if self.ddp else sums

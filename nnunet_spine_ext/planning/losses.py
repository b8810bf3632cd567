"""nnU-Net's default losses, for counting their memory without starting a trainer."""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunet_spine_ext.planning.memory import Loss


def nnunet_loss(
    *,
    deep_supervision_outputs: int | None,
    batch_dice: bool = False,
    regions: bool = False,
    ignore_label: int | None = None,
) -> Loss:
    """Return nnU-Net's default loss: Dice + cross-entropy, or Dice + binary cross-entropy for regions.

    Args:
        deep_supervision_outputs: number of decoder outputs (stages of the plan - 1); `None` without deep supervision.
        batch_dice: Dice over the batch instead of each sample, as the plan says.
        regions: region-based training.
        ignore_label: value of voxels without annotation.
    """
    loss: nn.Module
    if regions:
        loss = DC_and_BCE_loss(
            {},
            {"batch_dice": batch_dice, "do_bg": True, "smooth": 1e-5, "ddp": False},
            use_ignore_label=ignore_label is not None,
            dice_class=MemoryEfficientSoftDiceLoss,
        )
    else:
        loss = DC_and_CE_loss(
            {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False},
            {},
            weight_ce=1,
            weight_dice=1,
            ignore_label=ignore_label,
            dice_class=MemoryEfficientSoftDiceLoss,
        )
    return (
        loss if deep_supervision_outputs is None else DeepSupervisionWrapper(loss, _weights(deep_supervision_outputs))
    )


def _weights(outputs: int) -> Sequence[float]:
    """Return nnU-Net's weights: halved at each step, the lowest output unused."""
    weights = [0.5**i for i in range(outputs)]
    if outputs > 1:
        weights[-1] = 0.0
    return [w / sum(weights) for w in weights]

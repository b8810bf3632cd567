"""The base of trainers whose network has several outputs, all at full resolution (rows with `supervision="full"`)."""

from __future__ import annotations

from torch import nn

from nnunet_spine_ext.training.nested_supervision import NestedSupervisionLoss
from nnunet_spine_ext.training.trainer import SpineTrainer


class NestedTrainer(SpineTrainer):
    """nnU-Net's recipe with one target, at full resolution, for all outputs.

    Deep supervision stays on in nnU-Net's sense (lists of outputs and targets; the first output is validated, and
    prediction switches the others off). A recipe with deep supervision off trains the deepest output alone.
    """

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """Return one scale, so that nnU-Net's loaders make one target and not a copy for each output."""
        return [[1.0] * len(self.configuration_manager.patch_size)] if self.enable_deep_supervision else None

    def _build_loss(self) -> nn.Module:
        loss = self.build_loss()
        if not self.enable_deep_supervision:
            return loss
        # Batch Dice under DDP gathers from all GPUs in its forward pass, which should happen once.
        gathers = self.is_ddp and self.configuration_manager.batch_dice
        return NestedSupervisionLoss(loss, recompute=not gathers)

"""The recipe of paper 004: cross-entropy, SGD, no augmentation.

Source: paper 004 (ASPP-UNet, MBE 20(9), 2023), sections 2.5 and 2.7: SGD at 0.01, times 0.99 after each "training
batch", of which there are 50, batch size 2. Fifty steps train no network, so a "training batch" is read as an epoch.
What it leaves open, and what is done: momentum and weight decay 0 (SGD as torch has it, where nothing else is said);
no augmentation and no mirroring (none is described). Its loss divides by the number of classes, too, with nothing to
say over which sum; here it is the mean cross-entropy over voxels, as torch has it.

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
length of an epoch, the sliding window.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nnunet_spine_ext.training.label_losses import CrossEntropyLoss
from nnunet_spine_ext.training.paper_recipe import PLAIN_RECIPE, PaperRecipe
from nnunet_spine_ext.training.plain_windows import PlainWindows
from nnunet_spine_ext.training.schedules import StepDecay


class Paper004Recipe(PaperRecipe, PlainWindows):
    """Paper 004's training, for any network.

    class SpineXPaperTrainer(Paper004Recipe): ...                  # family u-shape
    class SpineYPaperTrainer(Paper004Recipe, SliceTrainer): ...    # family slice, in this order
    """

    paper = "004"
    recipe = replace(PLAIN_RECIPE, epochs=50, learning_rate=0.01)
    plan_configuration = "2d"
    plan_batch_size = 2

    def build_loss(self) -> CrossEntropyLoss:
        """Return cross-entropy."""
        return CrossEntropyLoss(regions=self.label_manager.has_regions, ignore_label=self.label_manager.ignore_label)

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return SGD without momentum, its rate times 0.99 after each epoch."""
        optimizer = torch.optim.SGD(
            self.network.parameters(), lr=self.initial_lr, momentum=0.0, weight_decay=self.weight_decay
        )
        return optimizer, StepDecay(optimizer, factor=0.99, every_epochs=1)

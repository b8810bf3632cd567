"""The recipe of paper 001: the logarithm of Dice, Adam, a rate that falls on plateaus, no augmentation.

Source: paper 001 (Res50_UNet, MeMeA 2021), sections II.B and III. What it leaves open, and what is done:

| open | here |
|---|---|
| 10,000 "epochs" in about 6 hours | 10,000 iterations: 40 epochs of nnU-Net's 250 (true epochs: 343 images a second) |
| what ReduceLROnPlateau watches, and its numbers | the validation loss of each epoch; torch's defaults |
| whether Dice runs over an image or the batch | as the plan says (`batch_dice`) |
| the constant in the loss, printed otherwise than described | as described (see `LogDiceLoss`) |
| batch of 16 slices | patches of up to 16 slices, two at a time: nnU-Net's smallest batch |
| weight decay, augmentation, normalisation | none, none, the plan's |

The rate is 0.005, and 1e-5 for the UNet without norm, whose loss exploded at 0.005. The paper trains one binary task
(vertebral bodies); here every foreground class has its term.

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
sliding window. No mirroring, in training as in prediction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nnunet_spine_ext.training.coordinates import CoordinateTrainer
from nnunet_spine_ext.training.log_dice import LogDiceLoss
from nnunet_spine_ext.training.paper_recipe import PLAIN_RECIPE, PaperRecipe
from nnunet_spine_ext.training.plain_windows import PlainWindows
from nnunet_spine_ext.training.plateau import PlateauSchedule, PlateauTrainer, adam_with_plateau


class Paper001Recipe(PaperRecipe, PlateauTrainer, PlainWindows, CoordinateTrainer):
    """Paper 001's training: `class SpineXPaperTrainer(Paper001Recipe)`, with `SliceTrainer` second in family slice."""

    paper = "001"
    structures = 1
    structures_advice = (
        "Its learning rate was found for one; if the loss stays high from the first epochs on, take a lower one."
    )
    recipe = replace(PLAIN_RECIPE, epochs=40, learning_rate=5e-3)
    plan_configuration = "25d"
    plan_batch_size = 2

    def build_loss(self) -> LogDiceLoss:
        """Return -ln Dice with a constant of 1."""
        return LogDiceLoss(
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
            batch_dice=self.configuration_manager.batch_dice,
            ddp=self.is_ddp,
        )

    def configure_optimizers(self) -> tuple[Any, PlateauSchedule]:
        """Return Adam, its rate times 0.1 after ten epochs without a lower validation loss."""
        return adam_with_plateau(
            self.network.parameters(), learning_rate=self.initial_lr, weight_decay=self.weight_decay
        )

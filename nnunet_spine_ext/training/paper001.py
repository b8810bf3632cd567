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

import math
from typing import Any, ClassVar

from nnunet_spine_ext.errors import SetupError
from nnunet_spine_ext.networks.registry import entry
from nnunet_spine_ext.training.coordinates import CoordinateTrainer
from nnunet_spine_ext.training.log_dice import LogDiceLoss
from nnunet_spine_ext.training.plain_windows import PlainWindows
from nnunet_spine_ext.training.plateau import PlateauSchedule, PlateauTrainer, adam_with_plateau
from nnunet_spine_ext.training.recipe import Recipe


class Paper001Recipe(PlateauTrainer, PlainWindows, CoordinateTrainer):
    """Paper 001's training: `class SpineXPaperTrainer(Paper001Recipe)`, with `SliceTrainer` second in family slice."""

    recipe = Recipe(
        epochs=40, learning_rate=5e-3, weight_decay=0.0, foreground_oversampling=0.0, deep_supervision=False
    )
    plan_configuration: ClassVar[str | None] = "25d"
    plan_batch_size = 2

    def check_suitable(self) -> None:
        """Refuse a patch that the paper's own stages do not divide. Name a task that is not the paper's."""
        super().check_suitable()
        self._check_divisible()
        structures = self.label_manager.num_segmentation_heads - (not self.label_manager.has_regions)
        if structures > 1:
            self.print_to_log_file(
                f"NOTE: paper 001 segments one structure, this dataset has {structures}. Its learning rate was "
                "found for one; if the loss stays high from the first epochs on, take a lower one."
            )

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

    def _check_divisible(self) -> None:
        assert self.network_name is not None, "a recipe of a paper names a network of the registry"
        if entry(self.network_name).family != "u-shape":
            return  # pads by itself
        strides = self.architecture_words(self.configuration_manager)["strides"]
        divisors = [math.prod(axis) for axis in zip(*strides, strict=True)]
        plane = [self.configuration_manager.patch_size[axis] for axis in self.plane_axes()]
        if any(n % d for n, d in zip(plane, divisors, strict=True)):
            raise SetupError(
                f"{self.full_length_name} has the paper's own stages, which take slices of a multiple of "
                f"{tuple(divisors)} voxels; the patch of this configuration has {tuple(plane)}. Make a plan for it "
                f"(nnunet_spine plan -tr {self.full_length_name}), or take "
                f"{self.full_length_name.replace('Paper', '')}, whose stages are the plan's."
            )

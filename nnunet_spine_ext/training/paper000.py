"""What the recipes of paper 000 have in common: the loss, the windows and the mirroring.

Mean squared error on probabilities; windows of the very patch size, drawn inside the image at random; mirroring of each
axis with probability 0.3 as the only augmentation. The paper trains one binary task, spine against background.

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
sliding window and its mirroring in prediction. N4 correction, as the paper has it, is the converter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from nnunet_spine_ext.training.augmentation import AxisFlips
from nnunet_spine_ext.training.losses import ProbabilityMSELoss
from nnunet_spine_ext.training.own_augmentation import OwnAugmentation
from nnunet_spine_ext.training.paper_recipe import PLAIN_RECIPE, PaperRecipe
from nnunet_spine_ext.training.subset_trainer import SubsetTrainer

FLIP_PROBABILITY = 0.3


class Paper000Recipe(PaperRecipe, OwnAugmentation, SubsetTrainer):
    """Paper 000's training, for any network."""

    paper = "000"
    structures = 1
    recipe = replace(PLAIN_RECIPE, epochs=200, learning_rate=1e-3)
    decay_factor = 0.9
    decay_epochs = 10

    def build_loss(self) -> ProbabilityMSELoss:
        """Return the mean squared error on probabilities."""
        return ProbabilityMSELoss(regions=self.label_manager.has_regions, ignore_label=self.label_manager.ignore_label)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return no rotation and windows of the very patch size, so that they are drawn inside the image."""
        *_, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        return (0.0, 0.0), False, list(self.configuration_manager.patch_size), axes

    def augmentations(
        self,
        *,
        rotation: tuple[float, float],  # noqa: ARG002
        mirror_axes: Sequence[int],
    ) -> list[BasicTransform]:
        """Return mirroring with probability 0.3 for each axis."""
        return [AxisFlips(mirror_axes, probability=FLIP_PROBABILITY)]

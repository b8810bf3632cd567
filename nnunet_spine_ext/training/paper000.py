"""What the recipes of paper 000 have in common: the loss, the windows and the mirroring.

Mean squared error on probabilities; windows of the very patch size, drawn inside the image at random; mirroring of each
axis with probability 0.3 as the only augmentation. The paper trains one binary task, spine against background.

What stays nnU-Net's: intensity normalisation and spacing (of the plan), folds, gradient clipping, mixed precision, the
sliding window and its mirroring in prediction. N4 correction, as the paper has it, is the converter's.
"""

from __future__ import annotations

from typing import Any, ClassVar

from nnunet_spine_ext.training.augmentation import flips_only
from nnunet_spine_ext.training.losses import ProbabilityMSELoss
from nnunet_spine_ext.training.schedules import adam_with_step_decay
from nnunet_spine_ext.training.subset_trainer import SubsetTrainer

FLIP_PROBABILITY = 0.3


class Paper000Recipe(SubsetTrainer):
    """Paper 000's training, for any network; the recipe's numbers are the subclass's."""

    decay_factor: ClassVar[float] = 0.9
    """Of the learning rate, after every 10 epochs."""

    def check_suitable(self) -> None:
        """Name a task that is not the paper's."""
        super().check_suitable()
        structures = self.label_manager.num_segmentation_heads - (not self.label_manager.has_regions)
        if structures > 1:
            self.print_to_log_file(f"NOTE: paper 000 segments one structure, this dataset has {structures}.")

    def build_loss(self) -> ProbabilityMSELoss:
        """Return the mean squared error on probabilities."""
        return ProbabilityMSELoss(regions=self.label_manager.has_regions, ignore_label=self.label_manager.ignore_label)

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Return Adam, its rate times `decay_factor` after every 10 epochs."""
        return adam_with_step_decay(
            self.network.parameters(),
            learning_rate=self.initial_lr,
            weight_decay=self.weight_decay,
            factor=self.decay_factor,
            every_epochs=10,
        )

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return no rotation and windows of the very patch size, so that they are drawn inside the image."""
        *_, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        return (0.0, 0.0), False, list(self.configuration_manager.patch_size), axes

    @staticmethod
    def get_training_transforms(
        patch_size: Any,  # noqa: ANN401, ARG004
        rotation_for_DA: Any,  # noqa: ANN401, ARG004
        deep_supervision_scales: list[list[float]] | None,
        mirror_axes: tuple[int, ...],
        do_dummy_2d_data_aug: bool,  # noqa: ARG004
        use_mask_for_norm: list[bool] | None = None,
        is_cascaded: bool = False,
        foreground_labels: list[int] | None = None,
        regions: list[Any] | None = None,
        ignore_label: int | None = None,
    ) -> Any:  # noqa: ANN401
        """Return mirroring with probability 0.3 for each axis; the arguments are nnU-Net's."""
        validation = SubsetTrainer.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )
        return flips_only(
            validation,
            axes=mirror_axes,
            probability=FLIP_PROBABILITY,
            masked_channels=tuple(use_mask_for_norm or ()),
        )

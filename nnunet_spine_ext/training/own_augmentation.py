"""Trainers with an augmentation of their own in place of nnU-Net's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform

from nnunet_spine_ext.training.trainer import SpineTrainer


class OwnAugmentation(SpineTrainer):
    """A trainer that names its augmentation in the hook `augmentations`, and has no other."""

    def augmentations(
        self,
        *,
        rotation: tuple[float, float],  # noqa: ARG002
        mirror_axes: Sequence[int],  # noqa: ARG002
    ) -> list[BasicTransform]:
        """Return what happens to a window and its labels before anything else. Hook; nothing here.

        Args:
            rotation: range of angles in radians that the windows leave room for.
            mirror_axes: spatial axes that may be mirrored (0 = the first after the channels).
        """
        return []

    def get_training_transforms(
        self,
        patch_size: Any,  # noqa: ANN401, ARG002
        rotation_for_DA: Any,  # noqa: ANN401
        deep_supervision_scales: list[list[float]] | None,
        mirror_axes: tuple[int, ...],
        do_dummy_2d_data_aug: bool,  # noqa: ARG002
        use_mask_for_norm: list[bool] | None = None,
        is_cascaded: bool = False,
        foreground_labels: list[int] | None = None,
        regions: list[Any] | None = None,
        ignore_label: int | None = None,
    ) -> Any:  # noqa: ANN401
        """Return `augmentations`, then what has to be done in any case; the arguments are nnU-Net's."""
        masked = [i for i, mask in enumerate(use_mask_for_norm or ()) if mask]
        # As in nnU-Net's own pipeline, the mask must be applied while the labels still say -1 outside of it.
        mask = [MaskImageTransform(apply_to_channels=masked, channel_idx_in_seg=0, set_outside_to=0)] if masked else []
        validation = self.get_validation_transforms(
            deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label
        )
        own = self.augmentations(rotation=rotation_for_DA, mirror_axes=mirror_axes)
        return ComposeTransforms([*own, *mask, validation])

"""Training windows of the very patch size, with no augmentation but what a recipe adds; no mirroring in prediction.

nnU-Net cuts larger windows, to rotate them, and mirrors them in training and prediction. Papers with less, or other,
augmentation derive from `PlainWindows` and name theirs in the hook `augmentations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform

from nnunet_spine_ext.training.trainer import SpineTrainer

THICK_SLICE_RATIO = 3.0
"""An axis whose voxels are more than this times longer than the shortest is across thick slices (nnU-Net's rule)."""


class PlainWindows(SpineTrainer):
    """A trainer whose windows are cut from the image as they are."""

    def augmentations(self) -> list[BasicTransform]:
        """Return what happens to a window and its labels before anything else. Hook; nothing here."""
        return []

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Return no rotation, windows of the patch size, and no mirroring, in prediction as well."""
        self.inference_allowed_mirroring_axes = None
        self.print_to_log_file("Mirroring: none, in training and prediction (the paper has none).")
        return (0.0, 0.0), False, list(self.configuration_manager.patch_size), ()

    def get_training_transforms(
        self,
        patch_size: Any,  # noqa: ANN401, ARG002
        rotation_for_DA: Any,  # noqa: ANN401, ARG002
        deep_supervision_scales: list[list[float]] | None,
        mirror_axes: tuple[int, ...],  # noqa: ARG002
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
        return ComposeTransforms([*self.augmentations(), *mask, validation])


def thick_slice_plane(spacing_mm: Sequence[float], *, dims: int) -> tuple[int, ...]:
    """Return the spatial axes of a slice; all axes, where no axis has much longer voxels than the others.

    Args:
        spacing_mm: of the plan; a 2D plan with a patch of several slices has none for the first axis of its patch.
        dims: axes of the patch.
    """
    known = range(dims - len(spacing_mm), dims)
    limit = THICK_SLICE_RATIO * min(spacing_mm)
    return tuple(axis for axis, length_mm in zip(known, spacing_mm, strict=True) if length_mm <= limit)
